/* kqueue: who is watched, and what happens to them. */
#include "fake.h"
#include <sys/errno.h>
#include <sys/event.h>

enum { WATCHED = 4096, HAPPENED = 64 };
static struct { int pid; unsigned notes; } watched[WATCHED];
static struct kevent happened[HAPPENED];
static int watched_count, happened_count, next_queue;

void fake_queue_reset(int queue);
void fake_happen(int pid, unsigned notes, int64_t data);
unsigned fake_watched(int pid);

/* The descriptor that kqueue() gives; the tests make a real one, which is closed as such. */
void fake_queue_reset(int queue) { watched_count = happened_count = 0; next_queue = queue; }
void fake_happen(int pid, unsigned notes, int64_t data) {
  happened[happened_count++] = (struct kevent){.ident = (uintptr_t)pid, .filter = EVFILT_PROC, .fflags = notes, .data = data};
}
unsigned fake_watched(int pid) {
  for (int i = watched_count - 1; i >= 0; i--) if (watched[i].pid == pid) return watched[i].notes;
  return 0;
}

int kqueue(void) {
  int code = fake_enter(FAKE_KQUEUE, 0, FAKE_ANY);
  return code ? fake_fail(code, -1) : next_queue;
}

static int watch(const struct kevent *change, struct kevent *answer) {
  int pid = (int)change->ident, exit_status = change->fflags & NOTE_EXITSTATUS ? 2 : 1;
  int code = fake_enter(FAKE_KQUEUE, exit_status, pid);
  if (!code && !fake_find(pid)) code = ESRCH;
  *answer = *change; answer->flags = EV_ERROR; answer->data = code;
  if (!code && watched_count < WATCHED) { watched[watched_count].pid = pid; watched[watched_count++].notes = change->fflags; }
  return 1;
}

int kevent(int queue, const struct kevent *changes, int count, struct kevent *events, int room, const struct timespec *timeout) {
  (void)timeout;
  if (queue != next_queue) return fake_fail(EBADF, -1);
  if (count == 1) return watch(changes, events);
  int given = happened_count < room ? happened_count : room;
  for (int i = 0; i < given; i++) events[i] = happened[i];
  happened_count = 0;
  return given;
}
