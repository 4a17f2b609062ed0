/* socket_loop COUNT t|u BYTES: sends and receives on one connection in one thread, which stays on the processor it
 * began on; prints nanoseconds for each pair. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static char buffer[65536];

static void pass(int from, int to, int bytes) {
	int got = 0;

	if (send(from, buffer, bytes, 0) != bytes)
		exit(1);
	while (got < bytes) {
		int more = recv(to, buffer, bytes - got, 0);
		if (more <= 0)
			exit(1);
		got += more;
	}
}

static double loop(int count, int from, int to, int bytes) {
	struct timespec begun, ended;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (int i = 0; i < count; i++)
		pass(from, to, bytes);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	return ((ended.tv_sec - begun.tv_sec) * 1e9 + (ended.tv_nsec - begun.tv_nsec)) / count;
}

int main(int argc, char **argv) {
	int count, bytes, on = 1, from, to;
	struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof place;
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof here, &here);
	if (argc != 4)
		return 2;
	count = atoi(argv[1]), bytes = atoi(argv[3]);
	int type = argv[2][0] == 'u' ? SOCK_DGRAM : SOCK_STREAM, listener = socket(AF_INET, type, 0);

	bind(listener, (void *)&place, size);
	if (type == SOCK_STREAM)
		listen(listener, 1);
	getsockname(listener, (void *)&place, &size);
	from = socket(AF_INET, type, 0);
	if (connect(from, (void *)&place, size))
		return 1;
	to = type == SOCK_STREAM ? accept(listener, 0, 0) : listener;
	if (type == SOCK_STREAM)
		setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	loop(count / 10, from, to, bytes);
	printf("%.1f\n", loop(count, from, to, bytes));
}
