/* Code signatures, System Integrity Protection, sandboxes. Apple's SDK has no headers of these calls. */
#include "fake.h"
#include <stdarg.h>
#include <sys/errno.h>
#include <sys/types.h>

enum { STATUS = 0, CDHASH = 5, XML = 7, IDENTITY = 11, TEAM = 14, DER = 16 }; /* bsd/sys/codesign.h */
enum { VALID = 1, DEBUGGED = 0x10000000 };
static uint32_t protection;
int csops(pid_t pid, unsigned int operation, void *address, size_t size);
int csr_get_active_config(uint32_t *config);
int sandbox_check(pid_t pid, const char *operation, int type, ...);
void fake_protection(uint32_t config);

void fake_protection(uint32_t config) { protection = config; }

/* A header of magic and length before the content; the header alone when the buffer is too short. */
static int blob(const void *content, size_t length, uint32_t magic, void *address, size_t size) {
  uint32_t header[2] = {__builtin_bswap32(magic), __builtin_bswap32((uint32_t)(length + 8))};
  if (size < 8) return fake_fail(ERANGE, -1);
  if (!content) { __builtin_memset(address, 0, 8); return 0; }
  __builtin_memcpy(address, header, 8);
  if (size < length + 8) return fake_fail(ERANGE, -1);
  __builtin_memcpy((char *)address + 8, content, length);
  return 0;
}

static int string(const char *text, void *address, size_t size) {
  return text ? blob(text, __builtin_strlen(text) + 1, 0, address, size) : fake_fail(ENOENT, -1);
}

int csops(pid_t pid, unsigned int operation, void *address, size_t size) {
  int code = fake_enter(FAKE_CSOPS, (int)operation, pid);
  if (code) return fake_fail(code, -1);
  struct fake_process *p = fake_find(pid);
  if (!p) return fake_fail(ESRCH, -1);
  if (operation == STATUS) { __builtin_memcpy(address, &p->csflags, 4); return 0; }
  if (!(p->csflags & (VALID | DEBUGGED))) return fake_fail(EINVAL, -1);
  switch (operation) {
  case CDHASH: if (size != 20) return fake_fail(EINVAL, -1); __builtin_memcpy(address, p->cdhash, 20); return 0;
  case XML: return blob(p->xml, p->xml_len, 0xfade7171, address, size);
  case DER: return blob(p->der, p->der_len, 0xfade7172, address, size);
  case IDENTITY: return string(p->identity, address, size);
  case TEAM: return string(p->team, address, size);
  }
  return fake_fail(EINVAL, -1);
}

int csr_get_active_config(uint32_t *config) {
  int code = fake_enter(FAKE_CSR, 0, FAKE_ANY);
  if (code) return fake_fail(code, -1);
  *config = protection;
  return 0;
}

int sandbox_check(pid_t pid, const char *operation, int type, ...) {
  int code = fake_enter(FAKE_SANDBOX, type, pid);
  if (code) return fake_fail(code, -1);
  if (operation) return fake_fail(EINVAL, -1); /* nobody here asks for one */
  struct fake_process *p = fake_find(pid);
  return p ? p->sandboxed : fake_fail(ESRCH, -1);
}
