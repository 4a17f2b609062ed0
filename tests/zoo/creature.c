// A child whose truth the tests know. It reads one command a line on fd 0, does it, and answers one line on fd 1:
// "ok NUMBER" or "error ERRNO COMMAND". Text arguments are hexadecimal, so any byte can be asked for.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, LINE = 1 << 19 };

static char **arguments;
static int count;
static char *words[MOST];
static char line[LINE];
static void serve(void);

static long number(int index) { return words[index] ? strtol(words[index], NULL, 0) : 0; }

static char *text(int index) {
    char *hex = words[index] ? words[index] : "";
    size_t length = strlen(hex) / 2;
    char *bytes = calloc(1, length + 1);
    for (size_t i = 0; i < length; i++) sscanf(hex + 2 * i, "%2hhx", (unsigned char *)bytes + i);
    return bytes;
}

// Identity and limits --------------------------------------------------------------------------------------------

static long do_comm(void) { return prctl(PR_SET_NAME, text(1)); }
static long do_pid(void) { return getpid(); }
static long do_uids(void) { return setresuid(number(1), number(2), number(3)); }
static long do_gids(void) { return setresgid(number(1), number(2), number(3)); }
static long do_fs_uid(void) {  // a second call tells whether the first one worked
    setfsuid(number(1));
    return setfsuid(-1) == number(1) ? 0 : (errno = EPERM, -1);
}
static long do_fs_gid(void) {
    setfsgid(number(1));
    return setfsgid(-1) == number(1) ? 0 : (errno = EPERM, -1);
}
static long do_groups(void) {
    gid_t groups[MOST];
    int size = 0;
    for (int i = 1; i < MOST && words[i]; i++) groups[size++] = number(i);
    return setgroups(size, groups);
}
static long do_no_new_privs(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static long do_keep_caps(void) { return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); }
static long do_dumpable(void) { return prctl(PR_SET_DUMPABLE, number(1), 0, 0, 0); }
static long do_drop_bounding(void) { return prctl(PR_CAPBSET_DROP, number(1), 0, 0, 0); }
static long do_ambient(void) { return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number(1), 0, 0); }

static long do_caps(void) {  // effective permitted inheritable, as masks
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    unsigned long effective = number(1), permitted = number(2), inheritable = number(3);
    for (int half = 0; half < 2; half++) {
        data[half].effective = effective >> (32 * half);
        data[half].permitted = permitted >> (32 * half);
        data[half].inheritable = inheritable >> (32 * half);
    }
    return syscall(SYS_capset, &header, data);
}

static long do_filter(void) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}
static long do_strict(void) { return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0); }

static long do_write_file(void) {  // path, content
    int fd = open(text(1), O_WRONLY);
    char *content = text(2);
    if (fd < 0) return -1;
    long written = write(fd, content, strlen(content));
    close(fd);
    return written;
}

// Scheduling -----------------------------------------------------------------------------------------------------

static long do_nice(void) { return setpriority(PRIO_PROCESS, 0, number(1)); }
static long do_policy(void) {
    struct sched_param priority = {number(2)};
    return sched_setscheduler(0, number(1), &priority);
}

static void *sleep_on(void *unused) {
    for (;;) pause();
    return unused;
}

static long do_threads(void) {
    pthread_t thread;
    for (long i = 0; i < number(1); i++)
        if ((errno = pthread_create(&thread, NULL, sleep_on, NULL))) return -1;
    return 0;
}

static void *serve_on(void *unused) {
    serve();
    _exit(0);
    return unused;
}

static long do_leave_threads(void) {  // the leader ends; a thread serves on
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, serve_on, NULL))) return -1;
    dprintf(1, "ok 0\n");
    pthread_exit(NULL);
}

static long do_burn(void) {  // milliseconds of processor time
    struct timespec used;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < number(1));
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static long do_employ(void) {  // the same, by a child that is waited for
    struct rusage used;
    pid_t child = fork();
    if (child == 0) {
        do_burn();
        _exit(0);
    }
    if (child < 0 || waitpid(child, NULL, 0) != child || getrusage(RUSAGE_CHILDREN, &used)) return -1;
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

// Relatives ------------------------------------------------------------------------------------------------------

static long do_unshare(void) { return unshare(number(1)); }

static long do_fork(void) {  // the child serves on, and answers with its pid, as we see it: then it is past the gate
    int gate[2];
    pid_t pid = 0;
    if (pipe(gate)) return -1;
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(gate[1]);
        if (read(gate[0], &pid, sizeof pid) != sizeof pid) _exit(1);
        close(gate[0]);
        return pid;
    }
    if (write(gate[1], &child, sizeof child) != sizeof child) _exit(1);
    waitpid(child, NULL, 0);
    _exit(0);
}

static long do_zombie(void) {
    siginfo_t ended;
    pid_t child = fork();
    if (child == 0) _exit(7);
    return child < 0 || waitid(P_PID, child, &ended, WEXITED | WNOWAIT) ? -1 : child;
}

static long do_seize(void) { return ptrace(PTRACE_SEIZE, number(1), 0, 0); }
static long do_interrupt(void) {
    int status;
    if (ptrace(PTRACE_INTERRUPT, number(1), 0, 0)) return -1;
    return waitpid(number(1), &status, __WALL) < 0 ? -1 : 0;
}

static long do_terminal(void) {
    if (setsid() < 0) return -1;
    int fd = open(text(1), O_RDWR);
    return fd < 0 ? -1 : ioctl(fd, TIOCSCTTY, 0);
}

// Files and memory -----------------------------------------------------------------------------------------------

static long do_chdir(void) { return chdir(text(1)); }
static long do_chroot(void) { return chroot(text(1)); }

static long do_descriptors(void) {
    for (long i = 0; i < number(1); i++)
        if (dup(0) < 0) return -1;
    return 0;
}

static long do_resident(void) {  // MiB
    size_t size = number(1) << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -1;
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
    return size;
}

static long do_store(void) {  // path, bytes: written through and read back from storage
    static char piece[1 << 16] __attribute__((aligned(4096)));
    long left = number(2);
    int fd = open(text(1), O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) return -1;
    for (; left > 0; left -= sizeof piece)
        if (write(fd, piece, sizeof piece) != sizeof piece) return -1;
    if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) || lseek(fd, 0, SEEK_SET)) return -1;
    while (read(fd, piece, sizeof piece) > 0) left++;
    close(fd);
    return 0;
}

// Programs and arguments -----------------------------------------------------------------------------------------

static long do_title(void) {  // setproctitle(3): one text over the arguments, and over the environment after them
    char *title = text(1), *end = arguments[count - 1] + strlen(arguments[count - 1]) + 1;
    extern char **environ;
    for (char **entry = environ; *entry; entry++)
        if (*entry == end) end = *entry + strlen(*entry) + 1;
    size_t room = end - arguments[0], length = strlen(title);
    if (length >= room) return errno = E2BIG, -1;
    memset(arguments[0], 0, room);
    memcpy(arguments[0], title, length);
    return room;
}

static long do_bare(void) {  // run a program without any argument, not even its name
    char *none[] = {NULL};
    return execve(text(1), none, none);
}

static long do_memfd(void) {
    int self = open("/proc/self/exe", O_RDONLY), memory = memfd_create(text(1), MFD_CLOEXEC);
    char piece[1 << 16], *name[] = {"from-memory", NULL}, *none[] = {NULL};
    ssize_t size;
    if (self < 0 || memory < 0) return -1;
    while ((size = read(self, piece, sizeof piece)) > 0)
        if (write(memory, piece, size) != size) return -1;
    return fexecve(memory, name, none);
}

static const struct { const char *name; long (*act)(void); } commands[] = {
    {"pid", do_pid}, {"comm", do_comm}, {"uids", do_uids}, {"gids", do_gids}, {"fs_uid", do_fs_uid},
    {"fs_gid", do_fs_gid}, {"groups", do_groups},
    {"no_new_privs", do_no_new_privs}, {"keep_caps", do_keep_caps}, {"dumpable", do_dumpable},
    {"drop_bounding", do_drop_bounding}, {"ambient", do_ambient}, {"caps", do_caps}, {"filter", do_filter},
    {"strict", do_strict}, {"write_file", do_write_file}, {"nice", do_nice}, {"policy", do_policy},
    {"threads", do_threads}, {"leave_threads", do_leave_threads}, {"burn", do_burn}, {"employ", do_employ}, {"unshare", do_unshare},
    {"fork", do_fork}, {"zombie", do_zombie}, {"seize", do_seize}, {"interrupt", do_interrupt},
    {"terminal", do_terminal}, {"chdir", do_chdir}, {"chroot", do_chroot}, {"descriptors", do_descriptors},
    {"resident", do_resident}, {"store", do_store}, {"title", do_title}, {"bare", do_bare}, {"memfd", do_memfd},
};

static long perform(void) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (words[0] && !strcmp(words[0], commands[i].name)) return errno = 0, commands[i].act();
    return errno = ENOSYS, -1;
}

static int read_line(void) {  // byte by byte: strict seccomp leaves nothing but read and write
    size_t length = 0;
    while (length < LINE - 1 && read(0, line + length, 1) == 1)
        if (line[length++] == '\n') return line[length - 1] = 0, 1;
    return 0;
}

static void answer(long result) {
    char reply[64];
    int length = result == -1 ? snprintf(reply, sizeof reply, "error %d %.32s\n", errno, words[0] ? words[0] : "")
                              : snprintf(reply, sizeof reply, "ok %ld\n", result);
    if (write(1, reply, length) != length) _exit(1);
}

static void serve(void) {
    while (read_line()) {
        int size = 0;
        memset(words, 0, sizeof words);
        for (char *word = strtok(line, " "); word && size < MOST; word = strtok(NULL, " ")) words[size++] = word;
        answer(perform());
    }
}

int main(int argc, char **argv) {
    count = argc;
    arguments = argv;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    answer(getpid());
    serve();
    syscall(SYS_exit, 0);  // the only exit that strict seccomp allows
}
