/* libproc and the process table. What may be asked of whom is as in bsd/kern/proc_info.c and kern_sysctl.c of xnu. */
#include "fake.h"
#include <libproc.h>
#include <mach/mach_time.h>
#include <stdlib.h>
#include <sys/errno.h>
#include <sys/proc.h>
#include <sys/proc_info.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <unistd.h>

#define COPY_TEXT(array, text) fake_text(array, sizeof(array), text)
enum { UNIQUE = 17, COALITION = 20 }; /* bsd/sys/proc_info_private.h */
extern int fake_growth(void);
extern int fake_add(const struct fake_process *process);
int responsibility_get_pid_responsible_for_pid(int pid);
void fake_timebase(uint32_t numer, uint32_t denom);
void fake_newest_usage(int version);

static uint32_t clock_numer = 125, clock_denom = 3;
static int newest_usage = RUSAGE_INFO_V6;
void fake_timebase(uint32_t numer, uint32_t denom) { clock_numer = numer; clock_denom = denom; }
void fake_newest_usage(int version) { newest_usage = version; }

static void fake_text(char *to, size_t room, const char *text) {
  size_t i = 0;
  for (; text && text[i] && i + 1 < room; i++) to[i] = text[i];
  to[i] = 0;
}

static int foreign(const struct fake_process *p) { return fake_uid() && p->uid != fake_uid(); }

/* Between the size query and the reading, `fake_grow` processes start. */
static void start_some(void) {
  struct fake_process born = {.ppid = 1, .status = SRUN, .start_sec = 1700000000, .comm = "grown", .path = "/bin/grown"};
  int count;
  fake_table(&count);
  for (int i = 0; i < fake_growth(); i++) { born.pid = 500000 + count + i; fake_add(&born); }
}

int proc_listpids(uint32_t type, uint32_t info, void *buffer, int size) {
  int code = fake_enter(FAKE_LISTPIDS, type, FAKE_ANY), count, filled = 0;
  (void)info;
  if (code) return fake_fail(code, 0);
  struct fake_process *all = fake_table(&count);
  if (!buffer) {
    for (int i = 0; i < count; i++) filled += all[i].status != 0;
    return (filled + 20) * (int)sizeof(int);
  }
  if (size < (int)sizeof(int)) return fake_fail(ENOMEM, 0);
  start_some();
  all = fake_table(&count);
  for (int i = count - 1; i >= 0 && (filled + 1) * (int)sizeof(int) <= size; i--)
    if (all[i].status) ((int *)buffer)[filled++] = all[i].pid;
  return filled * (int)sizeof(int);
}

static void fill_bsd(struct proc_bsdinfo *to, const struct fake_process *p) {
  to->pbi_flags = p->proc_flags; to->pbi_status = p->status; to->pbi_pid = p->pid; to->pbi_ppid = p->ppid;
  to->pbi_uid = p->uid; to->pbi_gid = p->gid; to->pbi_ruid = p->ruid; to->pbi_rgid = p->rgid;
  to->pbi_svuid = p->svuid; to->pbi_svgid = p->svgid; to->pbi_nfiles = p->nfds; to->pbi_pgid = p->pgid;
  to->e_tdev = p->tdev; to->pbi_nice = p->nice; to->pbi_start_tvsec = p->start_sec; to->pbi_start_tvusec = p->start_usec;
  COPY_TEXT(to->pbi_comm, p->comm);
  COPY_TEXT(to->pbi_name, p->name ? p->name : p->comm);
}

static void fill_task(struct proc_taskinfo *to, const struct fake_process *p) {
  to->pti_virtual_size = p->virt; to->pti_resident_size = p->resident; to->pti_total_user = p->user_time;
  to->pti_total_system = p->system_time; to->pti_policy = p->policy; to->pti_faults = p->faults;
  to->pti_pageins = p->pageins; to->pti_csw = p->switches; to->pti_threadnum = p->threads;
  to->pti_numrunning = p->running; to->pti_priority = p->priority;
}

static void fill_vnode(struct vnode_info_path *to, const char *path) {
  if (!path) return;
  COPY_TEXT(to->vip_path, path);
  to->vip_vi.vi_stat.vst_mode = S_IFDIR | 0755;
  to->vip_vi.vi_stat.vst_ino = 2;
}

static int list_fds(const struct fake_process *p, void *buffer, int size) {
  int filled = 0;
  if (!buffer) return (p->nfds + 20) * (int)sizeof(struct proc_fdinfo);
  for (; filled < p->nfds && (filled + 1) * (int)sizeof(struct proc_fdinfo) <= size; filled++)
    ((struct proc_fdinfo *)buffer)[filled] = (struct proc_fdinfo){p->fds[filled].fd, p->fds[filled].type};
  return filled * (int)sizeof(struct proc_fdinfo);
}

static int answer(void *buffer, int size, const void *from, size_t length) {
  if (size < (int)length) return fake_fail(ENOMEM, 0);
  __builtin_memcpy(buffer, from, length);
  return (int)length;
}

static int all_of(struct fake_process *p, void *buffer, int size) {
  struct proc_taskallinfo all = {0};
  fill_bsd(&all.pbsd, p);
  fill_task(&all.ptinfo, p);
  return answer(buffer, size, &all, sizeof all);
}

static int paths_of(struct fake_process *p, void *buffer, int size) {
  static struct proc_vnodepathinfo paths;
  __builtin_memset(&paths, 0, sizeof paths);
  fill_vnode(&paths.pvi_cdir, p->cwd);
  fill_vnode(&paths.pvi_rdir, p->root);
  return answer(buffer, size, &paths, sizeof paths);
}

static int thread_of(struct fake_process *p, uint64_t handle, void *buffer, int size) {
  struct proc_threadinfo thread = {.pth_user_time = 1000 * handle, .pth_system_time = 10, .pth_run_state = 3};
  if ((int64_t)handle > p->threads) return fake_fail(ESRCH, 0);
  thread.pth_curpri = p->priority;
  COPY_TEXT(thread.pth_name, handle == 1 ? "main" : "");
  return answer(buffer, size, &thread, sizeof thread);
}

static int list_threads(const struct fake_process *p, void *buffer, int size) {
  int filled = 0;
  for (; filled < p->threads && (filled + 1) * 8 <= size; filled++) ((uint64_t *)buffer)[filled] = filled + 1;
  return filled * 8;
}

static int region_of(const struct fake_process *p, uint64_t address, void *buffer, int size) {
  static struct proc_regionwithpathinfo region;
  if (address >= 0x100000000ull + 0x8000) return fake_fail(EINVAL, 0);
  __builtin_memset(&region, 0, sizeof region);
  int data = address >= 0x100004000ull;
  region.prp_prinfo.pri_address = data ? 0x100004000ull : 0x100000000ull;
  region.prp_prinfo.pri_size = 0x4000;
  region.prp_prinfo.pri_protection = data ? 3 : 5;
  region.prp_prinfo.pri_share_mode = data ? 2 : 1;
  if (!data) {
    COPY_TEXT(region.prp_vip.vip_path, p->path);
    region.prp_vip.vip_vi.vi_stat.vst_ino = 4711;
    region.prp_vip.vip_vi.vi_stat.vst_dev = 0x1000004;
  }
  return answer(buffer, size, &region, sizeof region);
}

int proc_pidinfo(int pid, int flavor, uint64_t arg, void *buffer, int size) {
  int code = fake_enter(FAKE_PIDINFO, flavor, pid);
  if (code) return fake_fail(code, 0);
  struct fake_process *p = fake_find(pid);
  if (!p || p->status == SZOMB) return fake_fail(ESRCH, 0);
  uint64_t unique[7] = {0, 0, p->unique, p->parent_unique, 0, 0, 0}, coalition[5] = {p->coalition, p->coalition + 1, 0, 0, 0};
  struct proc_archinfo architecture = {p->cputype, p->cpusubtype};
  switch (flavor) { /* asked of anybody's process */
  case UNIQUE: return answer(buffer, size, unique, sizeof unique);
  case COALITION: return answer(buffer, size, coalition, sizeof coalition);
  case PROC_PIDARCHINFO: return answer(buffer, size, &architecture, sizeof architecture);
  }
  if (foreign(p)) return fake_fail(EPERM, 0);
  switch (flavor) {
  case PROC_PIDTASKALLINFO: return all_of(p, buffer, size);
  case PROC_PIDVNODEPATHINFO: return paths_of(p, buffer, size);
  case PROC_PIDLISTFDS: return list_fds(p, buffer, size);
  case PROC_PIDLISTTHREADS: return list_threads(p, buffer, size);
  case PROC_PIDTHREADINFO: return thread_of(p, arg, buffer, size);
  case PROC_PIDREGIONPATHINFO: return region_of(p, arg, buffer, size);
  }
  return fake_fail(EINVAL, 0);
}

static const struct fake_fd *descriptor(const struct fake_process *p, int fd) {
  for (int i = 0; i < p->nfds; i++)
    if (p->fds[i].fd == fd) return &p->fds[i];
  return NULL;
}

int proc_pidfdinfo(int pid, int fd, int flavor, void *buffer, int size) {
  int code = fake_enter(FAKE_PIDFDINFO, flavor, pid);
  if (code) return fake_fail(code, 0);
  struct fake_process *p = fake_find(pid);
  if (!p) return fake_fail(ESRCH, 0);
  if (foreign(p)) return fake_fail(EPERM, 0);
  const struct fake_fd *d = descriptor(p, fd);
  if (!d) return fake_fail(EBADF, 0);
  struct proc_fileinfo file = {.fi_openflags = d->flags, .fi_offset = d->offset, .fi_type = d->type};
  if (flavor == PROC_PIDFDVNODEPATHINFO && d->type == PROX_FDTYPE_VNODE) {
    static struct vnode_fdinfowithpath node;
    if (!d->path) return fake_fail(ENOENT, 0);
    __builtin_memset(&node, 0, sizeof node);
    node.pfi = file;
    COPY_TEXT(node.pvip.vip_path, d->path);
    node.pvip.vip_vi.vi_type = d->kind;
    node.pvip.vip_vi.vi_stat.vst_mode = d->mode;
    node.pvip.vip_vi.vi_stat.vst_ino = d->inode;
    return answer(buffer, size, &node, sizeof node);
  }
  if (flavor == PROC_PIDFDSOCKETINFO && d->type == PROX_FDTYPE_SOCKET && d->socket) {
    static struct socket_fdinfo found;
    found.pfi = file;
    found.psi = *(const struct socket_info *)d->socket;
    return answer(buffer, size, &found, sizeof found);
  }
  if (flavor == PROC_PIDFDPIPEINFO && d->type == PROX_FDTYPE_PIPE) {
    struct pipe_fdinfo found = {.pfi = file, .pipeinfo = {.pipe_handle = d->inode, .pipe_peerhandle = d->inode + 1}};
    return answer(buffer, size, &found, sizeof found);
  }
  return fake_fail(EINVAL, 0);
}

int proc_pidpath(int pid, void *buffer, uint32_t size) {
  int code = fake_enter(FAKE_PIDPATH, 0, pid);
  if (code) return fake_fail(code, 0);
  if (size < PROC_PIDPATHINFO_SIZE) return fake_fail(ENOMEM, 0);
  if (size > PROC_PIDPATHINFO_MAXSIZE) return fake_fail(EOVERFLOW, 0);
  struct fake_process *p = fake_find(pid);
  if (!p || p->status == SZOMB) return fake_fail(ESRCH, 0);
  if (!p->path) return fake_fail(ENOENT, 0);
  fake_text(buffer, size, p->path);
  return (int)__builtin_strlen(buffer);
}

int proc_pid_rusage(int pid, int flavor, rusage_info_t *buffer) {
  int code = fake_enter(FAKE_RUSAGE, flavor, pid);
  if (code) return fake_fail(code, -1);
  if (flavor > newest_usage) return fake_fail(EINVAL, -1);
  struct fake_process *p = fake_find(pid);
  if (!p) return fake_fail(ESRCH, -1);
  if (foreign(p)) return fake_fail(EPERM, -1);
  struct rusage_info_v6 usage = {0};
  usage.ri_phys_footprint = p->footprint; usage.ri_diskio_bytesread = p->disk_read;
  usage.ri_diskio_byteswritten = p->disk_written; usage.ri_billed_energy = p->energy;
  usage.ri_energy_nj = p->energy / 2; usage.ri_lifetime_max_phys_footprint = p->footprint * 2;
  usage.ri_child_user_time = p->user_time / 2; usage.ri_child_system_time = p->system_time / 2;
  size_t size = flavor == RUSAGE_INFO_V6 ? sizeof(struct rusage_info_v6)
    : flavor == RUSAGE_INFO_V4 ? sizeof(struct rusage_info_v4) : sizeof(struct rusage_info_v2);
  __builtin_memcpy(buffer, &usage, size);
  return 0;
}

pid_t getsid(pid_t pid) {
  int code = fake_enter(FAKE_GETSID, 0, pid);
  if (code) return fake_fail(code, -1);
  struct fake_process *p = fake_find(pid);
  return p ? p->sid : fake_fail(ESRCH, -1);
}

int responsibility_get_pid_responsible_for_pid(int pid) {
  int code = fake_enter(FAKE_RESPONSIBLE, 0, pid);
  if (code) return fake_fail(code, -1);
  struct fake_process *p = fake_find(pid);
  return p ? (p->responsible ? p->responsible : pid) : fake_fail(ESRCH, -1);
}

kern_return_t mach_timebase_info(mach_timebase_info_t info) {
  fake_enter(FAKE_TIMEBASE, 0, FAKE_ANY);
  info->numer = clock_numer; info->denom = clock_denom;
  return 0;
}

char *devname(dev_t device, mode_t type) {
  static char name[] = "ttys000";
  fake_enter(FAKE_DEVNAME, 0, FAKE_ANY);
  if (type != S_IFCHR || (device >> 24) != 16) return NULL;
  name[4] = '0' + (device & 0xff) / 100; name[5] = '0' + (device & 0xff) / 10 % 10; name[6] = '0' + (device & 0xff) % 10;
  return name;
}

static void fill_kinfo(struct kinfo_proc *to, const struct fake_process *p) {
  __builtin_memset(to, 0, sizeof *to);
  to->kp_proc.p_starttime.tv_sec = p->start_sec; to->kp_proc.p_starttime.tv_usec = p->start_usec;
  to->kp_proc.p_flag = p->flags; to->kp_proc.p_stat = (char)p->status; to->kp_proc.p_pid = p->pid;
  to->kp_proc.p_nice = (char)p->nice; to->kp_eproc.e_ppid = p->ppid; to->kp_eproc.e_pgid = p->pgid;
  to->kp_eproc.e_tdev = p->tdev; to->kp_eproc.e_pcred.p_ruid = p->ruid; to->kp_eproc.e_pcred.p_svuid = p->svuid;
  to->kp_eproc.e_pcred.p_rgid = p->rgid; to->kp_eproc.e_pcred.p_svgid = p->svgid;
  to->kp_eproc.e_ucred.cr_uid = p->uid; to->kp_eproc.e_ucred.cr_ngroups = (short)p->ngroups;
  for (int i = 0; i < 16; i++) to->kp_eproc.e_ucred.cr_groups[i] = p->groups[i];
  COPY_TEXT(to->kp_proc.p_comm, p->comm);
  COPY_TEXT(to->kp_eproc.e_login, p->uid ? "ann" : "");
}

static int whole_table(void *old, size_t *size) {
  int count, living = 0;
  struct fake_process *all = fake_table(&count);
  for (int i = 0; i < count; i++) living += all[i].status != 0;
  if (!old) { *size = (living + living / 8) * sizeof(struct kinfo_proc); return 0; }
  start_some();
  all = fake_table(&count);
  size_t filled = 0;
  for (int i = 0; i < count; i++) {
    if (!all[i].status) continue;
    if ((filled + 1) * sizeof(struct kinfo_proc) > *size) return fake_fail(ENOMEM, -1);
    fill_kinfo((struct kinfo_proc *)old + filled++, &all[i]);
  }
  *size = filled * sizeof(struct kinfo_proc);
  return 0;
}

static int one_entry(int pid, void *old, size_t *size) {
  struct fake_process *p = fake_find(pid);
  if (!old) { *size = 5 * sizeof(struct kinfo_proc); return 0; }
  if (!p) { *size = 0; return 0; }
  if (*size < sizeof(struct kinfo_proc)) return fake_fail(ENOMEM, -1);
  fill_kinfo(old, p);
  *size = sizeof(struct kinfo_proc);
  return 0;
}

/* EINVAL for a process that is gone, and for one of somebody else: they cannot be told apart by this call. */
static int arguments(int pid, void *old, size_t *size) {
  struct fake_process *p = fake_find(pid);
  if (!p || p->status == SZOMB || foreign(p)) return fake_fail(EINVAL, -1);
  size_t need = sizeof(int) + p->args_len;
  if (!old) { *size = need; return 0; }
  size_t length = *size < need ? *size : need;
  if (length <= sizeof(int) || !p->args_len) return fake_fail(EINVAL, -1);
  __builtin_memcpy(old, &p->argc, sizeof(int));
  __builtin_memcpy((char *)old + sizeof(int), p->args, length - sizeof(int));
  *size = length;
  return 0;
}

int fake_kern_proc(const int *mib, unsigned length, void *old, size_t *size) {
  if (length == 3 && mib[1] == KERN_PROCARGS2) return arguments(mib[2], old, size);
  if (length == 4 && mib[1] == KERN_PROC && mib[2] == KERN_PROC_ALL) return whole_table(old, size);
  if (length == 4 && mib[1] == KERN_PROC && mib[2] == KERN_PROC_PID) return one_entry(mib[3], old, size);
  return fake_fail(ENOENT, -1);
}
