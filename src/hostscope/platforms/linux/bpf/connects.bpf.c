/* Who opens and who closes TCP connections: also those over which nothing is ever sent, refused ones among them, which
 * the tracepoints that count payload never see. Linux 5.8 (tracepoint inet_sock_set_state).
 *
 * A connection begins in the process that connects, before it has a local port; what follows may run in any process,
 * but finds it by the socket's cookie. Closing runs in the process that closes, which is all that is known of the owner
 * of an accepted connection without payload. */
#include "core.h"
#include "helpers.h"
#include "usage.h"

enum { SYN_SENT = 2, FIN_WAIT1 = 4, LAST_ACK = 9 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inet_sock { u16 inet_sport; };
#pragma clang attribute pop

/* hostscope/platforms/linux/connects.py reads it: keep the two alike. */
struct connection { struct key key; struct counts counts; struct description description; };

struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct connection);
} connections SEC(".maps");

INLINE void update(struct connection *c, struct sock *sk) {
	u16 port = 0;

	read_ends(&c->description, &sk->__sk_common);
	READ(&port, &((struct inet_sock *)sk)->inet_sport); /* skc_num is 0 again when the socket is closed */
	c->description.local.port = (port >> 8) | (port << 8);
	c->counts.last = bpf_jiffies64();
}

static __attribute__((noinline)) int begin(struct sock *sk, u64 cookie) {
	struct task_struct *leader = ((struct task_struct *)bpf_get_current_task_btf())->group_leader;
	struct connection c = {};

	c.key.cookie = cookie;
	c.key.start = leader->start_boottime;
	c.key.pid = leader->tgid;
	describe(&c.description, sk, leader);
	update(&c, sk);
	bpf_map_update_elem(&connections, &cookie, &c, ANY);
	return 0;
}

SEC("tp_btf/inet_sock_set_state") int on_state(u64 *context) {
	struct sock *sk = (void *)context[0];
	int before = (int)context[1], after = (int)context[2];
	struct connection *known;
	u64 cookie;

	if (sk->__sk_common.skc_family != INET && sk->__sk_common.skc_family != INET6)
		return 0;
	if (after != SYN_SENT && before != SYN_SENT && after != FIN_WAIT1 && after != LAST_ACK)
		return 0;
	cookie = sk->__sk_common.skc_cookie.counter ?: bpf_get_socket_cookie(sk);
	known = after == SYN_SENT ? NULL : bpf_map_lookup_elem(&connections, &cookie);
	if (known)
		update(known, sk);
	else if (before != SYN_SENT)
		begin(sk, cookie);
	return 0;
}
