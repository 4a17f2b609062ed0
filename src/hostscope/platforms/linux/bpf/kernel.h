/* The kernel's types, with only the fields that are read. CO-RE finds each by name in the running kernel, so order
 * and size here mean nothing; `___suffix` marks another shape of the same type in other kernels. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;
struct list_head { struct list_head *next; };
typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;
typedef struct { u64 val; } kernel_cap_t; /* two u32 before 6.3: the same bytes */

struct ns_common { u32 inum; };
struct user_namespace { struct ns_common ns; };
struct uts_namespace { struct ns_common ns; };
struct ipc_namespace { struct ns_common ns; };
struct mnt_namespace { struct ns_common ns; };
struct pid_namespace { struct ns_common ns; };
struct time_namespace { struct ns_common ns; };
struct cgroup_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
	struct time_namespace *time_ns;
	struct cgroup_namespace *cgroup_ns;
};

struct group_info { int ngroups; kgid_t gid[1]; };
struct cred {
	kuid_t uid, suid, euid, fsuid;
	kgid_t gid, sgid, egid, fsgid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	struct user_namespace *user_ns;
	struct group_info *group_info;
};

struct upid { int nr; struct pid_namespace *ns; };
struct pid { u32 level; u64 ino; struct upid numbers[1]; };

struct kernfs_node { u64 id; };
struct cgroup { struct kernfs_node *kn; };
struct css_set { struct cgroup *dfl_cgrp; };

struct super_block { u32 s_dev; };
struct inode { unsigned long i_ino; struct super_block *i_sb; };
struct hlist_bl_node { struct hlist_bl_node **pprev; };
struct qstr { const unsigned char *name; };
struct dentry { struct dentry *d_parent; struct qstr d_name; struct hlist_bl_node d_hash; };
struct vfsmount { struct dentry *mnt_root; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; struct inode *f_inode; };
struct fs_struct { struct path root, pwd; };
struct fdtable { u32 max_fds; unsigned long *open_fds; };
struct files_struct { struct fdtable *fdt; };

struct percpu_counter { s64 count; s32 *counters; };
struct mm_struct {
	unsigned long total_vm, hiwater_vm, hiwater_rss, arg_start, arg_end;
	unsigned long flags; /* a struct around a bitmap since 6.18: the same bytes */
	struct percpu_counter rss_stat[4];
	struct { long counter; } pgtables_bytes;
	struct file *exe_file;
};
struct mm_rss_stat { struct { long counter; } count[4]; };
struct mm_struct___before_6_2 { struct mm_rss_stat rss_stat; };

struct tty_driver { int major, minor_start; };
struct tty_struct { struct tty_driver *driver; int index; };
struct task_io_accounting { u64 rchar, wchar, read_bytes, write_bytes; };
struct prev_cputime { u64 utime, stime; };
struct signal_struct {
	int nr_threads;
	struct list_head thread_head;
	u64 utime, stime, cutime, cstime;
	unsigned long long sum_sched_runtime;
	struct prev_cputime prev_cputime;
	unsigned long min_flt, maj_flt;
	struct task_io_accounting ioac;
	struct pid *pids[4];
	struct tty_struct *tty;
	s16 oom_score_adj;
};

struct sched_entity { u64 sum_exec_runtime; };
struct seccomp { int mode; };
struct task_struct {
	u32 __state;
	int exit_state;
	u32 flags, ptrace, policy, rt_priority;
	int prio, static_prio;
	struct sched_entity se;
	struct mm_struct *mm;
	void *vfork_done;
	int pid, tgid;
	struct task_struct *real_parent, *parent, *group_leader;
	struct pid *thread_pid;
	struct list_head thread_node;
	u64 utime, stime, start_boottime;
	unsigned long min_flt, maj_flt, nvcsw, nivcsw, atomic_flags;
	const struct cred *real_cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid;
	u32 sessionid;
	struct seccomp seccomp;
	struct task_io_accounting ioac;
	struct css_set *cgroups;
};
struct task_struct___before_5_14 { long state; };

struct bpf_array { void *pptrs[1]; };
struct bpf_iter_meta { struct seq_file *seq; u64 seq_num; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

#pragma clang attribute pop
