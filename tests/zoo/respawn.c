/* Makes children of chosen pids (clone3 with set_tid, Linux 5.5), so that pids are reused on purpose.
 * Commands on standard input, one answer a line: "spawn PID", "end PID" (SIGKILL, and wait), "look PID". */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int spawn(pid_t pid)
{
	struct clone_args args;
	memset(&args, 0, sizeof(args));
	args.exit_signal = SIGCHLD;
	args.set_tid = (uint64_t)(uintptr_t)&pid;
	args.set_tid_size = 1;
	long child = syscall(SYS_clone3, &args, sizeof(args));
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child < 0 ? -errno : (int)child;
}

static int end(pid_t pid)
{
	kill(pid, SIGKILL);
	return waitpid(pid, NULL, 0) == pid ? 0 : -errno;
}

int main(void)
{
	char word[16];
	int pid;
	while (scanf("%15s %d", word, &pid) == 2) {
		int status = 0, answer = 0;
		if (!strcmp(word, "spawn"))
			answer = spawn(pid);
		else if (!strcmp(word, "end"))
			answer = end(pid);
		else
			answer = waitpid(pid, &status, WNOHANG); /* 0: it runs */
		printf("%d\n", answer);
		fflush(stdout);
	}
	return 0;
}
