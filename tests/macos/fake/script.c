/* What the tests set and count. */
#include "fake.h"

enum { MOST = 32768, PIDS = 1 << 20, ERRORS = 256 };
extern int *fake_host_errno(void);
static struct fake_process table[MOST];
static int index_of[PIDS]; /* plus one */
static int processes, asking, grow;
static int counts[FAKE_FUNCTIONS][FAKE_DETAILS];
static struct { int pid, function, detail, code, times; } errors[ERRORS];
static int error_count;

void fake_reset(int uid);
int fake_add(const struct fake_process *process);
void fake_error(int pid, int function, int detail, int code, int times);
void fake_kill(int pid);
void fake_grow(int by);
int fake_growth(void);
int fake_count(int function, int detail);

int fake_fail(int code, int result) { *fake_host_errno() = code; return result; }
int fake_uid(void) { return asking; }
int fake_growth(void) { return grow; }
void fake_grow(int by) { grow = by; }

void fake_reset(int uid) {
  for (int i = 0; i < processes; i++) index_of[table[i].pid] = 0;
  __builtin_memset(counts, 0, sizeof counts);
  processes = grow = error_count = 0;
  asking = uid;
}

int fake_add(const struct fake_process *process) {
  if (processes == MOST || process->pid < 0 || process->pid >= PIDS) return -1;
  table[processes] = *process;
  index_of[process->pid] = ++processes;
  return processes;
}

void fake_error(int pid, int function, int detail, int code, int times) {
  if (error_count == ERRORS) return;
  errors[error_count].pid = pid; errors[error_count].function = function; errors[error_count].detail = detail;
  errors[error_count].code = code; errors[error_count++].times = times;
}

void fake_kill(int pid) { if (index_of[pid]) table[index_of[pid] - 1].status = 0; }

int fake_count(int function, int detail) {
  if (detail >= 0) return counts[function][detail % FAKE_DETAILS];
  int sum = 0;
  for (int i = 0; i < FAKE_DETAILS; i++) sum += counts[function][i];
  return sum;
}

int fake_enter(enum fake_function function, int detail, int pid) {
  counts[function][detail < 0 ? 0 : detail % FAKE_DETAILS]++;
  for (int i = 0; i < error_count; i++) {
    if (errors[i].function != (int)function || !errors[i].times) continue;
    if (errors[i].pid != FAKE_ANY && errors[i].pid != pid) continue;
    if (errors[i].detail != FAKE_ANY && errors[i].detail != detail) continue;
    if (errors[i].times > 0) errors[i].times--;
    return errors[i].code;
  }
  return 0;
}

struct fake_process *fake_find(int pid) {
  if (pid < 0 || pid >= PIDS || !index_of[pid]) return NULL;
  struct fake_process *found = &table[index_of[pid] - 1];
  if (!found->status) return NULL;
  if (found->dies_after && !--found->dies_after) found->status = 0;
  return found;
}

struct fake_process *fake_table(int *count) { *count = processes; return table; }

size_t fake_copy(void *to, size_t room, const void *from, size_t size) {
  size_t length = room < size ? room : size;
  __builtin_memcpy(to, from, length);
  return length;
}

size_t fake_process_size(void);
size_t fake_process_size(void) { return sizeof(struct fake_process); }
