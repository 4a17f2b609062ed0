/* How much each process sends and receives by each socket: one element of a hash for each pair of a process and a
 * socket, made when the process first uses the socket, so that what ended long ago still has its name. Linux 6.3
 * (tracepoints sock_send_length and sock_recv_length); counts are payload, as system calls return it. */
#include "core.h"
#include "helpers.h"
#include "usage.h"

enum { PEEK = 2, ERROR_QUEUE = 0x2000 };

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, struct usage);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} usages SEC(".maps");

u64 lost_sent, lost_received, lost_sends, lost_receives; /* of pairs that found no room */

static __attribute__((noinline)) struct usage *begin(struct sock *sk, struct task_struct *leader, struct key *key) {
	struct usage usage = {};

	describe(&usage, sk, leader);
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
