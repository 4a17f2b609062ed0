/* One process as it is written to user space: this header, then argv, exe, cwd, root and groups, each padded to eight
 * bytes with zeroes. hostscope/platforms/linux/task_record.py reads it: keep the two alike. */

enum { ARGV_SLOT = 4096, PATHS_SLOT = 8192, GROUPS_SLOT = 64 };
enum { NO_ANSWER = 0xffffffff };

/* What the loader asks for (rodata `want`). What is not asked for costs nothing, as the verifier cuts it out, and reads
 * as zeroes. */
enum {
	WANT_ARGV = 1, WANT_EXE = 2, WANT_CWD = 4, WANT_ROOT = 8, WANT_GROUPS = 16,
	WANT_THREADS = 32, /* processor time, faults, switches and I/O of all threads */
	WANT_MEMORY = 64, WANT_FDS = 128,
	WANT_IDS = 256,
	WANT_SECURITY = 512, /* capability sets, no_new_privs, seccomp, login user, tracer, dumpable, oom_score_adj */
	WANT_NAMESPACES = 1024, WANT_CGROUP = 2048, WANT_SESSION = 4096, WANT_SCHEDULE = 8192,
	WANT_BRIEF = 16384, /* of the header only what stands before `utime`: a sixth, for those who want no more of it */
};

enum {
	ARGV_CUT = 1,         /* longer than the slot; not copied */
	ARGV_OVERWRITTEN = 2, /* its last byte is not NUL: setproctitle(3), user space must ask /proc */
	ARGV_UNREAD = 4,      /* could not be copied */
	EXE_CUT = 8, CWD_CUT = 16, ROOT_CUT = 32, GROUPS_CUT = 64, /* longer or deeper than the slot, or moved under us */
	THREADS_CUT = 128,    /* sums lack threads */
	FDS_CUT = 256,
	NAME_ELSEWHERE = 512, /* a kernel thread whose full name is longer than comm */
	EXE_UNLINKED = 1024, CWD_UNLINKED = 2048, ROOT_UNLINKED = 4096,
	EXE_NAMELESS = 8192,  /* no place in any tree, such as a memfd: exe is its own name */
	NO_MM = 16384,        /* no user address space: a kernel thread, a zombie */
	NO_FS = 32768,        /* no working directory: a zombie */
	MM_CHANGED = 65536,   /* it ended or replaced its image while we read: what came from its memory is void; or only
			       * its main thread ended, and what we read is not all: /proc has to tell */
	NO_NAMESPACES = 131072,
	NO_IO = 262144,       /* the kernel does not count it */
	NO_EXE = 524288,
	OOM_EXEMPT = 1048576, /* the OOM killer passes it over for now */
};

/* One slice, so that user space can tell at once whether it has met these credentials in this context before. */
struct context {
	u32 uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
	u64 inheritable, permitted, effective, bounding, ambient;
	u32 no_new_privs, seccomp, loginuid, sessionid;
	u32 ns_cgroup, ns_ipc, ns_mnt, ns_net, ns_pid, ns_time, ns_user, ns_uts;
	u64 css_set; /* address: equal means the same control groups in all hierarchies, within one sweep */
	u64 cgroup;  /* id in the unified hierarchy */
	u32 dumpable;
	s32 oom_score_adj;
};

struct record {
	u32 size, flags;
	u32 argv_size;
	u16 exe_size, cwd_size, root_size, groups_size;
	u32 fds;
	u32 pid, ppid, threads;
	u32 inner_pid; /* 0 in our own PID namespace */
	u32 tracer;
	u32 state, exit_state, task_flags; /* one slice */
	u64 start_boottime;
	char comm[16];
	u64 utime, stime, runtime, previous_utime, previous_stime, cutime, cstime;
	u64 minor_faults, major_faults, voluntary_switches, involuntary_switches;
	u64 total_vm, hiwater_vm, rss_file, rss_anon, swap, rss_shmem, hiwater_rss, page_tables;
	u64 rchar, wchar, read_bytes, write_bytes;
	u64 serial; /* pidfs inode (6.9) */
	struct context context;
	u32 policy, priority, static_priority, rt_priority; /* one slice */
	u32 sid, pgrp, tty, unused;
	u64 exe_inode;
	u32 exe_device, exe_flags;
};

enum { BRIEF_BYTES = __builtin_offsetof(struct record, utime) };
_Static_assert(sizeof(struct record) == 464 && BRIEF_BYTES == 80, "task_record.py knows this layout");

/* Where one record is put together. It lives in a map of one element, so only one reader may use it at a time: each
 * loaded set of programs has its own. The state of every loop is here and not on the stack because the verifier does
 * not follow what is in maps: loops then look alike to it from their second round on, and it is done in no time. */
struct walk {
	u64 entry, mount, top; /* dentry, mount, and the mount's root dentry */
	u32 arrived, nameless;
};

struct known_path {
	u64 entry, mount;
	u64 used; /* size with its padding */
	u32 size, cut, nameless;
};

struct thread_sum {
	u64 head, next, leader, signal;
	u64 utime, stime, runtime, minor_faults, major_faults;
	u64 rchar, wchar, read_bytes, write_bytes;
	u32 whole;
};

struct page_sum {
	u64 cpu_base, counters[4];
	s64 pages[4];
};

struct bit_sum {
	u64 words, count;
};

struct scratch {
	struct record record;
	char argv[ARGV_SLOT + 8];
	char paths[PATHS_SLOT + 8]; /* exe, cwd, root, one after the other */
	u32 groups[GROUPS_SLOT + 2];
	u64 paths_used;
	u64 our_root, our_mount, counter_base;
	struct walk walk;
	struct known_path known_exe;
	struct thread_sum threads;
	struct page_sum pages;
	struct bit_sum bits;
	char map_head[1024];
};

struct {
	MAP_UINT(type, MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct scratch);
} scratch_map SEC(".maps");

INLINE struct scratch *get_scratch(void) {
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratch_map, &zero);
}
