/* proc_reader REPEATS: the peer for /proc sweeps. Reads stat, status, cmdline and the exe link of every process, as
 * hostscope's basic fields do, and parses what numbers it needs; prints the median time of one sweep in
 * microseconds and the number of processes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char text[65536];
static unsigned long long sum;

static long slurp(int directory, const char *name) {
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    long size = read(file, text, sizeof text - 1);
    close(file);
    if (size >= 0) text[size] = 0;
    return size;
}

static void parse_stat(void) {
    char *at = strrchr(text, ')');
    if (!at) return;
    for (at += 3; *at;) {
        char *end;
        sum += strtoull(at, &end, 10);
        at = end == at ? at + 1 : end;
        while (*at == ' ' || *at == '\n') at++;
    }
}

static void parse_status(void) {
    static const char *const names[] = {"\nTracerPid:", "\nUid:", "\nGid:", "\nVmPeak:", "\nVmHWM:", "\nVmRSS:",
                                        "\nRssFile:", "\nRssShmem:", "\nVmSwap:", "\nvoluntary_ctxt_switches:"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char *at = strstr(text, names[i]);
        if (at) sum += strtoull(at + strlen(names[i]), NULL, 10);
    }
}

static int row(int proc, const char *pid) {
    int directory = openat(proc, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return 0;
    int whole = slurp(directory, "stat") > 0;
    if (whole) parse_stat();
    whole = whole && slurp(directory, "status") > 0;
    if (whole) parse_status();
    if (whole && slurp(directory, "cmdline") >= 0) sum += text[0];
    if (readlinkat(directory, "exe", text, sizeof text) > 0) sum += text[0];
    close(directory);
    return whole;
}

static int sweep(void) {
    int rows = 0;
    DIR *listing = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') rows += row(dirfd(listing), entry->d_name);
    closedir(listing);
    return rows;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int repeats = argc > 1 ? atoi(argv[1]) : 5, rows = 0;
    double times[64];
    for (int i = 0; i < repeats && i < 64; i++) {
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        rows = sweep();
        clock_gettime(CLOCK_MONOTONIC, &ended);
        times[i] = (ended.tv_sec - began.tv_sec) * 1e6 + (ended.tv_nsec - began.tv_nsec) / 1e3;
    }
    qsort(times, repeats, sizeof *times, ascending);
    printf("%.0f %d %llu\n", times[repeats / 2], rows, sum & 1);
    return 0;
}
