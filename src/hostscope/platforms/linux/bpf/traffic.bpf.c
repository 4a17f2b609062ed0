/* How much each process sends and receives by each socket: a pair of the two gets an element of an array when the
 * process first uses the socket, so that what ended long ago still has its name. Linux 6.3 (tracepoints
 * sock_send_length and sock_recv_length); counts are payload, as system calls return it.
 *
 * A hash finds the element of a pair, but looking there costs as much as all the rest. So `recent` remembers the element
 * of the pair that last had a slot, and the element says itself whose it is: a slot that is old, or that two pairs
 * share, costs time and is never believed. hostscope/platforms/linux/pair_table.py reads the elements and frees them. */
#include "core.h"
#include "helpers.h"
#include "usage.h"

enum { PEEK = 2, ERROR_QUEUE = 0x2000, SLOT_BITS = 16 };

/* One line of the processor's cache. An element whose cookie is 0 is nobody's, or not yet or no longer to be found. */
struct pair { struct key key; struct counts counts; };
struct known { u32 index, zero; struct description description; };
_Static_assert(sizeof(struct pair) == 64 && sizeof(struct known) == 96, "pair_table.py knows these layouts");

struct {
	MAP_UINT(type, MAP_ARRAY);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct pair);
	MAP_UINT(map_flags, F_MMAPABLE);
} pairs SEC(".maps");

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, struct known);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} known SEC(".maps");

struct {
	MAP_UINT(type, MAP_ARRAY);
	MAP_UINT(max_entries, 1 << SLOT_BITS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} recent SEC(".maps");

struct {
	MAP_UINT(type, MAP_QUEUE);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(value, u32);
} freed SEC(".maps"); /* elements that may be used again */

u64 next; /* the first element that was never used; when there is none, beyond the end */
u64 lost_sent, lost_received, lost_sends, lost_receives; /* of pairs that found no room */

/* An element that is nobody's, and its index. */
INLINE struct pair *take(u32 *index) {
	u64 fresh;

	if (bpf_map_pop_elem(&freed, index)) {
		fresh = __sync_fetch_and_add(&next, 1);
		if (fresh >> 32)
			return NULL;
		*index = fresh;
	}
	return bpf_map_lookup_elem(&pairs, index);
}

/* The cookie comes last: nobody takes a key that is half written for another one. */
INLINE void publish(struct pair *pair, struct key *key) {
	pair->counts.last = bpf_jiffies64();
	pair->key.start = key->start;
	pair->key.pid = key->pid;
	pair->key.peer = key->peer;
	__sync_lock_test_and_set(&pair->key.cookie, key->cookie);
}

/* Who gets the pair into the hash has begun it; who tried it at the same moment gives the element back. Describes it
 * before there is an element: after the branches of that, the verifier would go through it twice. */
INLINE void begin(struct sock *sk, struct task_struct *leader, struct key *key) {
	struct known new = {};
	struct pair *pair;

	describe(&new.description, sk, leader);
	pair = take(&new.index);
	if (!pair)
		return;
	if (bpf_map_update_elem(&known, key, &new, ONLY_NEW))
		bpf_map_push_elem(&freed, &new.index, 0);
	else
		publish(pair, key);
}

static __attribute__((noinline)) struct pair *search(struct sock *sk, struct task_struct *leader, struct key *key, u32 slot) {
	struct known *found = bpf_map_lookup_elem(&known, key);
	u32 *remembered = bpf_map_lookup_elem(&recent, &slot);

	if (!found) {
		begin(sk, leader, key);
		found = bpf_map_lookup_elem(&known, key);
	}
	if (!found)
		return NULL;
	if (remembered)
		*remembered = found->index;
	return bpf_map_lookup_elem(&pairs, &found->index);
}

INLINE bool same(struct key *one, struct key *other) {
	return one->cookie == other->cookie && one->start == other->start && one->pid == other->pid &&
	       one->peer == other->peer;
}

INLINE struct pair *find(struct sock *sk) {
	struct task_struct *leader = ((struct task_struct *)bpf_get_current_task_btf())->group_leader;
	u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct key key = { .cookie = cookie ?: bpf_get_socket_cookie(sk), .start = leader->start_boottime,
			   .pid = leader->tgid, .peer = fold(&sk->__sk_common) };
	u32 slot = (key.cookie ^ key.start ^ key.peer) * 0x9e3779b97f4a7c15 >> (64 - SLOT_BITS);
	u32 *index = bpf_map_lookup_elem(&recent, &slot);
	struct pair *pair = index ? bpf_map_lookup_elem(&pairs, index) : NULL;

	return pair && same(&pair->key, &key) ? pair : search(sk, leader, &key, slot);
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
	struct pair *pair;

	if (!concerns(sk, bytes))
		return 0;
	pair = find(sk);
	if (!pair) {
		ATOMIC_ADD(lost_sent, bytes);
		ATOMIC_ADD(lost_sends, 1);
		return 0;
	}
	ATOMIC_ADD(pair->counts.sent, bytes);
	ATOMIC_ADD(pair->counts.sends, 1);
	pair->counts.last = bpf_jiffies64();
	return 0;
}

SEC("tp_btf/sock_recv_length") int on_receive(u64 *context) {
	struct sock *sk = (void *)context[0];
	int bytes = (int)context[1], flags = (int)context[2];
	struct pair *pair;

	if (flags & (PEEK | ERROR_QUEUE) || !concerns(sk, bytes))
		return 0;
	pair = find(sk);
	if (!pair) {
		ATOMIC_ADD(lost_received, bytes);
		ATOMIC_ADD(lost_receives, 1);
		return 0;
	}
	ATOMIC_ADD(pair->counts.received, bytes);
	ATOMIC_ADD(pair->counts.receives, 1);
	pair->counts.last = bpf_jiffies64();
	return 0;
}
