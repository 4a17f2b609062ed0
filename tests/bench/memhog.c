/* memhog RESIDENT_MB VIRTUAL_MB [busy]: touches memory in runs of 64 KiB, spread evenly; prints its address and waits.
 * busy: one thread writes to it and maps memory, and remembers the longest time between two turns. A line on standard
 * input makes it print that time in ns and begin anew; the end of input ends it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static char *memory;
static size_t used;
static _Atomic uint64_t longest;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *turn(void *unused) {
    (void)unused;
    uint64_t last = now(), seed = 88172645463325252u;
    for (unsigned turns = 0;; turns++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        memory[seed % used] ^= 1;
        if (turns % 4096 == 0) {
            void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            *(char *)page = 1;
            munmap(page, 4096);
        }
        uint64_t at = now(), gap = at - last;
        if (gap > longest) longest = gap;
        last = at;
    }
}

int main(int count, char **given) {
    size_t resident = (size_t)atol(given[1]) << 20, size = (size_t)atol(given[2]) << 20, run = 65536, done = 0;
    prctl(PR_SET_PDEATHSIG, 9);
    memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size && done < resident; at += run * (size / resident))
        for (size_t k = 0; k < run; k += 8, done += 8) *(size_t *)(memory + at + k) = (at + k) * 0x9E3779B97F4A7C15ull;
    used = resident;
    pthread_t thread;
    if (count > 3) pthread_create(&thread, 0, turn, 0);
    printf("%p\n", (void *)memory);
    fflush(stdout);
    while (getchar() != EOF) {
        printf("%llu\n", (unsigned long long)longest);
        fflush(stdout);
        longest = 0;
    }
    return 0;
}
