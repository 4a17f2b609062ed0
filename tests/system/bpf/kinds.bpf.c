/* One program of each kind and one map of each kind, for tests/system/test_bpf_programs.py. */
#include "core.h"
#include "helpers.h"

struct task_struct {
	u32 pid, tgid;
	u32 sched_reset_on_fork : 1;
	u64 no_such_field;
} __attribute__((preserve_access_index));
struct no_such_struct { int x; } __attribute__((preserve_access_index));
enum bpf_map_type___test { BPF_MAP_TYPE_RINGBUF = 1, BPF_MAP_TYPE_NO_SUCH = 2 };

struct order { u32 verb, key, amount, size; };
enum { COUNT = 1, RECORD = 2, DISCARD = 3, INSERT = 4 };

const volatile u32 watched = 0;
const volatile u64 table[4] = {};
u64 lost = 0, ended = 7, packets = 0;
s32 negative = -2;
u64 facts[8] = {};
char greeting[8] = {};
static u64 calls;

#define COUNTER(name, kind, flags) struct { \
	MAP_UINT(type, kind); MAP_UINT(max_entries, 512); MAP_TYPE(key, u32); MAP_TYPE(value, u64); \
	MAP_UINT(map_flags, flags); } name SEC(".maps")

COUNTER(hash, MAP_HASH, F_NO_PREALLOC);
COUNTER(percpu_hash, MAP_PERCPU_HASH, 0);
COUNTER(lru_hash, MAP_LRU_HASH, 0);
COUNTER(lru_percpu_hash, MAP_LRU_PERCPU_HASH, 0);
COUNTER(array, MAP_ARRAY, 0);
COUNTER(percpu_array, MAP_PERCPU_ARRAY, 0);
struct { MAP_UINT(type, MAP_HASH); MAP_UINT(max_entries, 65536); MAP_TYPE(key, u32); MAP_TYPE(value, u64); } large SEC(".maps");
struct { MAP_UINT(type, MAP_PERCPU_HASH); MAP_UINT(max_entries, 16); MAP_TYPE(key, u32);
	 MAP_UINT(value_size, 12); } odd SEC(".maps");
struct { MAP_UINT(type, MAP_RING); MAP_UINT(max_entries, 4096); } ring SEC(".maps");
struct { MAP_UINT(type, MAP_TASK_STORAGE); MAP_UINT(map_flags, F_NO_PREALLOC); MAP_TYPE(key, int);
	 MAP_TYPE(value, u64); } forks SEC(".maps");

static __attribute__((noinline)) u64 add(void *map, u32 key, u64 amount) {
	u64 *sum = bpf_map_lookup_elem(map, &key);

	if (sum)
		return ATOMIC_ADD(*sum, amount);
	return bpf_map_update_elem(map, &key, &amount, ANY);
}

/* Inlined, since a function may not take a map from several programs' places. */
#define ADD(map, o) do { \
	u64 amount = (o).amount, *sum = bpf_map_lookup_elem(&map, &(o).key); \
	if (sum) *sum += amount; \
	else bpf_map_update_elem(&map, &(o).key, &amount, ANY); \
} while (0)

INLINE void count(struct order o) {
	ADD(hash, o); ADD(percpu_hash, o); ADD(lru_hash, o); ADD(lru_percpu_hash, o); ADD(array, o); ADD(percpu_array, o);
}

INLINE void record(struct order o) {
	u32 *place;

	for (u32 i = 0; i < 64 && i < o.amount; i++) {
		if (o.size == 192)
			place = bpf_ringbuf_reserve(&ring, 192, 0);
		else
			place = o.size == 24 ? bpf_ringbuf_reserve(&ring, 24, 0) : bpf_ringbuf_reserve(&ring, 13, 0);
		if (!place) {
			ATOMIC_ADD(lost, 1);
			continue;
		}
		place[0] = o.key + i;
		place[1] = place[2] = 0x61616161;
		if (o.verb == DISCARD && i & 1)
			bpf_ringbuf_discard(place, 0);
		else
			bpf_ringbuf_submit(place, 0);
	}
}

SEC("socket") int on_packet(struct __sk_buff *packet) {
	struct order o = {};
	u64 amount;

	ATOMIC_ADD(packets, 1);
	if (bpf_skb_load_bytes(packet, 0, &o, sizeof(o)))
		return 0;
	amount = o.amount;
	if (o.verb == COUNT)
		count(o);
	else if (o.verb == INSERT)
		bpf_map_update_elem(&large, &o.key, &amount, ANY);
	else
		record(o);
	return 0;
}

SEC("socket") int refused(struct __sk_buff *packet) {
	return *(u64 *)(u64)packet->len;
}

SEC("tp_btf/sched_process_fork") int on_fork(u64 *context) {
	struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
	u64 bit = 0, *times;

	if (parent->tgid != watched)
		return 0;
	READ_BIT_FIELD(&bit, parent, sched_reset_on_fork);
	facts[0] = child->tgid;
	facts[1] = bit;
	facts[2] = HAS(task_struct, no_such_field) + 2 * HAS(task_struct, pid);
	facts[3] = TYPE_EXISTS(struct no_such_struct) + 2 * TYPE_EXISTS(struct task_struct);
	facts[4] = TYPE_SIZE(struct task_struct);
	facts[5] = ENUMERATOR_VALUE(enum bpf_map_type___test, BPF_MAP_TYPE_RINGBUF);
	facts[6] = ENUMERATOR_EXISTS(enum bpf_map_type___test, BPF_MAP_TYPE_NO_SUCH);
	facts[7] = table[parent->tgid & 3 ? 3 : 3];
	times = bpf_task_storage_get(&forks, bpf_get_current_task_btf(), NULL, STORAGE_CREATE);
	if (times)
		ATOMIC_ADD(*times, 1);
	return 0;
}

SEC("tp_btf/no_such_tracepoint") int on_nothing(u64 *context) {
	return 0;
}

SEC("raw_tp/sched_process_exit") int on_exit(u64 *context) {
	ATOMIC_ADD(ended, 1);
	bpf_probe_read_kernel_str(greeting, sizeof(greeting), "hello");
	return 0;
}

SEC("raw_tp/no_such_tracepoint") int on_nothing_raw(u64 *context) {
	return 0;
}

SEC("iter/task") int each_task(u64 *context) {
	struct { void *seq; } *meta = (void *)context[0];
	struct task_struct *task = (void *)context[1];
	u32 pid;

	if (!task)
		return 0;
	pid = task->tgid;
	calls++;
	bpf_seq_write(meta->seq, &pid, sizeof(pid));
	return 0;
}

SEC("cgroup_skb/egress") int on_egress(struct __sk_buff *packet) {
	add(&hash, packet->local_port, packet->len);
	return 1;
}

SEC("cgroup_skb/ingress") int on_ingress(struct __sk_buff *packet) {
	add(&lru_hash, packet->local_port, packet->len);
	return 1;
}
