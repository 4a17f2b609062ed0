/* Calls that are easily misread: one kind for each name. Built by test_trace.py. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, READ = PROT_READ, WRITTEN = PROT_READ | PROT_WRITE, RUN = PROT_READ | PROT_EXEC };

static void nothing(int number) { (void)number; }

static void arguments(void) {
	char longest[256], longer[300];
	int fd = open("/etc/passwd", O_RDONLY);

	lseek(fd, 0x200000000LL, SEEK_SET);
	ftruncate(fd, 0x300000001LL);
	truncate("/no/such/place", 0x500000000LL);
	syscall(SYS_faccessat2, AT_FDCWD, "/etc/passwd", R_OK, 0x200);
	open("/tmp", O_TMPFILE | O_RDWR, 0600);
	waitpid(-1, NULL, __WCLONE | WNOHANG);
	syscall(SYS_rename, "/no/such/a", "/no/such/b");
	syscall(SYS_rename, (char *)1, "/no/such/b");
	syscall(SYS_rename, "/no/such/a", (char *)1);
	open("", O_RDONLY);
	open((char *)8, O_RDONLY);
	chown("/no/such/place", -1, -1);
	umount2("/no/such/place", MNT_DETACH);
	open("/no/such/place", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW | O_NOCTTY);
	open("/no/such/place", O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_SYNC | O_DIRECT | O_NOATIME, 04640);
	mmap(NULL, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK | MAP_LOCKED | MAP_POPULATE, -1, 0);
	access("/no/such/place", R_OK | W_OK | X_OK);
	socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	msync((void *)1, 1, MS_SYNC | MS_ASYNC | MS_INVALIDATE);
	waitpid(-1, NULL, WNOHANG | WUNTRACED | WCONTINUED);
	pipe2((int *)0x1234567, O_CLOEXEC | O_NONBLOCK);
	dup3(-1, -2, O_CLOEXEC);
	memset(longest, 'a', sizeof(longest));
	longest[255] = 0; /* as long as what is kept of a path */
	open(longest, O_RDONLY);
	memset(longer, 'b', sizeof(longer));
	longer[299] = 0;
	open(longer, O_RDONLY);
}

static void interrupted(void) {
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	signal(SIGALRM, nothing);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGALRM);
	sigsuspend(&none);
}

static void *run(void *program) {
	usleep(20000);
	execl(program, program, NULL);
	return NULL;
}

static void exec_by_thread(int leader_ends) {
	pthread_t thread;

	pthread_create(&thread, NULL, run, "/bin/true");
	if (leader_ends)
		pthread_exit(NULL);
	pause();
}

static void *wait_for_input(void *unused) {
	char one, path[] = "/no/such/place";

	read(0, &one, 1);
	open(path, O_RDONLY);
	return NULL;
}

static void first_thread_ends(void) {
	pthread_t thread;

	pthread_create(&thread, NULL, wait_for_input, NULL);
	puts("up");
	fflush(stdout);
	pthread_exit(NULL);
}

static void protections(void) {
	char *first = mmap(NULL, 4 * PAGE, WRITTEN, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *second = mmap(NULL, 4 * PAGE, WRITTEN, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *third = mmap(NULL, 4 * PAGE, READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(first, PAGE, READ);
	mprotect(first, 4 * PAGE, RUN); /* all but the first page could be written */
	munmap(second + PAGE, PAGE);
	mprotect(second, 4 * PAGE, RUN); /* fails at the hole, when the page before it is changed */
	mprotect(third, 4 * PAGE, RUN);
	mprotect(second + 2 * PAGE, 0, RUN); /* of nothing */
}

static void refused(void) {
	char path[] = "/no/such/place"; /* on the stack: what nobody has touched yet cannot be read in the kernel */
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 13),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	open(path, O_RDONLY);
}

static void other_interfaces(void) {
#ifdef __x86_64__
	long result;

	asm volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");                                  /* getpid */
	asm volatile("int $0x80" : "=a"(result) : "a"(125), "b"(0x1000), "c"(PAGE), "d"(RUN) : "memory"); /* mprotect */
	asm volatile("syscall" : "=a"(result)
		     : "a"(0x40000000L | SYS_mprotect), "D"(0x1000), "S"(PAGE), "d"(RUN) : "rcx", "r11", "memory");
	syscall(-1); /* is none of theirs */
#endif
}

static void children(void) {
	if (!vfork())
		_exit(3);
	wait(NULL);
	if (!fork())
		_exit(3);
	wait(NULL);
}

int main(int count, char **words) {
	const char *kind = count > 1 ? words[1] : "";

	if (!strcmp(kind, "arguments"))
		arguments();
	else if (!strcmp(kind, "interrupted"))
		interrupted();
	else if (!strcmp(kind, "exec-by-thread"))
		exec_by_thread(0);
	else if (!strcmp(kind, "exec-after-first"))
		exec_by_thread(1);
	else if (!strcmp(kind, "first-ends"))
		first_thread_ends();
	else if (!strcmp(kind, "protections"))
		protections();
	else if (!strcmp(kind, "refused"))
		refused();
	else if (!strcmp(kind, "other-interfaces"))
		other_interfaces();
	else if (!strcmp(kind, "children"))
		children();
	else
		return 1;
	return 0;
}
