/* Tasks, their memory and threads; the host's counters; signals by audit token. What is set stays the caller's. */
#include "fake.h"
#include <mach/mach.h>
#include <mach/mach_traps.h>
#include <mach/thread_status.h>
#include <libproc.h>
#include <sys/errno.h>

enum { REGIONS = 256, THREADS = 64, PAGE = 16384, READ_KIND = 2000000, TASK_KIND = 1000000, NAME_KIND = 3000000,
       CORPSE_KIND = 4000000, THREAD_PORT = 9000000, THE_HOST = 7, OUR_PORT = 1, KINDS = 1000000 };
struct fake_region { int pid; uint64_t start, size; int protection; unsigned tag; int pager, share, depth, submap;
                     const uint8_t *data; const uint8_t *pages; };
static struct fake_region regions[REGIONS];
static int region_count, thread_count, suspended, released, signals[8], signal_count, corpses;
static unsigned thread_ports[THREADS];
static struct { int pid; uint64_t id; const void *state; unsigned words; const char *name; } threads[THREADS];
static struct vm_statistics64 memory;
static unsigned loads[8 * CPU_STATE_MAX], processors;

void fake_mach_reset(void);
size_t fake_region_size(void);
int fake_region(const struct fake_region *region);
void fake_thread(int pid, uint64_t id, const char *name, const void *state, unsigned words);
void fake_processor(unsigned user, unsigned system, unsigned idle, unsigned nice);
void fake_pages(unsigned free, unsigned inactive, unsigned speculative, unsigned external);
int fake_suspended(void);
int fake_released(void);
int fake_signal(int place);

void fake_mach_reset(void) {
  region_count = thread_count = suspended = released = signal_count = corpses = 0; processors = 0;
  memory = (struct vm_statistics64){0};
}
size_t fake_region_size(void) { return sizeof(struct fake_region); }
int fake_region(const struct fake_region *region) { regions[region_count] = *region; return ++region_count; }
void fake_thread(int pid, uint64_t id, const char *name, const void *state, unsigned words) {
  threads[thread_count].pid = pid; threads[thread_count].id = id; threads[thread_count].name = name;
  threads[thread_count].state = state; threads[thread_count++].words = words;
}
void fake_processor(unsigned user, unsigned system, unsigned idle, unsigned nice) {
  unsigned *one = loads + CPU_STATE_MAX * processors++;
  one[CPU_STATE_USER] = user; one[CPU_STATE_SYSTEM] = system; one[CPU_STATE_IDLE] = idle; one[CPU_STATE_NICE] = nice;
}
void fake_pages(unsigned free, unsigned inactive, unsigned speculative, unsigned external) {
  memory.free_count = free; memory.inactive_count = inactive; memory.speculative_count = speculative;
  memory.external_page_count = external;
}
int fake_suspended(void) { return suspended; }
int fake_released(void) { return released; }
int fake_signal(int place) { return place < signal_count ? signals[place] : 0; }

static int pid_of(mach_port_name_t port) { return (int)(port % KINDS); }

static kern_return_t port_for(int pid, unsigned kind, mach_port_name_t *port) {
  int code = fake_enter(FAKE_TASK_FOR_PID, (int)(kind / KINDS), pid);
  if (code) return code;
  if (!fake_find(pid)) return KERN_FAILURE; /* as the kernel: no reason */
  *port = kind + (unsigned)pid;
  return KERN_SUCCESS;
}

mach_port_name_t task_self_trap(void) { return OUR_PORT; }
kern_return_t task_for_pid(mach_port_name_t our, int pid, mach_port_name_t *port) { (void)our; return port_for(pid, TASK_KIND, port); }
kern_return_t task_read_for_pid(mach_port_name_t our, int pid, mach_port_name_t *port);
kern_return_t task_read_for_pid(mach_port_name_t our, int pid, mach_port_name_t *port) { (void)our; return port_for(pid, READ_KIND, port); }
kern_return_t task_name_for_pid(mach_port_name_t our, int pid, mach_port_name_t *port) { (void)our; return port_for(pid, NAME_KIND, port); }

kern_return_t pid_for_task(mach_port_name_t port, int *pid) {
  *pid = -1;
  if (!fake_find(pid_of(port))) return KERN_FAILURE;
  *pid = pid_of(port);
  return KERN_SUCCESS;
}

kern_return_t mach_port_deallocate(ipc_space_t our, mach_port_name_t name) { (void)our; (void)name; released++; return KERN_SUCCESS; }

static kern_return_t alive(mach_port_name_t port, int detail) {
  int code = fake_enter(FAKE_MACH, detail, pid_of(port));
  if (code) return code;
  return fake_find(pid_of(port)) ? KERN_SUCCESS : MACH_SEND_INVALID_DEST;
}

kern_return_t mach_vm_region_recurse(mach_port_name_t task, uint64_t *address, uint64_t *size, unsigned *depth, void *info, unsigned *count);
kern_return_t mach_vm_region_recurse(mach_port_name_t task, uint64_t *address, uint64_t *size, unsigned *depth, void *info, unsigned *count) {
  kern_return_t code = alive(task, 1);
  if (code) return code;
  if (*count < VM_REGION_SUBMAP_INFO_V0_COUNT_64) return KERN_INVALID_ARGUMENT;
  for (int i = 0; i < region_count; i++) {
    struct fake_region *one = &regions[i];
    if (one->pid != pid_of(task) || one->start + one->size <= *address) continue;
    if (one->submap ? (unsigned)one->depth < *depth : 0) continue; /* was entered already */
    struct vm_region_submap_info_64 found = {0};
    found.protection = one->protection; found.user_tag = one->tag; found.external_pager = (unsigned char)one->pager;
    found.share_mode = (unsigned char)one->share; found.is_submap = one->submap; found.pages_resident = (unsigned)(one->size / PAGE);
    found.pages_dirtied = 1; found.ref_count = 1; found.offset = 4096;
    *address = one->start; *size = one->size; *depth = (unsigned)one->depth;
    fake_copy(info, *count * 4, &found, sizeof found);
    if (*count > sizeof found / 4) *count = sizeof found / 4;
    return KERN_SUCCESS;
  }
  return KERN_INVALID_ADDRESS;
}

static struct fake_region *holding(int pid, uint64_t address) {
  for (int i = 0; i < region_count; i++)
    if (regions[i].pid == pid && !regions[i].submap && regions[i].start <= address && address < regions[i].start + regions[i].size) return &regions[i];
  return 0;
}

kern_return_t mach_vm_read_overwrite(mach_port_name_t task, uint64_t address, uint64_t size, uint64_t data, uint64_t *got);
kern_return_t mach_vm_read_overwrite(mach_port_name_t task, uint64_t address, uint64_t size, uint64_t data, uint64_t *got) {
  kern_return_t code = alive(task, 2);
  if (code) return code;
  for (uint64_t at = address; at < address + size;) { /* all of it, or nothing */
    struct fake_region *one = holding(pid_of(task), at);
    if (!one || !one->data) return KERN_INVALID_ADDRESS;
    if (!(one->protection & VM_PROT_READ)) return KERN_PROTECTION_FAILURE;
    at = one->start + one->size;
  }
  for (uint64_t at = address; at < address + size; at++) {
    struct fake_region *one = holding(pid_of(task), at);
    ((uint8_t *)data)[at - address] = one->data[at - one->start];
  }
  *got = size;
  return KERN_SUCCESS;
}

kern_return_t mach_vm_page_range_query(mach_port_name_t task, uint64_t address, uint64_t size, uint64_t places, uint64_t *count);
kern_return_t mach_vm_page_range_query(mach_port_name_t task, uint64_t address, uint64_t size, uint64_t places, uint64_t *count) {
  kern_return_t code = alive(task, 3);
  if (code) return code;
  uint64_t wanted = size / PAGE < *count ? size / PAGE : *count;
  for (uint64_t i = 0; i < wanted; i++) {
    struct fake_region *one = holding(pid_of(task), address + i * PAGE);
    int there = one && (!one->pages || one->pages[(address + i * PAGE - one->start) / PAGE]);
    ((int *)places)[i] = there ? VM_PAGE_QUERY_PAGE_PRESENT : 0;
  }
  *count = wanted;
  return KERN_SUCCESS;
}

kern_return_t mach_vm_deallocate(mach_port_name_t task, uint64_t address, uint64_t size);
kern_return_t mach_vm_deallocate(mach_port_name_t task, uint64_t address, uint64_t size) { (void)task; (void)address; (void)size; return KERN_SUCCESS; }

kern_return_t task_info(task_name_t task, task_flavor_t flavor, task_info_t out, mach_msg_type_number_t *count) {
  kern_return_t code = alive(task, 4);
  if (code) return code;
  if (flavor != TASK_AUDIT_TOKEN || *count < TASK_AUDIT_TOKEN_COUNT) return KERN_INVALID_ARGUMENT;
  audit_token_t token = {{0}};
  token.val[5] = (unsigned)pid_of(task); token.val[7] = 77;
  fake_copy(out, *count * 4, &token, sizeof token);
  return KERN_SUCCESS;
}

int proc_signal_with_audittoken(audit_token_t *token, int number) {
  int code = fake_enter(FAKE_SIGNAL, number, (int)token->val[5]);
  if (code) return code;
  if (!fake_find((int)token->val[5]) || token->val[7] != 77) return ESRCH;
  if (signal_count < 8) signals[signal_count++] = number;
  return 0;
}

kern_return_t task_suspend2(task_t task, task_suspension_token_t *token) {
  kern_return_t code = alive(task, 5);
  if (code) return code;
  suspended++; *token = task;
  return KERN_SUCCESS;
}
kern_return_t task_resume2(task_suspension_token_t token) { (void)token; suspended--; return KERN_SUCCESS; }

kern_return_t task_generate_corpse(task_read_t task, mach_port_t *corpse) {
  kern_return_t code = alive(task, 6);
  if (code) return code;
  corpses++; *corpse = CORPSE_KIND + (unsigned)pid_of(task);
  return KERN_SUCCESS;
}

kern_return_t task_threads(task_inspect_t task, thread_act_array_t *list, mach_msg_type_number_t *count) {
  kern_return_t code = alive(task, 7);
  if (code) return code;
  *count = 0;
  for (int i = 0; i < thread_count; i++)
    if (threads[i].pid == pid_of(task)) thread_ports[(*count)++] = THREAD_PORT + (unsigned)i;
  *list = thread_ports;
  return KERN_SUCCESS;
}

kern_return_t thread_info(thread_inspect_t port, thread_flavor_t flavor, thread_info_t out, mach_msg_type_number_t *count) {
  int i = (int)(port - THREAD_PORT), code = fake_enter(FAKE_MACH, 8, FAKE_ANY);
  if (code) return code;
  if (flavor == THREAD_IDENTIFIER_INFO) {
    struct thread_identifier_info found = {.thread_id = threads[i].id};
    fake_copy(out, *count * 4, &found, sizeof found);
    return KERN_SUCCESS;
  }
  struct thread_extended_info found = {.pth_user_time = 11, .pth_system_time = 22, .pth_run_state = TH_STATE_WAITING};
  for (int at = 0; threads[i].name[at] && at < MAXTHREADNAMESIZE - 1; at++) found.pth_name[at] = threads[i].name[at];
  fake_copy(out, *count * 4, &found, sizeof found);
  return KERN_SUCCESS;
}

kern_return_t thread_get_state(thread_read_t port, thread_state_flavor_t flavor, thread_state_t state, mach_msg_type_number_t *count) {
  int i = (int)(port - THREAD_PORT), code = fake_enter(FAKE_MACH, 9, FAKE_ANY);
  if (code) return code;
  if (flavor != 4 && flavor != 6) return KERN_INVALID_ARGUMENT;
  if (*count < threads[i].words) return KERN_INVALID_ARGUMENT;
  fake_copy(state, *count * 4, threads[i].state, threads[i].words * 4);
  *count = threads[i].words;
  return KERN_SUCCESS;
}

mach_port_t mach_host_self(void) { return THE_HOST; }

kern_return_t host_statistics64(host_t host, host_flavor_t flavor, host_info64_t out, mach_msg_type_number_t *count) {
  int code = fake_enter(FAKE_HOST, 1, FAKE_ANY);
  if (code) return code;
  if (host != THE_HOST || flavor != HOST_VM_INFO64) return KERN_INVALID_ARGUMENT;
  fake_copy(out, *count * 4, &memory, sizeof memory);
  return KERN_SUCCESS;
}

kern_return_t host_processor_info(host_t host, processor_flavor_t flavor, natural_t *number, processor_info_array_t *list, mach_msg_type_number_t *count) {
  int code = fake_enter(FAKE_HOST, 2, FAKE_ANY);
  if (code) return code;
  if (host != THE_HOST || flavor != PROCESSOR_CPU_LOAD_INFO) return KERN_INVALID_ARGUMENT;
  *number = processors; *list = (processor_info_array_t)loads; *count = processors * CPU_STATE_MAX;
  return KERN_SUCCESS;
}
