/* Every process of the host, one record each. `tasks` sleeps, so it can copy arguments from user memory (5.18);
 * `tasks_plain` does without arguments and without bpf_loop (5.8) and walks at most so many threads, parents and CPUs.
 * `loops` below tells them apart at compile time. */
#include "core.h"
#include "kernel.h"
#include "record.h"
#include "walk.h"
#include "sums.h"

const volatile u32 want = 0xffffffff;

enum { KTHREAD = 0x00200000, WORKER = 0x20, NO_NEW_PRIVS = 1, DUMPABLE = 3, OOM_SKIP_BIT = 21 };
enum { PGID = 2, SID = 3 };

/* Once per sweep: what does not change between rows. */
INLINE void begin(struct scratch *s) {
	struct task_struct *self = bpf_get_current_task();
	struct fs_struct *fs = NULL;
	struct vfsmount *mount = NULL;

	READ(&fs, &self->fs);
	READ(&s->our_root, (u64 *)&fs->root.dentry);
	READ(&mount, &fs->root.mnt);
	s->our_mount = mount_of(mount);
	s->counter_base = anchor_pointer(s);
	s->known_exe.entry = 0;
}

INLINE void read_state(struct record *r, struct task_struct *t) {
	if (HAS(task_struct, __state))
		r->state = t->__state;
	else
		r->state = ((struct task_struct___before_5_14 *)t)->state;
	r->exit_state = t->exit_state;
	r->task_flags = t->flags;
	READ(&r->comm, &t->comm);
	if ((t->flags & WORKER) || ((t->flags & KTHREAD) && r->comm[14]))
		r->flags |= NAME_ELSEWHERE;
}

INLINE void read_schedule(struct record *r, struct task_struct *t) {
	r->policy = t->policy;
	r->priority = t->prio;
	r->static_priority = t->static_prio;
	r->rt_priority = t->rt_priority;
}

INLINE u32 number_of(struct pid *pid) {
	return pid ? pid->numbers[0].nr : 0;
}

/* new_encode_dev() of the terminal, as stat shows it. */
INLINE u32 terminal_number(struct tty_struct *tty) {
	u32 minor;

	if (!tty || !tty->driver)
		return 0;
	minor = tty->driver->minor_start + tty->index;
	return (tty->driver->major << 8) | (minor & 0xff) | ((minor & ~0xffu) << 12);
}

INLINE void read_session(struct record *r, struct signal_struct *sig) {
	r->pgrp = number_of(sig->pids[PGID]);
	r->sid = number_of(sig->pids[SID]);
	r->tty = terminal_number(sig->tty);
	r->unused = 0;
}

INLINE void read_ids(struct context *c, const struct cred *cred) {
	c->uid = cred->uid.val;
	c->gid = cred->gid.val;
	c->suid = cred->suid.val;
	c->sgid = cred->sgid.val;
	c->euid = cred->euid.val;
	c->egid = cred->egid.val;
	c->fsuid = cred->fsuid.val;
	c->fsgid = cred->fsgid.val;
}

/* The five sets stand in this order, eight bytes each, on every kernel since 4.3. */
INLINE void read_capabilities(struct context *c, const struct cred *cred) {
	bpf_probe_read_kernel(&c->inheritable, 5 * sizeof(u64), FIELD_ADDRESS(&cred->cap_inheritable));
}

INLINE void read_cred(struct context *c, const struct cred *cred) {
	if (want & WANT_IDS)
		read_ids(c, cred);
	if (want & WANT_SECURITY)
		read_capabilities(c, cred);
	if (want & WANT_NAMESPACES)
		c->ns_user = cred->user_ns->ns.inum;
}

/* Numbers (gids) of one process; the size in bytes. */
INLINE u32 read_groups(struct scratch *s, const struct cred *cred) {
	struct group_info *info = cred->group_info;
	u32 count = info->ngroups;

	if (count > GROUPS_SLOT) {
		s->record.flags |= GROUPS_CUT;
		return 0;
	}
	if (!count)
		return 0;
	*(u64 *)&s->groups[count & (2 * GROUPS_SLOT - 2)] = 0;
	bpf_probe_read_kernel(s->groups, count * 4, FIELD_ADDRESS(&info->gid));
	return count * 4;
}

INLINE void read_namespaces(struct record *r, struct context *c, struct nsproxy *proxy) {
	if (!proxy) {
		r->flags |= NO_NAMESPACES;
		c->ns_cgroup = c->ns_ipc = c->ns_mnt = c->ns_net = c->ns_time = c->ns_uts = 0;
		return;
	}
	c->ns_cgroup = proxy->cgroup_ns->ns.inum;
	c->ns_ipc = proxy->ipc_ns->ns.inum;
	c->ns_mnt = proxy->mnt_ns->ns.inum;
	c->ns_net = proxy->net_ns->ns.inum;
	c->ns_time = HAS(nsproxy, time_ns) ? proxy->time_ns->ns.inum : 0;
	c->ns_uts = proxy->uts_ns->ns.inum;
}

INLINE void read_numbers(struct record *r, struct pid *pid) {
	struct context *c = &r->context;
	struct upid inner = {};
	u32 level = pid->level;

	r->inner_pid = 0;
	r->serial = HAS(pid, ino) ? pid->ino : 0;
	if (!level) {
		c->ns_pid = (want & WANT_NAMESPACES) ? pid->numbers[0].ns->ns.inum : 0;
		return;
	}
	bpf_probe_read_kernel(&inner, sizeof(inner), (char *)FIELD_ADDRESS(&pid->numbers[0]) + level * sizeof(inner));
	r->inner_pid = inner.nr;
	if (want & WANT_NAMESPACES)
		READ(&c->ns_pid, &inner.ns->ns.inum);
}

INLINE void read_security(struct record *r, struct task_struct *t, struct signal_struct *sig) {
	struct context *c = &r->context;

	c->no_new_privs = t->atomic_flags & NO_NEW_PRIVS;
	c->seccomp = HAS(task_struct, seccomp.mode) ? t->seccomp.mode : NO_ANSWER;
	c->loginuid = HAS(task_struct, loginuid) ? t->loginuid.val : NO_ANSWER;
	c->sessionid = HAS(task_struct, sessionid) ? t->sessionid : NO_ANSWER;
	c->oom_score_adj = sig->oom_score_adj;
	r->tracer = t->ptrace ? t->parent->pid : 0;
}

INLINE void read_context(struct record *r, struct task_struct *t, struct signal_struct *sig) {
	struct context *c = &r->context;

	read_numbers(r, t->thread_pid);
	if (want & WANT_SECURITY)
		read_security(r, t, sig);
	if (want & WANT_NAMESPACES)
		read_namespaces(r, c, t->nsproxy);
	if (want & WANT_CGROUP) {
		struct css_set *set = t->cgroups;
		c->css_set = (u64)set;
		c->cgroup = set->dfl_cgrp->kn->id;
	}
}

INLINE void walk_threads(struct thread_sum *sum, u32 threads, struct signal_struct *sig, const bool loops) {
	struct list_head *head = FIELD_ADDRESS(&sig->thread_head);

	sum->head = (u64)head;
	sum->whole = 0;
	READ(&sum->next, (u64 *)&head->next);
	if (loops)
		bpf_loop(threads + 64, next_thread_callback, NULL, 0);
	else
		for (u32 i = 0; i < MOST_THREADS_PLAIN; i++)
			if (next_thread(sum))
				break;
}

/* Starts with the main thread and those that ended, which the kernel has added up. */
INLINE void begin_threads(struct thread_sum *sum, struct task_struct *t, struct signal_struct *sig) {
	sum->leader = (u64)t;
	sum->signal = (u64)sig;
	sum->whole = 1;
	sum->utime = sig->utime + t->utime;
	sum->stime = sig->stime + t->stime;
	sum->runtime = sig->sum_sched_runtime + t->se.sum_exec_runtime;
	sum->minor_faults = sig->min_flt + t->min_flt;
	sum->major_faults = sig->maj_flt + t->maj_flt;
	if (HAS_IO) {
		sum->rchar = sig->ioac.rchar + t->ioac.rchar;
		sum->wchar = sig->ioac.wchar + t->ioac.wchar;
		sum->read_bytes = sig->ioac.read_bytes + t->ioac.read_bytes;
		sum->write_bytes = sig->ioac.write_bytes + t->ioac.write_bytes;
	}
}

INLINE void sum_threads(struct scratch *s, struct task_struct *t, struct signal_struct *sig, const bool loops) {
	struct record *r = &s->record;
	struct thread_sum *sum = &s->threads;

	begin_threads(sum, t, sig);
	if (r->threads > 1)
		walk_threads(sum, r->threads, sig, loops);
	r->flags |= (sum->whole ? 0 : THREADS_CUT) | (HAS_IO ? 0 : NO_IO);
	r->utime = sum->utime;
	r->stime = sum->stime;
	r->runtime = sum->runtime;
	r->minor_faults = sum->minor_faults;
	r->major_faults = sum->major_faults;
	r->rchar = sum->rchar;
	r->wchar = sum->wchar;
	r->read_bytes = sum->read_bytes;
	r->write_bytes = sum->write_bytes;
	r->previous_utime = sig->prev_cputime.utime;
	r->previous_stime = sig->prev_cputime.stime;
	r->voluntary_switches = t->nvcsw;
	r->involuntary_switches = t->nivcsw;
	r->cutime = sig->cutime;
	r->cstime = sig->cstime;
}

INLINE u64 not_negative(s64 value) {
	return value < 0 ? 0 : value;
}

INLINE void keep_pages(struct record *r, const s64 *pages) {
	r->rss_file = not_negative(pages[0]);
	r->rss_anon = not_negative(pages[1]);
	r->swap = not_negative(pages[2]);
	r->rss_shmem = not_negative(pages[3]);
}

/* Exact, as each CPU keeps a share of these counters. */
INLINE void sum_pages(struct scratch *s, struct mm_struct *mm, const bool loops) {
	struct page_sum *sum = &s->pages;

	sum->pages[0] = mm->rss_stat[0].count;
	sum->pages[1] = mm->rss_stat[1].count;
	sum->pages[2] = mm->rss_stat[2].count;
	sum->pages[3] = mm->rss_stat[3].count;
	sum->counters[0] = (u64)mm->rss_stat[0].counters;
	sum->counters[1] = (u64)mm->rss_stat[1].counters;
	sum->counters[2] = (u64)mm->rss_stat[2].counters;
	sum->counters[3] = (u64)mm->rss_stat[3].counters;
	if (loops)
		bpf_loop(cpus, add_cpu_callback, NULL, 0);
	else
		for (u32 cpu = 0; cpu < MOST_CPUS_PLAIN && cpu < cpus; cpu++)
			add_cpu(s, cpu);
	keep_pages(&s->record, sum->pages);
}

INLINE void read_pages_before_6_2(struct scratch *s, struct mm_struct *mm) {
	struct mm_struct___before_6_2 *old = (void *)mm;
	s64 *pages = s->pages.pages;

	bpf_probe_read_kernel(pages, sizeof(s->pages.pages), FIELD_ADDRESS(&old->rss_stat.count));
	keep_pages(&s->record, pages);
}

INLINE void read_memory(struct scratch *s, struct mm_struct *mm, const bool loops) {
	struct record *r = &s->record;

	r->total_vm = mm->total_vm;
	r->hiwater_vm = mm->hiwater_vm;
	r->hiwater_rss = mm->hiwater_rss;
	r->page_tables = mm->pgtables_bytes.counter;
	if (HAS(mm_struct, rss_stat[0].count))
		sum_pages(s, mm, loops);
	else
		read_pages_before_6_2(s, mm);
}

INLINE u32 read_argv(struct scratch *s, struct task_struct *t, struct mm_struct *mm) {
	u64 start = mm->arg_start, size = mm->arg_end - start;

	if (!start || !size)
		return 0;
	if (size > ARGV_SLOT) {
		s->record.flags |= ARGV_CUT;
		return 0;
	}
	*(u64 *)(s->argv + (size & (2 * ARGV_SLOT - 8))) = 0;
	if (bpf_copy_from_user_task(s->argv, size, (void *)start, t, 0)) {
		s->record.flags |= ARGV_UNREAD;
		return 0;
	}
	if (s->argv[(size - 1) & (ARGV_SLOT - 1)])
		s->record.flags |= ARGV_OVERWRITTEN;
	return size;
}

INLINE u32 read_exe(struct scratch *s, struct mm_struct *mm, const bool loops) {
	struct record *r = &s->record;
	struct file *file = mm->exe_file;
	struct dentry *entry;
	u32 size;

	if (!file) {
		r->flags |= NO_EXE;
		return 0;
	}
	entry = file->f_path.dentry;
	r->exe_inode = file->f_inode->i_ino;
	r->exe_device = file->f_inode->i_sb->s_dev;
	size = read_exe_path(s, file->f_path.mnt, entry, loops);
	r->exe_flags = (is_unlinked(entry) ? EXE_UNLINKED : 0) | (s->known_exe.cut ? EXE_CUT : 0) |
		       (s->known_exe.nameless ? EXE_NAMELESS : 0);
	r->flags |= r->exe_flags;
	return size;
}

INLINE u32 read_cwd(struct scratch *s, struct fs_struct *fs, const bool loops) {
	struct dentry *entry = fs->pwd.dentry;
	u32 size = read_path(s, fs->pwd.mnt, entry, loops);

	s->record.flags |= (s->walk.arrived ? 0 : CWD_CUT) | (is_unlinked(entry) ? CWD_UNLINKED : 0);
	return size;
}

INLINE u32 read_root(struct scratch *s, struct fs_struct *fs, const bool loops) {
	struct dentry *entry = fs->root.dentry;
	u32 size = read_path(s, fs->root.mnt, entry, loops);

	s->record.flags |= (s->walk.arrived ? 0 : ROOT_CUT) | (is_unlinked(entry) ? ROOT_UNLINKED : 0);
	return size;
}

INLINE void count_fds(struct scratch *s, struct files_struct *files, const bool loops) {
	struct bit_sum *sum = &s->bits;
	struct fdtable *table;
	u32 words;

	s->record.fds = 0;
	if (!files)
		return;
	table = files->fdt;
	sum->words = (u64)table->open_fds;
	sum->count = 0;
	words = table->max_fds / 64;
	if (loops)
		bpf_loop(words, add_word_callback, NULL, 0);
	else
		for (u32 i = 0; i < MOST_WORDS_PLAIN && i < words; i++)
			add_word(sum, i);
	if (!loops && words > MOST_WORDS_PLAIN)
		s->record.flags |= FDS_CUT;
	s->record.fds = sum->count;
}

INLINE void forget_image(struct record *r) {
	r->exe_inode = r->exe_device = r->exe_flags = 0;
	r->total_vm = r->hiwater_vm = r->hiwater_rss = r->page_tables = 0;
	r->rss_file = r->rss_anon = r->swap = r->rss_shmem = 0;
	r->context.dumpable = NO_ANSWER;
}

/* What oom_badness() looks at as well: a child of vfork() that still runs on its parent's memory. */
INLINE void read_mm_flags(struct record *r, struct task_struct *t, struct mm_struct *mm) {
	u64 flags = 0;

	READ(&flags, (u64 *)&mm->flags);
	r->context.dumpable = flags & DUMPABLE;
	if ((flags >> OOM_SKIP_BIT & 1) || (t->vfork_done && t->real_parent->mm == mm))
		r->flags |= OOM_EXEMPT;
}

/* What hangs on the address space. It may go away while we look: then none of it counts. `trusted` is the same task;
 * only what the iterator itself handed out may be given to the helper that copies from user memory. */
INLINE void read_image(struct scratch *s, struct task_struct *t, struct task_struct *trusted, const bool loops) {
	struct record *r = &s->record;
	struct mm_struct *mm = t->mm;

	forget_image(r);
	if (!mm || (t->flags & KTHREAD)) {
		r->flags |= NO_MM | NO_EXE;
		if (!(t->flags & KTHREAD) && r->threads > 1) /* the main thread ended, the others have the memory */
			r->flags |= MM_CHANGED;
		return;
	}
	if (want & WANT_SECURITY)
		read_mm_flags(r, t, mm);
	if (want & WANT_MEMORY)
		read_memory(s, mm, loops);
	if ((want & WANT_ARGV) && loops)
		r->argv_size = read_argv(s, trusted, mm);
	if ((want & WANT_ARGV) && !loops)
		r->flags |= ARGV_UNREAD;
	if (want & WANT_EXE)
		r->exe_size = read_exe(s, mm, loops);
	if (t->mm != mm)
		r->flags |= MM_CHANGED;
}

INLINE void read_directories(struct scratch *s, struct task_struct *t, const bool loops) {
	struct fs_struct *fs = t->fs;

	if (s->record.flags & NO_MM)
		return;
	if (!fs) {
		s->record.flags |= NO_FS;
		return;
	}
	if (!s->paths_used) /* what comes now overwrites it */
		s->known_exe.entry = 0;
	if (want & WANT_CWD)
		s->record.cwd_size = read_cwd(s, fs, loops);
	if (want & WANT_ROOT)
		s->record.root_size = read_root(s, fs, loops);
}

INLINE void read_identity(struct record *r, struct task_struct *t, struct signal_struct *sig) {
	r->size = r->flags = r->argv_size = 0;
	r->exe_size = r->cwd_size = r->root_size = r->groups_size = 0;
	r->fds = NO_ANSWER;
	r->pid = t->tgid;
	r->ppid = t->real_parent->tgid;
	r->threads = sig->nr_threads;
	r->start_boottime = t->start_boottime;
}

INLINE void read_credentials(struct scratch *s, struct task_struct *t) {
	const struct cred *cred = t->real_cred;

	read_cred(&s->record.context, cred);
	if (t->real_cred != cred) { /* replaced while we read: the new ones */
		cred = t->real_cred;
		read_cred(&s->record.context, cred);
	}
	if (want & WANT_GROUPS)
		s->record.groups_size = read_groups(s, cred);
}

#define PADDED(size) (((u32)(size) + 7) & ~7u)

/* The barrier keeps the compiler from joining both tests into one that verifiers before 6.2 do not understand. */
INLINE void write_part(struct seq_file *seq, void *from, u64 size, const u64 limit) {
	if (!size)
		return;
	asm volatile("" : "+r"(size));
	if (size <= limit)
		bpf_seq_write(seq, from, size);
}

INLINE void write_record(struct seq_file *seq, struct scratch *s) {
	struct record *r = &s->record;
	u64 argv = PADDED(r->argv_size), paths = s->paths_used, groups = PADDED(r->groups_size);
	const u32 header = (want & WANT_BRIEF) ? BRIEF_BYTES : sizeof(*r);

	r->size = header + argv + paths + groups;
	bpf_seq_write(seq, r, header);
	write_part(seq, s->argv, argv, ARGV_SLOT);
	write_part(seq, s->paths, paths, PATHS_SLOT);
	write_part(seq, s->groups, groups, GROUPS_SLOT * 4);
}

INLINE int show(struct bpf_iter__task *c, const bool loops) {
	struct bpf_iter_meta *meta = c->meta;
	struct seq_file *seq = meta->seq;
	struct task_struct *trusted = c->task, *t;
	struct scratch *s = get_scratch();

	if (!trusted || trusted->pid != trusted->tgid || !s)
		return 0;
	/* The same task, by a way that the verifier does not trust: for each pointer read from a trusted task it searches
	 * all type names of the kernel, which adds up to ten milliseconds. */
	t = trusted->group_leader;
	if (meta->seq_num == 0 || !s->our_root)
		begin(s);
	read_identity(&s->record, t, t->signal);
	read_state(&s->record, t);
	if (want & WANT_SCHEDULE)
		read_schedule(&s->record, t);
	if (want & WANT_SESSION)
		read_session(&s->record, t->signal);
	read_credentials(s, t);
	read_context(&s->record, t, t->signal);
	if (want & WANT_THREADS)
		sum_threads(s, t, t->signal, loops);
	s->paths_used = 0;
	read_image(s, t, trusted, loops);
	read_directories(s, t, loops);
	if (want & WANT_FDS)
		count_fds(s, t->files, loops);
	write_record(seq, s);
	return 0;
}

SEC("iter.s/task") int tasks(struct bpf_iter__task *c) {
	return show(c, true);
}

SEC("iter/task") int tasks_plain(struct bpf_iter__task *c) {
	return show(c, false);
}
