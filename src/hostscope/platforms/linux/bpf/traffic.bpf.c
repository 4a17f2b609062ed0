/* How much each process sends and receives by each socket: one element of a hash for each pair of a process and a
 * socket, made when the process first uses the socket, so that what ended long ago still has its name. Linux 6.3
 * (tracepoints sock_send_length and sock_recv_length); counts are payload, as system calls return it. */
#include "core.h"
#include "helpers.h"

enum { STREAM = 1, INET = 2, INET6 = 10, PEEK = 2, ERROR_QUEUE = 0x2000, KERNEL_THREAD = 0x00200000 };
enum { KERNEL = 1, INBOUND = 2, OUTBOUND = 4 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct { u32 val; } kuid_t;
struct ns_common { u32 inum; };
struct net { struct ns_common ns; };
struct task_struct {
	u32 tgid, flags;
	struct task_struct *group_leader;
	u64 start_boottime;
	char comm[16];
};
struct in6_addr { struct { u8 u6_addr8[16]; u32 u6_addr32[4]; } in6_u; };
struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num, skc_family;
	volatile u8 skc_state;
	int skc_bound_dev_if;
	struct { struct net *net; } skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	struct { s64 counter; } skc_cookie;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_type, sk_protocol;
	kuid_t sk_uid;
	u32 sk_max_ack_backlog;
};
struct sock___kernel { u32 sk_kern_sock : 1; };
#pragma clang attribute pop

/* A socket can be connected anew, and its process's number be given to another: cookie, start and peer tell apart. */
struct key {
	u64 cookie, start;
	u32 pid, peer; /* peer: remote address and port folded together */
};
struct end { u8 address[16]; u16 port, zero; };
/* hostscope/platforms/linux/payload_record.py reads it: keep the two alike. */
struct usage {
	u64 sent, received, sends, receives, last; /* last: timer ticks, which cost less to read than a clock */
	u64 first, first_tick;                     /* the same moment, the first in ns since boot */
	struct end local, remote;
	u32 uid, net_ns;
	u16 family, protocol, type, flags;
	char name[16];
};
_Static_assert(sizeof(struct usage) == 128, "payload_record.py knows this layout");

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, struct usage);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} usages SEC(".maps");

u64 lost_sent, lost_received, lost_sends, lost_receives; /* of pairs that found no room */

INLINE u32 fold(struct sock_common *c) {
	u32 port = c->skc_dport;

	if (c->skc_family == INET)
		return c->skc_daddr ^ port * 0x9e3779b1;
	return c->skc_v6_daddr.in6_u.u6_addr32[0] ^ c->skc_v6_daddr.in6_u.u6_addr32[1] * 31 ^
	       c->skc_v6_daddr.in6_u.u6_addr32[2] * 961 ^ c->skc_v6_daddr.in6_u.u6_addr32[3] * 29791 ^ port * 0x9e3779b1;
}

INLINE void read_ends(struct usage *u, struct sock_common *c) {
	u16 port = c->skc_dport;

	u->local.port = c->skc_num;
	u->remote.port = (port >> 8) | (port << 8);
	if (u->family == INET) {
		*(u32 *)u->local.address = c->skc_rcv_saddr;
		*(u32 *)u->remote.address = c->skc_daddr;
	} else {
		READ(&u->local.address, &c->skc_v6_rcv_saddr.in6_u.u6_addr8);
		READ(&u->remote.address, &c->skc_v6_daddr.in6_u.u6_addr8);
	}
}

static __attribute__((noinline)) struct usage *begin(struct sock *sk, struct task_struct *leader, struct key *key) {
	struct usage usage = {};
	u64 kernel = 0;

	usage.first = bpf_ktime_get_boot_ns();
	usage.last = usage.first_tick = bpf_jiffies64();
	usage.family = sk->__sk_common.skc_family;
	usage.protocol = sk->sk_protocol;
	usage.type = sk->sk_type;
	usage.uid = sk->sk_uid.val;
	usage.net_ns = sk->__sk_common.skc_net.net->ns.inum;
	READ_BIT_FIELD(&kernel, (struct sock___kernel *)sk, sk_kern_sock);
	usage.flags = (kernel || leader->flags & KERNEL_THREAD) ? KERNEL : 0;
	/* What was accepted still has the limit of the listener that it was cloned from. */
	if (usage.type == STREAM)
		usage.flags |= sk->sk_max_ack_backlog ? INBOUND : OUTBOUND;
	read_ends(&usage, &sk->__sk_common);
	READ(&usage.name, &leader->comm);
	bpf_map_update_elem(&usages, key, &usage, ONLY_NEW);
	return bpf_map_lookup_elem(&usages, key);
}

INLINE struct usage *find(struct sock *sk) {
	struct task_struct *leader = ((struct task_struct *)bpf_get_current_task_btf())->group_leader;
	u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct key key = { .cookie = cookie ?: bpf_get_socket_cookie(sk), .start = leader->start_boottime,
			   .pid = leader->tgid, .peer = fold(&sk->__sk_common) };
	struct usage *found = bpf_map_lookup_elem(&usages, &key);

	return found ?: begin(sk, leader, &key);
}

INLINE bool concerns(struct sock *sk, int bytes) {
	u16 family;

	if (bytes < 0 || !sk || (!bytes && sk->sk_type == STREAM))
		return false;
	family = sk->__sk_common.skc_family;
	return family == INET || family == INET6;
}

SEC("tp_btf/sock_send_length") int on_send(u64 *context) {
	struct sock *sk = (void *)context[0];
	int bytes = (int)context[1];
	struct usage *usage;

	if (!concerns(sk, bytes))
		return 0;
	usage = find(sk);
	if (!usage) {
		ATOMIC_ADD(lost_sent, bytes);
		ATOMIC_ADD(lost_sends, 1);
		return 0;
	}
	ATOMIC_ADD(usage->sent, bytes);
	ATOMIC_ADD(usage->sends, 1);
	usage->last = bpf_jiffies64();
	return 0;
}

SEC("tp_btf/sock_recv_length") int on_receive(u64 *context) {
	struct sock *sk = (void *)context[0];
	int bytes = (int)context[1], flags = (int)context[2];
	struct usage *usage;

	if (flags & (PEEK | ERROR_QUEUE) || !concerns(sk, bytes))
		return 0;
	usage = find(sk);
	if (!usage) {
		ATOMIC_ADD(lost_received, bytes);
		ATOMIC_ADD(lost_receives, 1);
		return 0;
	}
	ATOMIC_ADD(usage->received, bytes);
	ATOMIC_ADD(usage->receives, 1);
	usage->last = bpf_jiffies64();
	return 0;
}
