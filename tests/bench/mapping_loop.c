/* mapping_loop N: prints its pid, waits for a newline, then N times mmap, mprotect, munmap; prints wall and processor
 * seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int count, char **argv)
{
	int times = atoi(argv[1]);
	char newline;

	printf("%d\n", getpid());
	fflush(stdout);
	if (read(0, &newline, 1) != 1)
		return 1;
	double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < times; i++) {
		void *at = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		mprotect(at, 4096, PROT_READ | PROT_EXEC);
		munmap(at, 8192);
	}
	printf("%.6f %.6f\n", now(CLOCK_MONOTONIC) - wall, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return 0;
}
