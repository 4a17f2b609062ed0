/* A libSystem whose answers are scripted: what its files share.
 *
 * Each file here is compiled against Apple's own headers for both machines, so the compiler checks every prototype and
 * every structure that is filled by name. The very same unit, as LLVM IR with the host's triple, then becomes part of a
 * Linux library that the macOS code under test calls. Nothing of the host's C headers is used (but in host.c).
 *
 * To add calls: a file of your own, `enum fake_function` entries below, `fake_enter` first thing in each call.
 */
#ifndef FAKE_H
#define FAKE_H
#include <stddef.h>
#include <stdint.h>

enum fake_function {
  FAKE_LISTPIDS, FAKE_PIDINFO, FAKE_PIDFDINFO, FAKE_PIDPATH, FAKE_RUSAGE, FAKE_GETSID, FAKE_RESPONSIBLE,
  FAKE_SYSCTL, FAKE_SYSCTLBYNAME, FAKE_CSOPS, FAKE_CSR, FAKE_SANDBOX, FAKE_TIMEBASE, FAKE_DEVNAME, FAKE_TASK_FOR_PID,
  FAKE_MACH, FAKE_HOST, FAKE_NETWORK, FAKE_DNS, FAKE_BPF, FAKE_KQUEUE, FAKE_SPAWN, FAKE_SIGNAL, FAKE_NOTHING, FAKE_OTHER,
  FAKE_FUNCTIONS = 40
};
#define FAKE_ANY (-1)
#define FAKE_DETAILS 128

struct fake_fd {
  int fd, type, flags, kind; /* PROX_FDTYPE_…, fi_openflags, vi_type or SOCKINFO_… */
  uint16_t mode; int64_t offset; uint64_t inode;
  const char *path; /* NULL: its name is gone */
  const void *socket; /* struct socket_info, or NULL */
};

struct fake_process {
  int pid, ppid, pgid, sid;
  int uid, ruid, svuid, gid, rgid, svgid, ngroups, groups[16];
  int status, flags, proc_flags, nice, tdev, threads, running, priority, policy;
  int64_t start_sec; int start_usec;
  uint64_t user_time, system_time, resident, virt;
  int faults, pageins, switches;
  uint64_t footprint, disk_read, disk_written, energy, coalition, unique, parent_unique;
  int cputype, cpusubtype, responsible, sandboxed;
  uint32_t csflags;
  const char *comm, *name, *path, *cwd, *root, *team, *identity;
  const void *args, *xml, *der; int argc, args_len, xml_len, der_len;
  uint8_t cdhash[20];
  const struct fake_fd *fds; int nfds;
  int dies_after; /* calls that still find it; 0: it stays */
};

/* Fails as libSystem does: the host's errno gets Darwin's number. */
int fake_fail(int code, int result);
/* Counts a call; the error that was scripted for it, or 0. */
int fake_enter(enum fake_function function, int detail, int pid);
/* A living process, or NULL; it may die of being looked at. */
struct fake_process *fake_find(int pid);
/* All of them, dead ones (status 0) included. */
struct fake_process *fake_table(int *count);
/* Who asks. */
int fake_uid(void);
/* Copies as much as fits, as the kernel copies out; the number of bytes. */
size_t fake_copy(void *to, size_t room, const void *from, size_t size);
/* The kernel's process table by sysctl, and arguments. */
int fake_kern_proc(const int *mib, unsigned length, void *old, size_t *size);
#endif
