/* exec_storm PROGRAM N WORKERS [PER_SECOND]: each worker starts PROGRAM N times with two arguments and waits for it;
 * prints the seconds it took. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void work(char *program, int times, int per_second)
{
	char *argv[] = { "tiny", "--arg=12345", "x", 0 }, *environment[] = { 0 };
	double began = now();

	for (int i = 0; i < times; i++) {
		pid_t child = vfork();

		if (!child) {
			execve(program, argv, environment);
			_exit(1);
		}
		waitpid(child, 0, 0);
		while (per_second && now() - began < (double)i / per_second)
			usleep(500);
	}
}

int main(int count, char **argv)
{
	int times = atoi(argv[2]), workers = atoi(argv[3]), per_second = count > 4 ? atoi(argv[4]) : 0;
	double began = now();

	for (int worker = 0; worker < workers; worker++)
		if (!fork()) {
			work(argv[1], times, per_second);
			_exit(0);
		}
	while (wait(0) > 0)
		;
	printf("%.4f\n", now() - began);
	return 0;
}
