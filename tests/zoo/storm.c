// storm CORE GUST WINDOW: for each byte on fd 0 forks GUST processes on one core and reaps them, at most WINDOW at a
// time. Every tenth runs this program again as "storm leaf PID". Prints "ready", and at the end how many it reaped.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void live(char *self, long index) {
    char pid[16], *leaf[] = {"storm", "leaf", pid, NULL}, *none[] = {NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(pid, sizeof pid, "%d", getpid());
    if (index % 10 == 0) execve(self, leaf, none);
    struct timespec life = {0, index % 16 * 10000000};  // some end while they are read, some live a little longer
    nanosleep(&life, NULL);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "leaf")) return 0;
    if (argc != 4) return 2;
    long gust = atol(argv[2]), window = atol(argv[3]), alive = 0, ended = 0;
    char self[4096] = {0}, go;
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(atoi(argv[1]), &core);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || sched_setaffinity(0, sizeof core, &core)) return 3;
    puts("ready");
    fflush(stdout);
    while (read(0, &go, 1) == 1)
        for (long index = 0; index < gust; index++) {
            for (; alive >= window; alive--) ended += wait(NULL) > 0;
            pid_t child = fork();
            if (child == 0) live(self, index);
            if (child < 0) return 5;
            alive++;
        }
    for (; alive; alive--) ended += wait(NULL) > 0;
    printf("%ld\n", ended);
    return 0;
}
