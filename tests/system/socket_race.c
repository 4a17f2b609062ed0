/* Two threads on two processors send by the same new socket at the same moment, again and again.
 *
 *     socket_race SOCKETS TIMES BYTES
 *
 * Tells in JSON its pid and the cookie of each socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int *sockets, count, times;
static size_t size;
static char content[65536];
static atomic_int arrived;

static void *run(void *number) {
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((long)number % sysconf(_SC_NPROCESSORS_ONLN), &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (int i = 0; i < count; i++) {
		atomic_fetch_add(&arrived, 1);
		while (atomic_load(&arrived) < 2 * (i + 1))
			;
		for (int n = 0; n < times; n++)
			if (send(sockets[i], content, size, 0) != (ssize_t)size)
				exit(3);
	}
	return NULL;
}

int main(int argc, char **argv) {
	struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(place);
	int receiver = socket(AF_INET, SOCK_DGRAM, 0);
	pthread_t threads[2];

	if (argc != 4 || bind(receiver, (void *)&place, length) || getsockname(receiver, (void *)&place, &length))
		return 2;
	count = atoi(argv[1]);
	times = atoi(argv[2]);
	size = atoi(argv[3]);
	sockets = calloc(count, sizeof(*sockets));
	for (int i = 0; i < count; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (connect(sockets[i], (void *)&place, length))
			return 2;
	}
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("{\"pid\": %d, \"cookies\": [", getpid());
	for (int i = 0; i < count; i++) {
		unsigned long long cookie;

		length = sizeof(cookie);
		getsockopt(sockets[i], SOL_SOCKET, SO_COOKIE, &cookie, &length);
		printf("%s%llu", i ? ", " : "", cookie);
	}
	printf("]}\n");
	return 0;
}
