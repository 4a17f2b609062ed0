/* A process and a socket that it uses: what traffic.bpf.c and connects.bpf.c keep. Include helpers.h first. */
enum { STREAM = 1, INET = 2, INET6 = 10, KERNEL_THREAD = 0x00200000 };
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
/* hostscope/platforms/linux/payload_record.py reads these: keep them alike. */
struct counts { u64 sent, received, sends, receives, last; }; /* last: timer ticks, cheaper to read than a clock */
struct description {
	u64 first, first_tick; /* the same moment, the first in ns since boot */
	struct end local, remote;
	u32 uid, net_ns;
	u16 family, protocol, type, flags;
	char name[16];
};
_Static_assert(sizeof(struct counts) == 40 && sizeof(struct description) == 88, "payload_record.py knows these layouts");

INLINE u32 fold(struct sock_common *c) {
	u32 port = c->skc_dport;

	if (c->skc_family == INET)
		return c->skc_daddr ^ port * 0x9e3779b1;
	return c->skc_v6_daddr.in6_u.u6_addr32[0] ^ c->skc_v6_daddr.in6_u.u6_addr32[1] * 31 ^
	       c->skc_v6_daddr.in6_u.u6_addr32[2] * 961 ^ c->skc_v6_daddr.in6_u.u6_addr32[3] * 29791 ^ port * 0x9e3779b1;
}

INLINE void read_ends(struct description *d, struct sock_common *c) {
	u16 port = c->skc_dport;

	d->local.port = c->skc_num;
	d->remote.port = (port >> 8) | (port << 8);
	if (d->family == INET) {
		*(u32 *)d->local.address = c->skc_rcv_saddr;
		*(u32 *)d->remote.address = c->skc_daddr;
	} else {
		READ(&d->local.address, &c->skc_v6_rcv_saddr.in6_u.u6_addr8);
		READ(&d->remote.address, &c->skc_v6_daddr.in6_u.u6_addr8);
	}
}

/* What is known of a process and a socket when the process first uses it. */
INLINE void describe(struct description *d, struct sock *sk, struct task_struct *leader) {
	u64 kernel = 0;

	d->first = bpf_ktime_get_boot_ns();
	d->first_tick = bpf_jiffies64();
	d->family = sk->__sk_common.skc_family;
	d->protocol = sk->sk_protocol;
	d->type = sk->sk_type;
	d->uid = sk->sk_uid.val;
	d->net_ns = sk->__sk_common.skc_net.net->ns.inum;
	READ_BIT_FIELD(&kernel, (struct sock___kernel *)sk, sk_kern_sock);
	d->flags = (kernel || leader->flags & KERNEL_THREAD) ? KERNEL : 0;
	/* What was accepted still has the limit of the listener that it was cloned from. */
	if (d->type == STREAM)
		d->flags |= sk->sk_max_ack_backlog ? INBOUND : OUTBOUND;
	read_ends(d, &sk->__sk_common);
	READ(&d->name, &leader->comm);
}
