/* What Windows would answer about COUNT processes, at the speed of C: so that what is measured is hostscope's own code
   and its calls through ctypes. Layouts are those of 64-bit Windows; calling conventions are this system's. */
#include <stdint.h>
#include <string.h>

#define BOOTED 133700000000000000LL
#define THREADS 10
#define PROGRAMS 50
static uint32_t count = 10000;
static uint64_t calls;
typedef struct { uint8_t bytes[4096]; uint32_t size, first, step, pointers; } answer_t;
static answer_t answers[64];

void set_count(uint32_t processes) { count = processes; }
uint64_t take_calls(void) { uint64_t taken = calls; calls = 0; return taken; }
/* An answer of GetTokenInformation, with `pointers` pointers into itself that are to be moved, `step` bytes apart. */
void set_answer(uint32_t kind, const void *bytes, uint32_t size, uint32_t first, uint32_t step, uint32_t pointers)
{
    answer_t *a = &answers[kind];
    memcpy(a->bytes, bytes, size);
    a->size = size; a->first = first; a->step = step; a->pointers = pointers;
}

static void put16(uint8_t *at, uint16_t v) { memcpy(at, &v, 2); }
static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
static void put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }
static uint32_t wide(uint8_t *at, const char *text) { uint32_t n = 0; for (; text[n]; n++) put16(at + 2 * n, (uint8_t)text[n]); return n; }
static uint32_t number(uint8_t *at, uint32_t v)
{
    char text[12]; int n = 11; text[n] = 0;
    do { text[--n] = '0' + v % 10; v /= 10; } while (v);
    return wide(at, text + n);
}
static uint32_t pid_of(uint32_t place) { return 8 + 4 * place; }
static uint32_t pid_behind(void *handle) { return (uint32_t)(uintptr_t)handle - 0x10000; }
static uint64_t created(uint32_t pid) { return BOOTED + pid * 1000ULL; }

static uint32_t entry(uint8_t *at, uint32_t pid, int last)
{
    uint32_t names = 256 + THREADS * 80;
    memset(at, 0, names);
    uint32_t units = wide(at + names, "program") + 7 * 0;
    units += number(at + names + 2 * units, pid % PROGRAMS);
    units += wide(at + names + 2 * units, ".exe");
    uint32_t size = (names + 2 * units + 2 + 7) & ~7u;
    put32(at, last ? 0 : size); put32(at + 4, THREADS); put64(at + 8, 5 << 20); put32(at + 16, 7);
    put64(at + 32, created(pid)); put64(at + 40, pid * 100ULL); put64(at + 48, pid * 50ULL);
    put16(at + 56, 2 * units); put16(at + 58, 2 * units + 2); put64(at + 64, (uint64_t)(uintptr_t)(at + names));
    put32(at + 72, 8); put64(at + 80, pid); put64(at + 88, pid > 8 ? 8 : 0); put32(at + 96, 120); put32(at + 100, 1);
    for (int n = 0; n < 11; n++) put64(at + 112 + 8 * n, (uint64_t)(n + 1) << 20);
    put64(at + 200, 6 << 20);
    for (int n = 0; n < 6; n++) put64(at + 208 + 8 * n, pid * (n + 1));
    for (uint32_t n = 0; n < THREADS; n++) {
        uint8_t *thread = at + 256 + 80 * n;
        put64(thread + 16, created(pid)); put64(thread + 40, pid); put64(thread + 48, pid * 16 + n);
        put32(thread + 68, 5); put32(thread + 72, 6);
    }
    return size;
}

int32_t NtQuerySystemInformation(int32_t kind, uint8_t *into, uint32_t size, uint32_t *needed)
{
    calls++;
    if (kind != 5) return (int32_t)0xC0000003;
    uint64_t most = (uint64_t)count * (256 + THREADS * 80 + 48);
    if (needed) *needed = (uint32_t)most;
    if (size < most) return (int32_t)0xC0000004;
    uint8_t *at = into;
    for (uint32_t n = 0; n < count; n++) at += entry(at, pid_of(n), n == count - 1);
    if (needed) *needed = (uint32_t)(at - into);
    return 0;
}
void *OpenProcess(uint32_t access, int32_t inherit, uint32_t pid) { calls++; return (void *)(uintptr_t)(pid + 0x10000); }
int32_t CloseHandle(void *handle) { calls++; return 1; }
void *GetCurrentProcess(void) { return (void *)-1; }
int32_t GetProcessTimes(void *handle, uint64_t *made, uint64_t *ended, uint64_t *kernel, uint64_t *user)
{
    calls++;
    *made = created(pid_behind(handle)); *ended = 0; *kernel = *user = 1;
    return 1;
}
int32_t QueryFullProcessImageNameW(void *handle, uint32_t flags, uint8_t *into, uint32_t *size)
{
    calls++;
    uint32_t n = wide(into, flags ? "\\Device\\HarddiskVolume3\\Program Files\\program" : "C:\\Program Files\\program");
    n += number(into + 2 * n, pid_behind(handle) % PROGRAMS);
    n += wide(into + 2 * n, ".exe");
    *size = n;
    return 1;
}
int32_t IsWow64Process2(void *handle, uint16_t *emulated, uint16_t *computer) { calls++; *emulated = 0; *computer = 0x8664; return 1; }
int32_t GetPackageFullName(void *handle, uint32_t *size, uint8_t *into) { calls++; return 15700; }
uint32_t GetPriorityClass(void *handle) { calls++; return 0x20; }
int32_t NtQueryInformationProcess(void *handle, int32_t kind, uint8_t *into, uint32_t size, uint32_t *needed)
{
    calls++;
    if (kind != 60) return (int32_t)0xC0000003;
    uint32_t n = wide(into + 16, "\"C:\\Program Files\\program.exe\" --type=renderer --number ");
    n += number(into + 16 + 2 * n, pid_behind(handle));
    put16(into, 2 * n); put16(into + 2, 2 * n + 2); put32(into + 4, 0); put64(into + 8, (uint64_t)(uintptr_t)(into + 16));
    if (needed) *needed = 16 + 2 * n;
    return 0;
}
int32_t OpenProcessToken(void *handle, uint32_t access, void **into) { calls++; *into = (void *)0x7000; return 1; }
int32_t GetTokenInformation(void *token, int32_t kind, uint8_t *into, uint32_t size, uint32_t *written)
{
    calls++;
    answer_t *a = &answers[kind];
    memcpy(into, a->bytes, a->size);
    for (uint32_t n = 0; n < a->pointers; n++) {
        uint64_t pointer;
        memcpy(&pointer, into + a->first + n * a->step, 8);
        put64(into + a->first + n * a->step, pointer + (uint64_t)(uintptr_t)into);
    }
    *written = a->size;
    return a->size ? 1 : 0;
}
int32_t LookupAccountSidW(void *host, void *sid, uint8_t *name, uint32_t *a, uint8_t *domain, uint32_t *b, uint32_t *use)
{
    calls++;
    put16(name + 2 * wide(name, "alice"), 0); put16(domain + 2 * wide(domain, "HOST"), 0);
    return 1;
}
int32_t GetGuiResources(void *handle, uint32_t kind) { calls++; return 9; }
