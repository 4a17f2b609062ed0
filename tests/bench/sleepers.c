/* sleepers N 00000000: N children that pause, each with its own name and its own last argument.
 *
 * Prints "READY N" when all sleep; kills them by pid when its standard input closes or it is killed itself.
 * The children overwrite the last argument of the parent ("00000000") with their own number.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void sleep_for_ever(int number, char *argument) {
    char name[16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(name, sizeof name, "sleeper-%u", (unsigned)number % 1000000);
    prctl(PR_SET_NAME, name);
    char digits[24];
    snprintf(digits, sizeof digits, "%08u", (unsigned)number % 100000000);
    memcpy(argument, digits, 8);
    close(0);
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc != 3 || strlen(argv[2]) != 8) return 2;
    int count = atoi(argv[1]), made = 0;
    pid_t *children = calloc(count, sizeof *children);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (; made < count; made++) {
        pid_t child = fork();
        if (child == 0) sleep_for_ever(made, argv[2]);
        if (child < 0) break;
        children[made] = child;
    }
    printf("READY %d\n", made);
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    for (int i = 0; i < made; i++) kill(children[i], SIGKILL);
    for (int i = 0; i < made; i++) waitpid(children[i], NULL, 0);
    return 0;
}
