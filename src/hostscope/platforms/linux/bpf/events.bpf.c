/* What happens to processes and their sockets, as it happens, into one ring. event_record.py reads the records: keep the
 * two alike.
 *
 * A record that finds no room is counted in `lost`, and every record carries that count: so user space sees before which
 * record something is missing. */
#include "core.h"
#include "helpers.h"
#include "kernel.h"

enum { FORK = 1, EXEC = 2, EXIT = 3, SOCKET = 4, MODULE = 5, CAPABILITIES = 6 };
enum { ARGV_CUT = 1, ARGV_UNREAD = 2, EXE_CUT = 4, EXE_NAMELESS = 8, EXE_UNLINKED = 16, NO_EXE = 32 };
enum { ARGV_SLOT = 16384, FILE_SLOT = 4096, PATHS_SLOT = 4096, DATA_SLOT = 24576 + 512 };
enum { GROUP_EXIT = 4 };
enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, CLOSE = 7, LISTEN = 10 };
enum { FAMILY_INET = 2, FAMILY_INET6 = 10 };

struct record {
	u16 kind, flags;
	u32 pid;
	u64 at;    /* ns since boot, suspend included, as `start` is */
	u64 start;
	u64 lost;  /* records that were dropped so far */
	u32 parent;
	u32 uid;   /* effective */
	u64 parent_start;
	u64 cgroup; /* id in the unified hierarchy */
	u64 css_set, pids_group; /* together: the control groups of all hierarchies */
	char comm[16];
};

struct exec_record {
	struct record head;
	u32 argv_size;
	u16 file_size, exe_size;
	char data[DATA_SLOT]; /* file, argv, exe */
};

struct exit_record {
	struct record head;
	u32 code, unused; /* as wait(2) gives it */
	u64 cpu;          /* ns */
	u64 peak_pages;
};

struct socket_record {
	struct record head;
	u16 family, protocol, old_state, new_state;
	u16 local_port, remote_port; /* host order, network order */
	u32 net_ns;
	u8 local[16], remote[16];
};

struct module_record {
	struct record head;
	char name[64];
};

struct capability_record {
	struct record head;
	u64 before, after; /* effective */
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct linux_binprm { const char *filename; };
struct signal_struct___ending {
	struct { int counter; } live;
	int group_exit_code;
	u32 flags;
	unsigned long maxrss;
	unsigned long long sum_sched_runtime;
};
struct task_struct___ending { int exit_code; };
struct cgroup_subsys_state { struct cgroup *cgroup; };
struct css_set___all { struct cgroup_subsys_state *subsys[1]; };
struct module { char name[56]; };
typedef struct { struct net *net; } possible_net_t;
struct in6_addr { u8 bytes[16]; };
struct sock_common {
	u16 skc_family, skc_num, skc_dport;
	u32 skc_daddr, skc_rcv_saddr;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	possible_net_t skc_net;
};
struct sock { struct sock_common __sk_common; u16 sk_protocol; };
#pragma clang attribute pop
enum cgroup_subsys_id { pids_cgrp_id };

/* For walk.h. */
struct walk {
	u64 entry, mount, top;
	u32 arrived, nameless;
};
struct known_path {
	u64 entry, mount, used;
	u32 size, cut, nameless;
};
struct scratch {
	u64 paths_used, our_root, our_mount;
	struct walk walk;
	struct known_path known_exe;
	char paths[PATHS_SLOT + 8];
	struct exec_record record;
};

/* Programs do not interrupt themselves on one CPU: tracepoints run with preemption off, and exec comes from no
 * interrupt. */
struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct scratch);
} scratch_map SEC(".maps");

struct { MAP_UINT(type, MAP_RING); MAP_UINT(max_entries, 16 << 20); } ring SEC(".maps");

/* Who opened a socket: what happens to it later happens in interrupts, of whatever process. It lies with the socket itself,
 * and the kernel copies it from a listening one to each connection that it accepts: no other socket on the same port, of
 * another address or process, can be taken for it. */
struct owner {
	u32 pid, uid;
	u64 start;
	char comm[16];
	u32 port; /* a closed socket has lost its own */
	u32 listens;
};
struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, F_NO_PREALLOC | F_CLONE);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct owner);
} owners SEC(".maps");

struct powers { u64 credentials, effective; };
struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, F_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct powers);
} known_powers SEC(".maps");

u64 lost = 0;

INLINE struct scratch *get_scratch(void) {
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratch_map, &zero);
}

#include "walk.h"

/* On hosts with the old hierarchies only, where all processes are in the root of the unified one. */
INLINE u64 pids_group_of(struct css_set *set) {
	struct cgroup_subsys_state *state = NULL;
	struct cgroup *group = NULL;
	struct kernfs_node *node = NULL;
	u64 id = 0, at;

	if (ENUMERATOR_EXISTS(enum cgroup_subsys_id, pids_cgrp_id) && HAS(css_set___all, subsys)) {
		at = (u64)set + FIELD_OFFSET(((struct css_set___all *)0)->subsys) +
		     8 * ENUMERATOR_VALUE(enum cgroup_subsys_id, pids_cgrp_id);
		bpf_probe_read_kernel(&state, sizeof(state), (void *)at);
		READ(&group, &state->cgroup);
		READ(&node, &group->kn);
		READ(&id, &node->id);
	}
	return id;
}

INLINE void describe(struct record *r, u16 kind, struct task_struct *t, struct task_struct *parent) {
	r->kind = kind;
	r->flags = 0;
	r->pid = t->tgid;
	r->at = bpf_ktime_get_boot_ns();
	r->start = t->group_leader->start_boottime;
	r->lost = lost;
	r->parent = parent->tgid;
	r->parent_start = parent->group_leader->start_boottime;
	r->uid = t->real_cred->euid.val;
	r->cgroup = t->cgroups->dfl_cgrp->kn->id;
	r->css_set = (u64)t->cgroups;
	r->pids_group = pids_group_of(t->cgroups);
	READ(&r->comm, &t->group_leader->comm); /* threads have names of their own */
}

/* Whoever forks is the parent here, as who started whom is asked for: with CLONE_PARENT the kernel's is another. */
SEC("tp_btf/sched_process_fork")
int on_fork(u64 *context) {
	struct task_struct *creator = (void *)context[0], *child = (void *)context[1];
	struct record *r;

	if (child->pid != child->tgid)
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		ATOMIC_ADD(lost, 1);
		return 0;
	}
	describe(r, FORK, child, creator);
	bpf_ringbuf_submit(r, RING_NO_WAKEUP);
	return 0;
}

INLINE void read_exe(struct scratch *s, struct exec_record *r, struct file *file) {
	struct vfsmount *mount;
	struct dentry *entry;

	s->paths_used = 0;
	r->exe_size = 0;
	if (!file) {
		r->head.flags |= NO_EXE;
		return;
	}
	mount = file->f_path.mnt;
	entry = file->f_path.dentry;
	r->exe_size = read_path(s, mount, entry, true);
	r->head.flags |= s->walk.arrived ? 0 : EXE_CUT;
	r->head.flags |= s->walk.nameless ? EXE_NAMELESS : 0;
	r->head.flags |= is_unlinked(entry) ? EXE_UNLINKED : 0;
}

/* A size that the verifier believes to be at most `most`. */
#define BOUND(size, most) do { \
	asm volatile("" : "+r"(size)); \
	if ((size) > (most)) \
		(size) = (most); \
} while (0)

INLINE void send_exec(struct scratch *s, struct linux_binprm *program, struct mm_struct *mm) {
	struct exec_record *r = &s->record;
	u64 file_size, argv_size = mm->arg_end - mm->arg_start, exe_size = r->exe_size, total;

	file_size = bpf_probe_read_kernel_str(r->data, FILE_SLOT, program->filename);
	if (file_size > FILE_SLOT)
		file_size = 0;
	if (argv_size > ARGV_SLOT) {
		argv_size = ARGV_SLOT;
		r->head.flags |= ARGV_CUT;
	}
	if (bpf_probe_read_user(r->data + file_size, argv_size, (void *)mm->arg_start)) {
		argv_size = 0;
		r->head.flags |= ARGV_UNREAD;
	}
	r->file_size = file_size;
	r->argv_size = argv_size;
	total = file_size + argv_size;
	BOUND(total, FILE_SLOT + ARGV_SLOT);
	BOUND(exe_size, PATHS_SLOT);
	bpf_probe_read_kernel(r->data + total, exe_size, s->paths);
	total += exe_size + __builtin_offsetof(struct exec_record, data);
	BOUND(total, sizeof(*r));
	if (bpf_ringbuf_output(&ring, r, total, RING_NO_WAKEUP))
		ATOMIC_ADD(lost, 1);
}

SEC("tp_btf/sched_process_exec")
int on_exec(u64 *context) {
	struct task_struct *t = (void *)context[0];
	struct scratch *s = get_scratch();
	struct mm_struct *mm = t->mm;

	if (!s || !mm)
		return 0;
	describe(&s->record.head, EXEC, t, t->real_parent);
	read_exe(s, &s->record, mm->exe_file);
	send_exec(s, (void *)context[2], mm);
	return 0;
}

#define PAGES(mm, kind) ({ s64 pages = 0; READ(&pages, &(mm)->rss_stat[kind].count); pages > 0 ? (u64)pages : 0; })

/* What the kernel counts for wait4(2), `most`, includes what ran before the last exec: a parent of many GiB, for a child
 * that only began as its copy. Since 6.16 the address space is still there at this point. */
INLINE u64 peak_of(struct task_struct *t, u64 most) {
	struct mm_struct *mm = t->mm;
	u64 pages, peak;

	if (!mm || !HAS(mm_struct, rss_stat[0].count))
		return most;
	pages = PAGES(mm, 0) + PAGES(mm, 1) + PAGES(mm, 3); /* files, anonymous, shared memory */
	peak = mm->hiwater_rss;
	return peak > pages ? peak : pages;
}

/* The last thread of a process. Two that end at once may both see none left: user space takes the first record. The
 * time of other threads is in the process's sum once they are buried, which is at once but for the first thread. */
SEC("tp_btf/sched_process_exit")
int on_exit(u64 *context) {
	struct task_struct *t = (void *)context[0], *leader = t->group_leader;
	struct signal_struct___ending *signal = (void *)t->signal;
	struct exit_record *r;

	if (signal->live.counter)
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		ATOMIC_ADD(lost, 1);
		return 0;
	}
	describe(&r->head, EXIT, t, t->real_parent);
	r->unused = 0;
	r->code = (signal->flags & GROUP_EXIT) ? signal->group_exit_code : ((struct task_struct___ending *)leader)->exit_code;
	r->cpu = signal->sum_sched_runtime + t->se.sum_exec_runtime;
	if (leader->pid != t->pid)
		r->cpu += leader->se.sum_exec_runtime;
	r->peak_pages = peak_of(t, signal->maxrss);
	bpf_ringbuf_submit(r, RING_NO_WAKEUP);
	return 0;
}

/* Sockets ---------------------------------------------------------------------------------------------------------- */

INLINE struct owner *remember(struct sock *socket, u16 state) {
	struct owner *owner = bpf_sk_storage_get(&owners, socket, NULL, STORAGE_CREATE);
	struct task_struct *leader = ((struct task_struct *)bpf_get_current_task_btf())->group_leader;

	if (owner) {
		owner->pid = leader->tgid;
		owner->start = leader->start_boottime;
		owner->uid = leader->real_cred->euid.val;
		READ(&owner->comm, &leader->comm);
		owner->listens = state == LISTEN;
	}
	return owner;
}

INLINE void describe_owner(struct record *r, struct owner *owner) {
	r->kind = SOCKET;
	r->flags = 0;
	r->at = bpf_ktime_get_boot_ns();
	r->lost = lost;
	r->parent = 0;
	r->parent_start = r->cgroup = r->css_set = r->pids_group = 0;
	if (owner) {
		r->pid = owner->pid;
		r->uid = owner->uid;
		r->start = owner->start;
		__builtin_memcpy(r->comm, owner->comm, sizeof(r->comm));
	} else {
		r->pid = r->uid = 0;
		r->start = 0;
		__builtin_memset(r->comm, 0, sizeof(r->comm));
	}
}

INLINE void read_ends(struct socket_record *r, struct sock *socket) {
	struct sock_common *common = &socket->__sk_common;

	__builtin_memset(r->local, 0, 32);
	r->family = common->skc_family;
	r->protocol = socket->sk_protocol;
	r->local_port = common->skc_num;
	r->remote_port = common->skc_dport;
	if (r->family == FAMILY_INET) {
		READ((u32 *)r->local, &common->skc_rcv_saddr);
		READ((u32 *)r->remote, &common->skc_daddr);
	} else if (r->family == FAMILY_INET6 && HAS(sock_common, skc_v6_daddr)) {
		READ((struct in6_addr *)r->local, &common->skc_v6_rcv_saddr);
		READ((struct in6_addr *)r->remote, &common->skc_v6_daddr);
	}
}

/* connect and listen begin in their process; a connection is made, accepted and closed in an interrupt. Two that connect
 * to each other at once pass through SYN_RECV as well, and were not accepted by anybody. */
SEC("tp_btf/inet_sock_set_state")
int on_state(u64 *context) {
	struct sock *socket = (void *)context[0];
	int old = context[1], new = context[2];
	struct owner *owner;
	struct socket_record *r;

	if (new == SYN_SENT || new == LISTEN)
		owner = remember(socket, new);
	else if (new == ESTABLISHED || new == CLOSE)
		owner = bpf_sk_storage_get(&owners, socket, NULL, 0);
	else
		return 0;
	if (owner && new != CLOSE)
		owner->port = socket->__sk_common.skc_num;
	if (new == SYN_SENT)
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		ATOMIC_ADD(lost, 1);
		return 0;
	}
	describe_owner(&r->head, owner);
	read_ends(r, socket);
	if (owner && !r->local_port)
		r->local_port = owner->port;
	r->old_state = old == SYN_RECV && owner && !owner->listens ? SYN_SENT : old;
	r->new_state = new;
	r->net_ns = socket->__sk_common.skc_net.net->ns.inum;
	bpf_ringbuf_submit(r, RING_NO_WAKEUP);
	return 0;
}

/* Modules and capabilities ------------------------------------------------------------------------------------------ */

SEC("tp_btf/module_load")
int on_module(u64 *context) {
	struct module *module = (void *)context[0];
	struct task_struct *t = bpf_get_current_task_btf();
	struct module_record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		ATOMIC_ADD(lost, 1);
		return 0;
	}
	describe(&r->head, MODULE, t, t->real_parent);
	__builtin_memset(r->name, 0, sizeof(r->name));
	bpf_probe_read_kernel_str(r->name, 56, module->name);
	bpf_ringbuf_submit(r, RING_NO_WAKEUP);
	return 0;
}

/* Runs at the end of every system call of the host, which is what it costs. Credentials are replaced and never changed,
 * so one comparison tells for nearly all of them that nothing happened. */
SEC("tp_btf/sys_exit")
int on_powers(u64 *context) {
	struct task_struct *t = bpf_get_current_task_btf();
	struct powers now = { (u64)t->real_cred, 0 }, *known;
	struct capability_record *r;

	known = bpf_task_storage_get(&known_powers, t, NULL, 0);
	if (known && known->credentials == now.credentials)
		return 0;
	READ(&now.effective, (u64 *)&t->real_cred->cap_effective.val);
	if (!known) {
		bpf_task_storage_get(&known_powers, t, &now, STORAGE_CREATE);
		return 0;
	}
	if (known->effective != now.effective) {
		r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
		if (r) {
			describe(&r->head, CAPABILITIES, t, t->real_parent);
			r->before = known->effective;
			r->after = now.effective;
			bpf_ringbuf_submit(r, RING_NO_WAKEUP);
		} else {
			ATOMIC_ADD(lost, 1);
		}
	}
	*known = now;
	return 0;
}

/* A child begins with what its parent has. */
SEC("tp_btf/sched_process_fork")
int on_inherit(u64 *context) {
	struct task_struct *child = (void *)context[1];
	struct powers now = { (u64)child->real_cred, 0 };

	READ(&now.effective, (u64 *)&child->real_cred->cap_effective.val);
	bpf_task_storage_get(&known_powers, child, &now, STORAGE_CREATE);
	return 0;
}
