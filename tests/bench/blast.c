/* blast INTERFACE SECONDS FLOWS PACKETS_PER_SECOND SIZE: sends frames of many flows, as fast as asked (0: as it can).
 *
 * Of four flows two are TCP and one UDP over IPv4, and one is UDP over IPv6. Prints how many frames were sent. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 2048 };

static void put16(unsigned char *at, unsigned value) {
    at[0] = value >> 8;
    at[1] = value;
}

static void checksum(unsigned char *header) {
    unsigned long sum = 0;
    for (int i = 0; i < 20; i += 2) sum += header[i] << 8 | header[i + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    put16(header + 10, ~sum);
}

static void ports(unsigned char *at, int flow, int to, int length) {
    put16(at, 10000 + flow % 50000);
    put16(at + 2, to);
    put16(at + 4, length);
}

static void frame4(unsigned char *frame, int flow, int size, int udp) {
    unsigned char *ip = frame + 14;
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, size - 14);
    ip[8] = 64;
    ip[9] = udp ? 17 : 6;
    ip[12] = 10, ip[13] = 1, ip[14] = flow >> 8, ip[15] = flow;
    ip[16] = 10, ip[17] = 2, ip[19] = 1;
    checksum(ip);
    ports(ip + 20, flow, 80, udp ? size - 34 : 0);
    if (!udp) ip[32] = 0x50, ip[33] = 0x10;
}

static void frame6(unsigned char *frame, int flow, int size) {
    unsigned char *ip = frame + 14;
    put16(frame + 12, 0x86dd);
    ip[0] = 0x60;
    put16(ip + 4, size - 54);
    ip[6] = 17, ip[7] = 64;
    ip[8] = 0xfd, ip[22] = flow >> 8, ip[23] = flow;
    ip[24] = 0xfd, ip[39] = 1;
    ports(ip + 40, flow, 53, size - 54);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **given) {
    if (count != 6) return 2;
    double seconds = atof(given[2]), rate = atof(given[4]);
    int flows = atoi(given[3]), size = atoi(given[5]), one = 1;
    int out = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(given[1])};
    setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    if (size < 64 || size > ROOM || bind(out, (void *)&to, sizeof to)) return perror(given[1]), 1;
    unsigned char(*frames)[ROOM] = calloc(flows, ROOM);
    for (int flow = 0; flow < flows; flow++) {
        memset(frames[flow], 0xff, 6);
        frames[flow][6] = 2;
        if (flow % 4 == 3) frame6(frames[flow], flow, size);
        else frame4(frames[flow], flow, size, flow % 4 == 0);
    }
    struct mmsghdr messages[BATCH] = {0};
    struct iovec pieces[BATCH];
    double began = now(), gone = 0;
    long sent = 0;
    for (int flow = 0; gone < seconds; gone = now() - began) {
        for (int i = 0; i < BATCH; i++, flow = (flow + 1) % flows) {
            pieces[i] = (struct iovec){frames[flow], size};
            messages[i].msg_hdr.msg_iov = &pieces[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int done = sendmmsg(out, messages, BATCH, 0);
        if (done > 0) sent += done;
        while (rate && sent > rate * (now() - began)) usleep(50);
    }
    printf("%ld %.3f\n", sent, gone);
    return 0;
}
