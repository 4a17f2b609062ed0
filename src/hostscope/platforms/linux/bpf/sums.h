/* Sums over the threads of a process, over the CPUs of a counter, over the words of a bitmap. */

enum { MOST_THREADS_PLAIN = 128, MOST_CPUS_PLAIN = 1024, MOST_WORDS_PLAIN = 64 };

const volatile u32 cpus = 1; /* highest possible CPU + 1 */

/* Where the kernel keeps each CPU's share of per-CPU data: it gives the address of element 0 of this map on one CPU,
 * and that address minus the map's own per-CPU pointer is the base of that CPU. kallsyms may not tell us. */
struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} anchor SEC(".maps");

#define ADD(total, source) do { u64 part = 0; READ(&part, (u64 *)(source)); (total) += part; } while (0)
#define HAS_IO (HAS(task_struct, ioac.rchar) && HAS(task_struct, ioac.read_bytes))

INLINE void add_thread(struct thread_sum *sum, struct task_struct *thread) {
	ADD(sum->utime, &thread->utime);
	ADD(sum->stime, &thread->stime);
	ADD(sum->runtime, &thread->se.sum_exec_runtime);
	ADD(sum->minor_faults, &thread->min_flt);
	ADD(sum->major_faults, &thread->maj_flt);
	if (HAS_IO) {
		ADD(sum->rchar, &thread->ioac.rchar);
		ADD(sum->wchar, &thread->ioac.wchar);
		ADD(sum->read_bytes, &thread->ioac.read_bytes);
		ADD(sum->write_bytes, &thread->ioac.write_bytes);
	}
}

/* One thread further; 1 ends. The list changes while we walk: an element that is not ours any more ends it early. */
INLINE long next_thread(struct thread_sum *sum) {
	struct task_struct *thread;
	u64 signal = 0;

	if (sum->next == sum->head) {
		sum->whole = 1;
		return 1;
	}
	thread = (void *)(sum->next - FIELD_OFFSET(((struct task_struct *)0)->thread_node));
	READ(&signal, (u64 *)&thread->signal);
	if (signal != sum->signal)
		return 1;
	if ((u64)thread != sum->leader)
		add_thread(sum, thread);
	READ(&sum->next, (u64 *)&thread->thread_node.next);
	return 0;
}

static long next_thread_callback(u32 index, void *unused) {
	struct scratch *s = get_scratch();

	return s ? next_thread(&s->threads) : 1;
}

INLINE long add_cpu(struct scratch *s, u32 cpu) {
	u32 zero = 0;
	s32 part[4] = {};
	u64 base;
	struct page_sum *sum = &s->pages;
	void *element = bpf_map_lookup_percpu_elem(&anchor, &zero, cpu);

	if (!element)
		return 0;
	*(volatile u64 *)&sum->cpu_base = (u64)element; /* through memory a pointer becomes a number */
	base = *(volatile u64 *)&sum->cpu_base - s->counter_base;
	if (sum->counters[3] - sum->counters[0] == 12) { /* side by side, as since 6.6 */
		bpf_probe_read_kernel(part, sizeof(part), (void *)(sum->counters[0] + base));
	} else {
		bpf_probe_read_kernel(&part[0], 4, (void *)(sum->counters[0] + base));
		bpf_probe_read_kernel(&part[1], 4, (void *)(sum->counters[1] + base));
		bpf_probe_read_kernel(&part[2], 4, (void *)(sum->counters[2] + base));
		bpf_probe_read_kernel(&part[3], 4, (void *)(sum->counters[3] + base));
	}
	for (int i = 0; i < 4; i++)
		sum->pages[i] += part[i];
	return 0;
}

static long add_cpu_callback(u32 cpu, void *unused) {
	struct scratch *s = get_scratch();

	return s ? add_cpu(s, cpu) : 1;
}

/* The map's own per-CPU pointer. A map may be read, but not at an offset: read from its start. */
INLINE u64 anchor_pointer(struct scratch *s) {
	u32 offset = FIELD_OFFSET(((struct bpf_array *)0)->pptrs);

	asm volatile("" : "+r"(offset));
	if (offset > sizeof(s->map_head) - 8)
		return 0;
	bpf_probe_read_kernel(s->map_head, offset + 8, &anchor);
	return *(u64 *)(s->map_head + offset);
}

INLINE long add_word(struct bit_sum *sum, u32 index) {
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)(sum->words + 8 * (u64)index));
	sum->count += __builtin_popcountll(word);
	return 0;
}

static long add_word_callback(u32 index, void *unused) {
	struct scratch *s = get_scratch();

	return s ? add_word(&s->bits, index) : 1;
}
