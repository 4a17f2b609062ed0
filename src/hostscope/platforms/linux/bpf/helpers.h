/* What programs that count and report need beside core.h: map kinds, helpers by their number in the kernel's ABI (in
 * brackets the first kernel that has them), and the context of programs that see packets. Include core.h first. */
enum {
	MAP_HASH = 1, MAP_PERCPU_HASH = 5, MAP_LRU_HASH = 9, MAP_LRU_PERCPU_HASH = 10,
	MAP_QUEUE = 22, MAP_SK_STORAGE = 24, MAP_RING = 27, MAP_TASK_STORAGE = 29,
};
enum { F_NO_PREALLOC = 1, F_CLONE = 1 << 9, F_MMAPABLE = 1 << 10 };
enum { ANY = 0, ONLY_NEW = 1, ONLY_KNOWN = 2 };
enum { RING_NO_WAKEUP = 1, RING_FORCE_WAKEUP = 2 };
enum { STORAGE_CREATE = 1 };

static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static long (*bpf_skb_load_bytes)(const void *skb, u32 offset, void *to, u32 size) = (void *)26;
static u64 (*bpf_get_socket_cookie)(void *context) = (void *)46;
static long (*bpf_skb_load_bytes_relative)(const void *skb, u32 offset, void *to, u32 size, u32 from) = (void *)68;
static u64 (*bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*bpf_map_push_elem)(void *map, const void *value, u64 flags) = (void *)87;
static long (*bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static void *(*bpf_sk_storage_get)(void *map, void *sock, void *value, u64 flags) = (void *)107;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;                   /* 5.5 */
static long (*bpf_probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;               /* 5.5 */
static u64 (*bpf_jiffies64)(void) = (void *)118;                                                          /* 5.6 */
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;                                                  /* 5.8 */
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;             /* 5.8 */
static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;                       /* 5.8 */
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;                                   /* 5.8 */
static void (*bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;                                  /* 5.8 */
static u64 (*bpf_ringbuf_query)(void *ring, u64 flags) = (void *)134;                                     /* 5.8 */
static void *(*bpf_skc_to_tcp_sock)(void *sock) = (void *)137;                                            /* 5.9 */
static void *(*bpf_task_storage_get)(void *map, void *task, void *value, u64 flags) = (void *)156;        /* 5.11 */
static void *(*bpf_get_current_task_btf)(void) = (void *)158;                                             /* 5.11 */
static void *(*bpf_sock_from_file)(void *file) = (void *)162;                                             /* 5.11 */

#define ATOMIC_ADD(counter, amount) __sync_fetch_and_add(&(counter), amount)

/* More CO-RE: bit fields, types and enumerators. */
#define FIELD_LEFT_SHIFT(field) __builtin_preserve_field_info(field, 4)
#define FIELD_RIGHT_SHIFT(field) __builtin_preserve_field_info(field, 5)
/* An unsigned bit field, wherever the kernel has it. READ() cannot: a bit field has no address. */
#define READ_BIT_FIELD(to, pointer, field) do { \
	u64 word = 0; \
	bpf_probe_read_kernel(&word, FIELD_SIZE((pointer)->field), (char *)(pointer) + FIELD_OFFSET((pointer)->field)); \
	*(to) = word << FIELD_LEFT_SHIFT((pointer)->field) >> FIELD_RIGHT_SHIFT((pointer)->field); \
} while (0)
#define FIELD_SIZE(field) __builtin_preserve_field_info(field, 1)
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
#define ENUMERATOR_EXISTS(type, name) __builtin_preserve_enum_value(*(typeof(type) *)name, 0)
#define ENUMERATOR_VALUE(type, name) __builtin_preserve_enum_value(*(typeof(type) *)name, 1)

/* The context of cgroup_skb and socket filter programs: ABI, as the kernel presents it. */
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end, napi_id;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	u32 data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
};
