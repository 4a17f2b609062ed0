/* dump_target THREADS: a known variable, a secret on the heap, threads that wait in a known function; prints where. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

volatile unsigned long known_variable = 0x5eedf00dcafe1234ul;

__attribute__((noinline)) static void *waiting_here(void *unused) {
    (void)unused;
    for (;;) pause();
}

int main(int count, char **given) {
    prctl(PR_SET_PDEATHSIG, 9);
    char *secret = malloc(1 << 16);
    strcpy(secret, "s3cret-");
    strcat(secret, "in-the-heap");
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int thread = 1; thread < (count > 1 ? atoi(given[1]) : 1); thread++) {
        pthread_t id;
        pthread_create(&id, &small, waiting_here, 0);
    }
    printf("%p %p\n", (void *)secret, (void *)&known_variable);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
