/* What a BPF program needs of the outside: integer types, map declarations, helpers, CO-RE builtins.
 * No kernel headers and no libbpf. Little-endian targets only. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;

#define NULL ((void *)0)
#define true 1
#define false 0
#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline

/* Map attributes are carried by types: the loader reads them from BTF. */
#define MAP_UINT(name, value) int (*name)[value]
#define MAP_TYPE(name, type) typeof(type) *name
enum { MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6 };

/* Helpers, by their number in the kernel's ABI; in brackets the first kernel that has them. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static void *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;                 /* 5.5 */
static long (*bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;             /* 5.5 */
static long (*bpf_seq_write)(void *seq, const void *from, u32 size) = (void *)127;                        /* 5.7 */
static long (*bpf_loop)(u32 times, void *step, void *context, u64 flags) = (void *)181;                   /* 5.17 */
static long (*bpf_copy_from_user_task)(void *to, u32 size, const void *from, void *task, u64 flags) = (void *)191; /* 5.18 */
static void *(*bpf_map_lookup_percpu_elem)(void *map, const void *key, u32 cpu) = (void *)195;            /* 5.19 */

/* CO-RE: offsets and existence of fields are filled in from the running kernel's BTF when loaded. */
#define FIELD_OFFSET(field) __builtin_preserve_field_info(field, 0)
#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)
#define FIELD_ADDRESS(pointer) __builtin_preserve_access_index(pointer)
#define HAS(type, field) FIELD_EXISTS(((struct type *)0)->field)
/* Copies *source, a field behind a pointer that the verifier does not know, to *to. A fault leaves zeroes. Every struct
 * named in `source` must be the kernel's, every array index a literal: the compiler relocates the whole expression. */
#define READ(to, source) bpf_probe_read_kernel(to, sizeof(*(to)), FIELD_ADDRESS(source))

char _license[] SEC("license") = "GPL";
