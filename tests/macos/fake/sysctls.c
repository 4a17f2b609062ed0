/* sysctl: what the tests set by name or number, and the process table. */
#include "fake.h"
#include <sys/errno.h>
#include <sys/sysctl.h>

enum { VALUES = 512, NAME = 96, NUMBERS = 8 };
static struct { char name[NAME]; int numbers[NUMBERS]; unsigned length; const void *data; size_t size; } values[VALUES];
static int count;

void fake_sysctl_reset(void);
void fake_sysctl_name(const char *name, const void *data, size_t size);
void fake_sysctl_numbers(const int *numbers, unsigned length, const void *data, size_t size);

void fake_sysctl_reset(void) { count = 0; }

/* The data stays the caller's. */
void fake_sysctl_name(const char *name, const void *data, size_t size) {
  size_t i = 0;
  for (; name[i] && i < NAME - 1; i++) values[count].name[i] = name[i];
  values[count].name[i] = 0; values[count].length = 0; values[count].data = data; values[count++].size = size;
}

void fake_sysctl_numbers(const int *numbers, unsigned length, const void *data, size_t size) {
  for (unsigned i = 0; i < length && i < NUMBERS; i++) values[count].numbers[i] = numbers[i];
  values[count].name[0] = 0; values[count].length = length; values[count].data = data; values[count++].size = size;
}

static int give(int index, void *old, size_t *size) {
  if (!old) { *size = values[index].size; return 0; }
  size_t room = *size;
  *size = fake_copy(old, room, values[index].data, values[index].size);
  return room < values[index].size ? fake_fail(ENOMEM, -1) : 0;
}

int sysctlbyname(const char *name, void *old, size_t *size, void *new, size_t new_size) {
  int code = fake_enter(FAKE_SYSCTLBYNAME, 0, FAKE_ANY);
  if (code) return fake_fail(code, -1);
  if (new || new_size) return fake_fail(EPERM, -1); /* who looks, sets nothing */
  for (int i = count - 1; i >= 0; i--)
    if (values[i].name[0] && !__builtin_strcmp(values[i].name, name)) return give(i, old, size);
  return fake_fail(ENOENT, -1);
}

static int same(int index, const int *numbers, unsigned length) {
  if (values[index].name[0] || values[index].length != length) return 0;
  for (unsigned i = 0; i < length; i++)
    if (values[index].numbers[i] != numbers[i]) return 0;
  return 1;
}

int sysctl(int *numbers, u_int length, void *old, size_t *size, void *new, size_t new_size) {
  int pid = length >= 3 && numbers[0] == CTL_KERN ? numbers[length - 1] : FAKE_ANY;
  int code = fake_enter(FAKE_SYSCTL, length > 1 ? numbers[1] : 0, pid);
  if (code) return fake_fail(code, -1);
  if (new || new_size) return fake_fail(EPERM, -1);
  for (int i = count - 1; i >= 0; i--)
    if (same(i, numbers, length)) return give(i, old, size);
  if (length > 2 && numbers[0] == CTL_KERN) return fake_kern_proc(numbers, length, old, size);
  return fake_fail(ENOENT, -1);
}
