/* Writes code, makes it executable, runs it: once with mprotect, once mapped so from the start. Then a thread and a
 * child each do one thing that shows. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char code[] =
#ifdef __aarch64__
	{ 0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 };
#else
	{ 0xb8, 42, 0, 0, 0, 0xc3 };
#endif

static int run(int first, int then)
{
	unsigned char *at = mmap(0, 4096, first, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*compiled)(void) = (int (*)(void))at;

	memcpy(at, code, sizeof(code));
	__builtin___clear_cache((char *)at, (char *)at + sizeof(code));
	if (then && mprotect(at, 4096, then))
		return 1;
	return compiled() != 42;
}

static void *in_thread(void *unused)
{
	munmap(mmap(0, 12345, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 12345);
	return unused;
}

int main(void)
{
	pthread_t thread;
	int failed = run(PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC) | run(PROT_READ | PROT_WRITE | PROT_EXEC, 0);

	pthread_create(&thread, 0, in_thread, 0);
	pthread_join(thread, 0);
	if (fork() == 0) {
		munmap(mmap(0, 54321, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 54321);
		_exit(0);
	}
	wait(0);
	return failed ? 1 : 5;
}
