/* System calls of chosen processes, as they return, into one ring. syscall_record.py reads the records: keep the two
 * alike. While attached, the programs run at every system call of the host; for others than the chosen processes that
 * is a test of one bit, and for the chosen calls a look into a hash. */
#include "core.h"
#include "helpers.h"
#include "kernel.h"

enum { CALL = 1, BEGUN = 2, ENDED = 3 };
enum { WAS_WRITABLE = 1, HAS_TEXTS = 2, NO_RETURN = 4, HAS_DURATION = 8, TEXT_CUT = 16, TEXT_UNREAD = 32,
       IS_ADDRESS = 64, WRITABLE_UNSEEN = 512, SECOND_TEXT = 3 }; /* TEXT_CUT and TEXT_UNREAD of the second text are so many bits further left */
enum { CALLS = 512, TEXT_SLOT = 256, ADDRESS_MOST = 128 };
enum { PROT_EXEC = 4, VM_WRITE = 2, REGIONS_MOST = 1 << 16, TRIES_MOST = 200, EBUSY = 16 };

#ifdef __TARGET_ARCH_x86
enum { THIRTY_TWO_BIT = 2, X32_BIT = 1 << 30 }; /* TS_COMPAT */
#define NR_MPROTECT 10
#define NR_PKEY_MPROTECT 329
#endif
#ifdef __TARGET_ARCH_arm64
enum { THIRTY_TWO_BIT = 1 << 22, X32_BIT = 0 }; /* TIF_32BIT */
#define NR_MPROTECT 226
#define NR_PKEY_MPROTECT 288
#endif

struct head {
	u16 kind, flags;
	u32 pid, tid, number;
	u64 at, start, lost; /* at: ns since boot, suspend included, as start is */
};

struct call {
	struct head head;
	s64 result;
	u64 duration;
	u64 arguments[6];
};

struct texts_call {
	struct call call;
	char texts[2][TEXT_SLOT];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct signal_struct___ending { struct { int counter; } live; };
struct thread_info { unsigned long flags; u32 status; };
struct task_struct___info { struct thread_info thread_info; };
struct vm_area_struct { unsigned long vm_end, vm_flags; };
#ifdef __TARGET_ARCH_x86
struct pt_regs { unsigned long r10, r9, r8, dx, si, di, orig_ax; };
#endif
#ifdef __TARGET_ARCH_arm64
struct user_pt_regs { u64 regs[31]; };
struct pt_regs { u64 regs[31]; u64 orig_x0; int syscallno; };
#endif
#pragma clang attribute pop

static long (*bpf_find_vma)(void *task, u64 address, void *step, void *context, u64 flags) = (void *)180; /* 5.17 */

const volatile u64 wanted[CALLS / 64] = {};  /* which calls */
const volatile u64 entered[CALLS / 64] = {}; /* those of them that are looked at as they begin, too */
const volatile u64 endless[CALLS / 64] = {}; /* those that do not come back: exit, and execve of what it replaces */
const volatile u8 texts[CALLS] = {};         /* which arguments are paths: one bit each, two at most */
const volatile u64 addresses[CALLS / 64] = {}; /* calls of which it is a socket's address instead, its length behind */
const volatile u32 children = 1, durations = 0;

u64 lost, foreign; /* foreign: calls by another ABI, which has other numbers: whatever they are, they are not decoded */

struct { MAP_UINT(type, MAP_RING); MAP_UINT(max_entries, 32 << 20); } ring SEC(".maps");
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} traced SEC(".maps");

/* What was seen as a call began. */
struct entry {
	u64 at;
	u32 number, flags;
	u64 arguments[6];
	char texts[2][TEXT_SLOT];
};
struct {
	MAP_UINT(type, MAP_TASK_STORAGE);
	MAP_UINT(map_flags, F_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct entry);
} entries SEC(".maps");

#define BIT(set, number) ((set)[((number) >> 6) & 7] >> ((number) & 63) & 1)

INLINE u32 number_of(struct pt_regs *regs) {
#ifdef __TARGET_ARCH_x86
	return regs->orig_ax;
#else
	return regs->syscallno;
#endif
}

INLINE void read_arguments(u64 *to, struct pt_regs *regs) {
#ifdef __TARGET_ARCH_x86
	to[0] = regs->di;
	to[1] = regs->si;
	to[2] = regs->dx;
	to[3] = regs->r10;
	to[4] = regs->r8;
	to[5] = regs->r9;
#else
	bpf_probe_read_kernel(to, 48, FIELD_ADDRESS(&regs->regs[0]));
	to[0] = regs->orig_x0; /* the result is in its place by now */
#endif
}

/* An x32 call has the bit in its number; rt_sigreturn leaves a number of -1, which has it too. */
INLINE bool is_foreign(struct task_struct *t, u32 number) {
	struct thread_info *info = &((struct task_struct___info *)t)->thread_info;

#ifdef __TARGET_ARCH_x86
	return info->status & THIRTY_TWO_BIT || (number & X32_BIT && number >> 31 == 0);
#else
	return info->flags & THIRTY_TWO_BIT;
#endif
}

INLINE bool is_traced(u32 pid) {
	return bpf_map_lookup_elem(&traced, &pid) != NULL;
}

INLINE void describe(struct head *h, u16 kind, struct task_struct *t) {
	h->kind = kind;
	h->flags = 0;
	h->pid = t->tgid;
	h->tid = t->pid;
	h->number = 0;
	h->at = bpf_ktime_get_boot_ns();
	h->start = t->group_leader->start_boottime;
	h->lost = lost;
}

/* Calls ------------------------------------------------------------------------------------------------------------ */

/* The memory that a call is about. */
struct span {
	struct task_struct *task;
	u64 at, end;
	u32 flags, tries;
};

static long look_at_region(struct task_struct *t, struct vm_area_struct *region, void *context) {
	struct span *s = context;

	if (region->vm_flags & VM_WRITE)
		s->flags = WAS_WRITABLE;
	s->at = region->vm_end;
	return 0;
}

static long look_at_next_region(u32 index, void *context) {
	struct span *s = context;
	long result;

	if (s->at >= s->end || s->flags)
		return 1;
	result = bpf_find_vma(s->task, s->at, look_at_region, s, 0);
	if (result != -EBUSY)
		return result != 0;
	if (s->tries++ < TRIES_MOST) /* another thread changes the map at this moment */
		return 0;
	s->flags = WRITABLE_UNSEEN;
	return 1;
}

/* Whether any of it could be written: up to the first hole, where the kernel stops too. */
INLINE u32 look_at_regions(struct task_struct *t, u64 *arguments) {
	struct span s = {.task = t, .at = arguments[0], .end = arguments[0] + arguments[1]};

	bpf_loop(REGIONS_MOST, look_at_next_region, &s, 0);
	return s.flags;
}

INLINE u32 read_text(char *to, u64 address) {
	long size = bpf_probe_read_user_str(to, TEXT_SLOT, (void *)address);
	char last = 1;

	if (size == TEXT_SLOT) { /* it may have fitted just so */
		bpf_probe_read_user(&last, 1, (void *)(address + TEXT_SLOT - 1));
		return last ? TEXT_CUT : 0;
	}
	if (size > 0)
		return 0;
	to[0] = 0;
	return TEXT_UNREAD;
}

/* Paths are the arguments whose bits are set; the first goes into the first slot. A page that is not there yet cannot be
 * read here, and can when the call is over. */
INLINE u32 read_texts(char to[2][TEXT_SLOT], u32 which, u64 *arguments) {
	u32 slot = 0, flags = 0;

	for (u32 n = 0; n < 5; n++) {
		if (!(which >> n & 1))
			continue;
		if (slot)
			return flags | read_text(to[1], arguments[n]) << SECOND_TEXT;
		flags = read_text(to[0], arguments[n]);
		slot = 1;
	}
	return flags;
}

/* It is the second argument, or sendto's fifth. */
INLINE u32 read_address(char *to, u32 which, u64 *arguments) {
	u64 address = which & 2 ? arguments[1] : arguments[4];
	u64 size = (u32)(which & 2 ? arguments[2] : arguments[5]);

	asm volatile("" : "+r"(size)); /* else 32 bits of it are compared, and the verifier knows nothing of the others */
	if (size > ADDRESS_MOST)
		size = ADDRESS_MOST;
	return IS_ADDRESS | (size && !bpf_probe_read_user(to, size, (void *)address) ? 0 : TEXT_UNREAD);
}

INLINE u32 read_pointed(struct entry *e, u32 number) {
	u32 which = texts[number & (CALLS - 1)];

	return BIT(addresses, number) ? read_address(e->texts[0], which, e->arguments)
				      : read_texts(e->texts, which, e->arguments);
}

INLINE void send_endless(struct task_struct *t, struct entry *e) {
	struct texts_call *c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);

	if (!c) {
		ATOMIC_ADD(lost, 1);
		return;
	}
	describe(&c->call.head, CALL, t);
	c->call.head.number = e->number;
	c->call.head.flags = e->flags | HAS_TEXTS | NO_RETURN;
	c->call.result = c->call.duration = 0;
	__builtin_memcpy(c->call.arguments, e->arguments, sizeof(e->arguments));
	bpf_probe_read_kernel(c->texts, sizeof(c->texts), e->texts);
	bpf_ringbuf_submit(c, RING_NO_WAKEUP);
}

SEC("tp_btf/sys_enter")
int on_enter(u64 *context) {
	struct pt_regs *regs = (void *)context[0];
	u32 number = context[1];
	struct task_struct *t;
	struct entry *e;

	if (number >= CALLS || !BIT(entered, number))
		return 0;
	t = bpf_get_current_task_btf();
	if (is_foreign(t, number) || !is_traced(t->tgid))
		return 0;
	if (!durations && (number == NR_MPROTECT || number == NR_PKEY_MPROTECT)) {
		u64 arguments[6];

		read_arguments(arguments, regs);
		if (!(arguments[2] & PROT_EXEC))
			return 0;
	}
	e = bpf_task_storage_get(&entries, t, NULL, STORAGE_CREATE);
	if (!e)
		return 0;
	e->at = bpf_ktime_get_boot_ns();
	e->number = number;
	e->flags = 0;
	read_arguments(e->arguments, regs);
	if (texts[number & (CALLS - 1)])
		e->flags |= HAS_TEXTS | read_pointed(e, number);
	if ((number == NR_MPROTECT || number == NR_PKEY_MPROTECT) && e->arguments[2] & PROT_EXEC)
		e->flags |= look_at_regions(t, e->arguments);
	if (BIT(endless, number))
		send_endless(t, e);
	return 0;
}

INLINE void complete(struct call *c, struct task_struct *t, u32 number, s64 result, struct entry *e) {
	describe(&c->head, CALL, t);
	c->head.number = number;
	c->result = result;
	c->duration = 0;
	if (e) {
		c->head.flags = e->flags;
		if (durations && e->at) {
			c->duration = c->head.at - e->at;
			c->head.flags |= HAS_DURATION;
		}
	}
}

INLINE void send_texts(struct task_struct *t, u32 number, s64 result, struct entry *e) {
	struct texts_call *c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);

	if (!c) {
		ATOMIC_ADD(lost, 1);
		return;
	}
	if (e->flags & (TEXT_UNREAD | TEXT_UNREAD << SECOND_TEXT))
		e->flags = HAS_TEXTS | read_pointed(e, number);
	complete(&c->call, t, number, result, e);
	__builtin_memcpy(c->call.arguments, e->arguments, sizeof(e->arguments));
	bpf_probe_read_kernel(c->texts, sizeof(c->texts), e->texts);
	bpf_ringbuf_submit(c, RING_NO_WAKEUP);
}

INLINE void send_plain(struct task_struct *t, u32 number, s64 result, struct entry *e, struct pt_regs *regs) {
	struct call *c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);

	if (!c) {
		ATOMIC_ADD(lost, 1);
		return;
	}
	complete(c, t, number, result, e);
	if (e)
		__builtin_memcpy(c->arguments, e->arguments, sizeof(e->arguments));
	else
		read_arguments(c->arguments, regs);
	bpf_ringbuf_submit(c, RING_NO_WAKEUP);
}

/* What was seen as the call began. When that was before we came, or seccomp refused the call before anybody saw it,
 * its texts are read now. */
INLINE struct entry *entry_of(struct task_struct *t, u32 number, struct pt_regs *regs) {
	bool has_texts = texts[number & (CALLS - 1)];
	struct entry *e = bpf_task_storage_get(&entries, t, NULL, has_texts ? STORAGE_CREATE : 0);

	if (e && e->number == number) /* it is 0 in a new one: that call has no texts */
		return e;
	if (!e || !has_texts)
		return NULL;
	e->at = 0;
	e->flags = HAS_TEXTS | TEXT_UNREAD;
	read_arguments(e->arguments, regs);
	return e;
}

SEC("tp_btf/sys_exit")
int on_leave(u64 *context) {
	struct pt_regs *regs = (void *)context[0];
	s64 result = context[1];
	u32 number = number_of(regs);
	struct entry *e = NULL;
	struct task_struct *t;

	t = bpf_get_current_task_btf();
	if (is_foreign(t, number)) {
		if (is_traced(t->tgid))
			ATOMIC_ADD(foreign, 1);
		return 0;
	}
	if (number >= CALLS || !BIT(wanted, number) || !is_traced(t->tgid))
		return 0;
	if (BIT(entered, number))
		e = entry_of(t, number, regs);
	if (e && e->flags & HAS_TEXTS)
		send_texts(t, number, result, e);
	else
		send_plain(t, number, result, e, regs);
	if (e)
		e->number = CALLS;
	return 0;
}

/* Processes -------------------------------------------------------------------------------------------------------- */

INLINE void tell(u16 kind, struct task_struct *t) {
	struct head *h = bpf_ringbuf_reserve(&ring, sizeof(*h), 0);

	if (!h) {
		ATOMIC_ADD(lost, 1);
		return;
	}
	describe(h, kind, t);
	bpf_ringbuf_submit(h, RING_NO_WAKEUP);
}

SEC("tp_btf/sched_process_fork")
int on_fork(u64 *context) {
	struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
	u32 pid = child->tgid, one = 1;

	if (!children || child->pid != child->tgid || !is_traced(parent->tgid))
		return 0;
	if (bpf_map_update_elem(&traced, &pid, &one, ANY)) {
		ATOMIC_ADD(lost, 1);
		return 0;
	}
	tell(BEGUN, child);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_end(u64 *context) {
	struct task_struct *t = (void *)context[0];
	struct signal_struct___ending *signal = (void *)t->signal;
	u32 pid = t->tgid;

	if (signal->live.counter || bpf_map_delete_elem(&traced, &pid))
		return 0;
	tell(ENDED, t);
	return 0;
}
