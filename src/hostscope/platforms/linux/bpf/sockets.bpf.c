/* Sockets and who holds them. `held`: every descriptor of every process, one record for each that is a socket or keeps a
 * namespace. Linux 5.11 (bpf_sock_from_file). `held_strangers`: the same for
 * some of them, of which only the tables were known. `tcp_files`, `udp_files`: whether a file stands for a socket, Linux
 * 5.9. `members`: which namespaces processes are in, Linux 5.8. Fields are read through typed pointers where they can be:
 * each bpf_probe_read_kernel() costs ten times as much, and there are some thirty fields. */
#include "core.h"
#include "helpers.h"

enum { NSFS = 0x6e736673, INET = 2, INET6 = 10, STREAM = 1, TCP = 6, UDP = 17, UDP_LITE = 136, LISTEN = 10 };
enum { NAMESPACE = 1 };

const volatile u32 only_inet = 1; /* leave out sockets of other families, of which only the holder is told */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct seq_file;
typedef struct { u32 val; } kuid_t;
struct ns_common { u32 inum; };
struct net { struct ns_common ns; };
struct super_block { unsigned long s_magic; };
struct inode { unsigned long i_ino; struct super_block *i_sb; };
struct file { struct inode *f_inode; };
struct css_set;
struct mnt_namespace { struct ns_common ns; };
struct nsproxy { struct net *net_ns; struct mnt_namespace *mnt_ns; };
struct task_struct {
	u32 pid, tgid;
	struct nsproxy *nsproxy;
	struct task_struct *group_leader;
	struct css_set *cgroups;
	u64 start_boottime;
	char comm[16];
};

struct in6_addr { struct { u8 u6_addr8[16]; } in6_u; };
struct socket;
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
	u32 sk_ack_backlog, sk_max_ack_backlog;
	struct { struct { int counter; } rmem_alloc; } sk_backlog;
	struct { u32 refs; } sk_wmem_alloc; /* refcount_t: a struct around an atomic_t, the same bytes */
	struct socket *sk_socket;
};
struct socket { struct sock *sk; struct file *file; };
struct inet_sock { struct sock sk; };
struct inet_connection_sock { struct inet_sock icsk_inet; };
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u64 bytes_sent, bytes_acked, bytes_received;
	u32 srtt_us, mdev_us, total_retrans, snd_cwnd, mss_cache, rcv_nxt, copied_seq, write_seq, snd_una;
};
struct udp_sock { struct inet_sock inet; int forward_deficit; };

struct bpf_iter_meta { struct seq_file *seq; u64 seq_num; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };
struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; u32 fd; struct file *file; };
struct bpf_iter__tcp { struct bpf_iter_meta *meta; struct sock_common *sk_common; };
struct bpf_iter__udp { struct bpf_iter_meta *meta; struct udp_sock *udp_sk; };
#pragma clang attribute pop

/* hostscope/platforms/linux/socket_columns.py reads it: keep the two alike. Python looks up `holder` and `shape` as one
 * slice each: equal bytes mean equal things, so there is nothing else and no padding in them. */
struct record {
	u64 sock; /* address: equal means the same socket, within one sweep */
	u64 inode, cookie;
	struct { u64 start, css_set, name[2]; u32 pid, zero; } holder;
	struct { u16 family, kind, protocol, state; u32 uid, net_ns, interface, flags; } shape;
	union { u32 v4; u64 v6[2]; } local, remote; /* filled up with zeroes */
	u32 fd;
	u16 local_port, remote_port;
	u32 backlog, backlog_limit, receive_queue, send_queue;
	u64 rtt_ns, variation_ns, sent, acked, received;
	u32 retransmits, window, segment, unused;
};
_Static_assert(sizeof(struct record) == 200, "socket_columns.py knows this layout");

/* Sixteen bytes of a typed pointer's array: the verifier lets them be read as larger numbers. */
#define COPY_16(to, array) ((to)[0] = *(u64 *)&(array)[0], (to)[1] = *(u64 *)&(array)[8])

INLINE void read_ends(struct record *r, struct sock_common *c) {
	u16 port = c->skc_dport;

	r->local_port = c->skc_num;
	r->remote_port = (port >> 8) | (port << 8);
	if (r->shape.family == INET) {
		r->local.v4 = c->skc_rcv_saddr;
		r->remote.v4 = c->skc_daddr;
	} else {
		COPY_16(r->local.v6, c->skc_v6_rcv_saddr.in6_u.u6_addr8);
		COPY_16(r->remote.v6, c->skc_v6_daddr.in6_u.u6_addr8);
	}
}

INLINE void read_common(struct record *r, struct sock_common *c) {
	r->shape.state = c->skc_state;
	r->shape.net_ns = c->skc_net.net->ns.inum;
	r->shape.interface = c->skc_bound_dev_if;
	r->cookie = c->skc_cookie.counter;
}

INLINE void read_tcp(struct record *r, struct sock *sk) {
	struct tcp_sock *t = bpf_skc_to_tcp_sock(sk);
	s32 unread;

	if (!t)
		return;
	unread = t->rcv_nxt - t->copied_seq;
	r->receive_queue = unread > 0 ? unread : 0;
	r->send_queue = t->write_seq - t->snd_una;
	r->sent = t->bytes_sent;
	r->acked = t->bytes_acked;
	if (r->acked > r->sent) /* the kernel counts the SYN as acknowledged */
		r->acked = r->sent;
	r->received = t->bytes_received;
	r->rtt_ns = (u64)(t->srtt_us / 8) * 1000;
	r->variation_ns = (u64)(t->mdev_us / 4) * 1000;
	r->retransmits = t->total_retrans;
	r->window = t->snd_cwnd;
	r->segment = t->mss_cache;
}

INLINE void read_queues(struct record *r, struct sock *sk) {
	u32 written = sk->sk_wmem_alloc.refs, deficit = 0;

	if (r->shape.protocol == UDP || r->shape.protocol == UDP_LITE)
		READ(&deficit, (u32 *)&((struct udp_sock *)sk)->forward_deficit);
	r->receive_queue = sk->sk_backlog.rmem_alloc.counter - deficit;
	r->send_queue = written ? written - 1 : 0; /* one stands for the socket itself */
}

INLINE void read_sock(struct record *r, struct sock *sk) {
	r->sock = (u64)sk;
	r->shape.kind = sk->sk_type;
	r->shape.protocol = sk->sk_protocol;
	r->shape.uid = sk->sk_uid.val;
	r->backlog = sk->sk_ack_backlog;
	r->backlog_limit = sk->sk_max_ack_backlog;
	read_common(r, &sk->__sk_common);
	read_ends(r, &sk->__sk_common);
	if (r->shape.protocol != TCP || r->shape.kind != STREAM)
		read_queues(r, sk);
	else if (r->shape.state != LISTEN)
		read_tcp(r, sk);
}

/* Names are the first thread's, as those of processes are. */
INLINE void read_holder(struct record *r, struct task_struct *t) {
	struct task_struct *leader = t->group_leader;

	r->holder.pid = t->tgid;
	r->holder.start = leader->start_boottime;
	r->holder.css_set = (u64)leader->cgroups;
	COPY_16(r->holder.name, leader->comm);
}

INLINE bool is_wanted(u16 family) {
	return family == INET || family == INET6 || !only_inet;
}

INLINE void show(struct seq_file *seq, struct task_struct *t, u32 fd, struct file *file) {
	struct socket *socket = bpf_sock_from_file(file);
	struct record r = {};
	struct sock *sk;

	if (socket) {
		sk = socket->sk;
		if (!sk)
			return;
		r.shape.family = sk->__sk_common.skc_family;
		if (!is_wanted(r.shape.family))
			return;
		if (r.shape.family == INET || r.shape.family == INET6)
			read_sock(&r, sk);
	} else {
		if (file->f_inode->i_sb->s_magic != NSFS)
			return;
		r.shape.flags = NAMESPACE;
	}
	r.fd = fd;
	r.inode = file->f_inode->i_ino;
	read_holder(&r, t);
	bpf_seq_write(seq, &r, sizeof(r));
}

SEC("iter/task_file") int held(struct bpf_iter__task_file *c) {
	struct file *file = c->file;
	struct task_struct *t = c->task;

	if (file && t)
		show(c->meta->seq, t, c->fd, file);
	return 0;
}

/* The same for only some inodes. */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, u8);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} strangers SEC(".maps");

SEC("iter/task_file") int held_strangers(struct bpf_iter__task_file *c) {
	struct file *file = c->file;
	struct task_struct *t = c->task;
	u64 inode;

	if (!file || !t)
		return 0;
	inode = file->f_inode->i_ino;
	if (bpf_map_lookup_elem(&strangers, &inode))
		show(c->meta->seq, t, c->fd, file);
	return 0;
}

/* Whether a file stands for a socket: programs hold sockets by files, the kernel holds its own without. Asked for some
 * sockets, by cookie, of the namespace that the reader is in. */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, u8);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} unheld SEC(".maps");

struct answer { u64 cookie; u32 has_file, zero; };

INLINE void tell_file(struct seq_file *seq, struct sock *sk) {
	struct answer a = { .cookie = sk->__sk_common.skc_cookie.counter };
	struct socket *socket;

	if (!bpf_map_lookup_elem(&unheld, &a.cookie))
		return;
	socket = sk->sk_socket;
	a.has_file = socket && socket->file;
	bpf_seq_write(seq, &a, sizeof(a));
}

SEC("iter/tcp") int tcp_files(struct bpf_iter__tcp *c) {
	struct sock_common *common = c->sk_common;
	struct tcp_sock *t;

	if (!common)
		return 0;
	t = bpf_skc_to_tcp_sock(common); /* not of requests and what waits for its end: those have no holders */
	if (t)
		tell_file(c->meta->seq, &t->inet_conn.icsk_inet.sk);
	return 0;
}

SEC("iter/udp") int udp_files(struct bpf_iter__udp *c) {
	struct udp_sock *u = c->udp_sk;

	if (u)
		tell_file(c->meta->seq, &u->inet.sk);
	return 0;
}

/* Which namespaces there are: a process for each change of network or mount namespace from one process to the next. */
struct member { u32 pid, net_ns, mnt_ns, zero; };
struct member last;

SEC("iter/task") int members(struct bpf_iter__task *c) {
	struct task_struct *t = c->task;
	struct member m = {};
	struct nsproxy *proxy;
	struct net *net;
	struct mnt_namespace *mount;

	if (!t || t->pid != t->tgid)
		return 0;
	proxy = t->nsproxy;
	if (!proxy) /* it is ending */
		return 0;
	net = proxy->net_ns;
	mount = proxy->mnt_ns;
	if (!net || !mount)
		return 0;
	m.net_ns = net->ns.inum;
	m.mnt_ns = mount->ns.inum;
	if (c->meta->seq_num != 0 && m.net_ns == last.net_ns && m.mnt_ns == last.mnt_ns)
		return 0;
	m.pid = t->tgid;
	last = m;
	bpf_seq_write(c->meta->seq, &m, sizeof(m));
	return 0;
}
