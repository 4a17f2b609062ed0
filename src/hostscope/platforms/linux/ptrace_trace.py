"""System calls by stopping the process at each of them: for those who may not load eBPF programs.

Threads are attached with PTRACE_SEIZE, new ones by the kernel. Signals go on to the thread that they were for; a thread
that job control stopped stays stopped (PTRACE_LISTEN); when we end, however that is, the kernel lets all of them go,
because PTRACE_O_EXITKILL is not set. A normal end stops each thread once more, to detach it with the signal that it was
on its way to.

The tracer is a thread, so the generator must be used by one thread only, and it is that thread's children and tracees
which are waited for, nobody else's. Waiting has no time limit in the kernel; what ends it is the end of a small child
of our own, which waits for a pipe to close.

Source: ptrace(2), PTRACE_GET_SYSCALL_INFO (5.3).
"""

import errno
import os
import platform
import signal
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from hostscope.errors import Denied, Gone, Unsupported
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.linux import syscall_names
from hostscope.platforms.linux.clock import Boot, since_boot_ns
from hostscope.platforms.linux.native import ptrace
from hostscope.platforms.linux.parse import parse_stat, parse_tgid
from hostscope.platforms.linux.parse_detail import numbers
from hostscope.platforms.linux.privileges import Privileges, granting, lacking
from hostscope.platforms.linux.ptrace_peek import PATH_BYTES, Peek
from hostscope.platforms.linux.ptrace_stop import ENDED, TRACE_OTHERS, tracer_of
from hostscope.platforms.linux.read import PATH_ONLY, list_at, read_file, read_text
from hostscope.platforms.linux.syscall_arguments import Decoder
from hostscope.platforms.linux.syscall_record import Call
from hostscope.platforms.linux.syscall_ring import ENDLESS, FOREIGN, PROTECTING, check_identity, each_present
from hostscope.platforms.tally import Tally

ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""AUDIT_ARCH_*, include/uapi/linux/audit.h."""
OPTIONS = ptrace.TRACE_CALLS | ptrace.TRACE_FORK | ptrace.TRACE_VFORK | ptrace.TRACE_CLONE | ptrace.TRACE_EXEC
_ENTRY, _EXIT = 1, 2
_INFO = struct.Struct("<B3xIQQQ6Q")
_RESULT = struct.Struct("<q")
_RESULT_AT = 24
_CALL_STOP = signal.SIGTRAP | 0x80
_CALL_STATUS = _CALL_STOP << 8 | 0x7F
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_BORN = frozenset({ptrace.EVENT_FORK, ptrace.EVENT_VFORK, ptrace.EVENT_CLONE})
_WAIT = ptrace.WAIT_ALL | ptrace.WAIT_OUR_THREAD
_EXEC_BIT = 4
_X32 = 30
"""The bit that the numbers of the x32 ABI's calls have, and -1 with all those above it."""
_PATIENCE_S = 2.0
YAMA = "/proc/sys/kernel/yama/ptrace_scope"


class _Thread:
    """A traced thread."""

    __slots__ = ("began", "call", "idle", "key", "pid")

    def __init__(self, pid: int, key: ProcessKey) -> None:
        self.pid, self.key = pid, key
        self.call: Call | None = None
        """The one it is in, if that is wanted."""
        self.idle = False
        """In a call that nobody wants: its end needs no look."""
        self.began = 0


class PtraceTrace:
    """Traces processes with all their threads. All methods are for one and the same thread of ours."""

    def __init__(self, boot: Boot, request: TraceRequest, machine: str, statuses: dict[int, int]) -> None:
        """`statuses` gets the wait status of each traced process that is a child of ours, as nobody else will."""
        self._boot, self._request, self._statuses = boot, request, statuses
        self._architecture = ARCHITECTURES[machine]
        self._wanted = syscall_names.choose(request.calls, machine)
        name = syscall_names.names(machine)
        self._endless = {n for n in self._wanted if name[n] in ENDLESS}
        self._protecting = {n for n in self._wanted if name[n] in PROTECTING}
        self._paths = {n: syscall_names.paths(name[n], machine) for n in self._wanted}
        self._decoder, self._info = Decoder(machine), ptrace.CallInfo()
        self._addresses = {n: at for n in self._wanted if (at := syscall_names.address(name[n], machine)) is not None}
        self._peek = Peek()
        self._threads: dict[int, _Thread] = {}
        self._strangers: set[int] = set()
        """Started by a traced process, and not to be traced."""
        self.foreign = 0

    def attach(self, key: ProcessKey) -> None:
        """Attaches to all threads; new ones may come while we do, so the list is read until it names no more.

        Raises:
            Gone, Denied, Mismatch, Unsupported
        """
        check_identity(self._boot, key)
        asked: set[int] = set()
        while new := [tid for tid in _threads(key.pid) if tid not in asked]:
            asked.update(new)
            for tid in new:
                self._seize(tid, key)
        if not any(thread.key == key for thread in self._threads.values()):
            raise Gone(f"process {key.pid}: there is no such process")
        check_identity(self._boot, key)  # so that it was this one's pid all along

    def _seize(self, tid: int, key: ProcessKey) -> None:
        try:
            ptrace.seize_with(tid, OPTIONS)
            self._threads[tid] = _Thread(key.pid, key)
            ptrace.interrupt(tid)
        except OSError as failed:
            if failed.errno == errno.ESRCH:
                return
            if failed.errno != errno.EPERM:
                raise Unsupported(f"process {key.pid} cannot be traced: {failed.strerror}") from failed
            if tid in self._threads or _has_ended(key.pid, tid):
                return  # attached by the kernel as its parent's child, or ended
            raise refusal(key.pid) from failed

    # The loop -------------------------------------------------------------------------------------------------------

    def calls(self, stop: threading.Event) -> Iterator[Happening]:
        """Calls as they return, until `stop` or until nobody is left."""
        alarm = _Alarm(stop)
        try:
            while self._threads and not stop.is_set():
                try:
                    tid, status = os.waitpid(-1, _WAIT)
                except ChildProcessError:
                    return
                if status == _CALL_STATUS and tid in self._threads:  # the usual stop, without detours
                    happening = self._at_call(tid, self._threads[tid])
                    if happening is not None:
                        yield happening
                elif tid != alarm.pid:
                    self._stopped(tid, status)
        finally:
            self.release()
            alarm.close()

    def _at_call(self, tid: int, thread: _Thread) -> Happening | None:
        """Looks, lets the thread go on, and only then makes sense of what was seen."""
        done = None
        try:
            if thread.idle:
                thread.idle = False
            else:
                done = self._look(tid, thread)
            ptrace.go_on(tid, 0)
        except OSError:  # killed meanwhile; its end is told by waitpid
            thread.call = None
        return Happening(0, thread.key, self._decoder.decode(done, tid)) if done is not None else None

    def _look(self, tid: int, thread: _Thread) -> Call | None:
        """The call that returned, or never will; None for all other stops."""
        raw = self._info.read(tid)
        operation = raw[0]
        if operation == _EXIT:
            call, thread.call = thread.call, None
            return None if call is None else self._returned(thread, call, _RESULT.unpack_from(raw, _RESULT_AT)[0])
        if operation != _ENTRY:
            return None
        _, architecture, _, _, number, *arguments = _INFO.unpack_from(raw)
        if architecture != self._architecture or number >> _X32 == 1:
            self.foreign += 1
            thread.idle = True
            return None
        if number not in self._wanted:
            thread.idle = True
            return None
        thread.call = self._entered(tid, thread.pid, number, tuple(arguments))
        if self._request.durations:
            thread.began = time.monotonic_ns()
        return thread.call if number in self._endless else None

    def _entered(self, tid: int, pid: int, number: int, arguments: tuple[int, ...]) -> Call:
        texts: tuple[bytes | None, ...] = ()
        cut: tuple[int, ...] = ()
        if places := self._paths[number]:
            texts = tuple(self._peek.path(pid, arguments[place], tid) for place in places)
            cut = tuple(slot for slot, text in enumerate(texts) if text is not None and len(text) == PATH_BYTES)
        elif (at := self._addresses.get(number)) is not None:
            texts = (self._peek.address(pid, arguments[at], arguments[at + 1], tid),)
        writable = False
        if number in self._protecting and arguments[2] & _EXEC_BIT:
            writable = self._peek.is_writable(pid, arguments[0], arguments[1], tid)
        return Call(number, None, arguments, texts, was_writable=writable, cut=cut)

    def _returned(self, thread: _Thread, call: Call, result: int) -> Call:
        took = time.monotonic_ns() - thread.began if self._request.durations else None
        return Call(call.number, result, call.arguments, call.texts, took, call.was_writable, call.cut)

    def _stopped(self, tid: int, status: int) -> None:
        """Everything but calls: ends, births, signals, stops."""
        if not os.WIFSTOPPED(status):
            self._strangers.discard(tid)
            thread = self._threads.pop(tid, None)
            if thread is not None and thread.pid == tid:
                self._peek.forget(tid)
                self._statuses[tid] = status
            return
        number, event = os.WSTOPSIG(status), status >> 16
        with suppress(OSError):  # killed meanwhile
            if tid not in self._threads:
                self._born(tid)
            if tid in self._strangers:
                self._strangers.discard(tid)
                ptrace.detach(tid, 0)
            elif event == ptrace.PTRACE_EVENT_STOP and number in _STOPPING:
                ptrace.listen(tid)
            elif event == ptrace.EVENT_EXEC:
                self._replaced(tid)
                ptrace.go_on(tid, 0)
            elif event in _BORN:
                self._expect(ptrace.event_message(tid), self._threads[tid])
                ptrace.go_on(tid, 0)
            else:
                ptrace.go_on(tid, 0 if event else number)

    def _replaced(self, tid: int) -> None:
        """The process runs another program. The thread that asked for it has the number of the first one now, and of
        that one nothing more is heard."""
        former = ptrace.event_message(tid)
        if former in self._threads:
            self._threads[tid] = self._threads.pop(former)
        self._peek.forget(self._threads[tid].pid)

    def _expect(self, tid: int, parent: _Thread) -> None:
        """A new thread or process, which is attached already; it may have stopped before we heard of it."""
        if tid in self._threads or tid in self._strangers:
            return
        pid = _process_of(tid)
        if pid is None:
            return
        self._add(tid, pid, parent.key if pid == parent.pid else self._key(pid))

    def _born(self, tid: int) -> None:
        pid = _process_of(tid)
        if pid is not None:
            known = next((thread.key for thread in self._threads.values() if thread.pid == pid), None)
            self._add(tid, pid, known or self._key(pid))

    def _add(self, tid: int, pid: int, key: ProcessKey | None) -> None:
        ours = any(thread.pid == pid for thread in self._threads.values())
        if key is None or (not ours and not self._request.children):
            self._strangers.add(tid)
        else:
            self._strangers.discard(tid)  # another one of that number
            self._threads[tid] = _Thread(pid, key)

    def _key(self, pid: int) -> ProcessKey | None:
        try:
            return self._boot.key(pid, parse_stat(read_file(f"/proc/{pid}/stat")).start)
        except (OSError, ValueError):
            return None

    # The end --------------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Detaches from every thread, each with the signal that it was on its way to."""
        waiting = set(self._threads)
        for tid in self._threads:
            with suppress(OSError):
                ptrace.interrupt(tid)
        deadline = time.monotonic() + _PATIENCE_S
        while waiting and time.monotonic() < deadline:
            try:
                tid, status = os.waitpid(-1, _WAIT | os.WNOHANG)
            except ChildProcessError:
                break
            if tid == 0:
                time.sleep(0.0005)
            else:
                waiting.discard(tid)
                self._let_go(tid, status)
        self._peek.close()
        self._threads.clear()  # one that sleeps uninterruptibly is let go of by the kernel, when this thread ends

    def _let_go(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._stopped(tid, status)
            return
        number, event = os.WSTOPSIG(status), status >> 16
        delivered = 0 if event or number == _CALL_STOP else number
        with suppress(OSError):
            if event in _BORN:
                newborn = ptrace.event_message(tid)
                if newborn not in self._threads:
                    self._wait_for(newborn)
            ptrace.detach(tid, delivered)

    def _wait_for(self, tid: int) -> None:
        """A child that was born in this very moment stops once."""
        with suppress(ChildProcessError):  # it did so before we heard of its birth, and was let go
            found, status = os.waitpid(tid, _WAIT)
            if found and os.WIFSTOPPED(status):
                ptrace.detach(tid, 0)


def trace(
    boot: Boot,
    privileges: Privileges,
    request: TraceRequest,
    stop: threading.Event,
    tally: Tally,
    statuses: dict[int, int],
) -> Iterator[Event]:
    """Calls as they return until `stop`, or until the last traced process has ended; attached at once.

    Raises:
        UsageError: `request` names no call of this machine, or no method of this system.
        Gone, Denied, Mismatch, Unsupported
    """
    syscall_names.check(request)
    events = _events(boot, privileges, request, stop, tally, statuses)
    return chain((next(events),), events)


def _events(
    boot: Boot,
    privileges: Privileges,
    request: TraceRequest,
    stop: threading.Event,
    tally: Tally,
    statuses: dict[int, int],
) -> Iterator[Event]:
    pids = ", ".join(str(key.pid) for key in request.keys)
    with privileges.using(TRACE_OTHERS, f"trace system calls of process {pids}"):
        tracer = PtraceTrace(boot, request, platform.machine(), statuses)
        tally.method = "ptrace"
        tally.effects.append(f"process {pids} was stopped at each of its system calls")
        numbering = Numbering("ptrace", tally, since_boot_ns)
        try:
            each_present(request.keys, tally, tracer.attach)
            yield numbering.coverage()
            for happening in tracer.calls(stop):
                yield numbering.event(happening)
        finally:
            tracer.release()
        if tracer.foreign:
            tally.skipped += tracer.foreign
            tally.note(FOREIGN.format(tracer.foreign))


class _Alarm:
    """A child that ends when `stop` is set, or when we do."""

    def __init__(self, stop: threading.Event) -> None:
        reading, self._writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads: the child does nothing that needs them
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writing)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        self._stop = stop
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._ring, name="alarm", daemon=True)
        self._watch.start()

    def _ring(self) -> None:
        while not self._stop.wait(0.1) and not self._over.is_set():
            pass
        with suppress(OSError):
            os.write(self._writing, b"x")

    def close(self) -> None:
        self._over.set()
        self._watch.join()
        os.close(self._writing)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _threads(pid: int) -> list[int]:
    try:
        directory = os.open(f"/proc/{pid}", PATH_ONLY)
    except OSError:
        return []
    try:
        return numbers(list_at(directory, "task"))
    except OSError:
        return []
    finally:
        os.close(directory)


def _has_ended(pid: int, tid: int) -> bool:
    """A first thread that ended before the others is refused as if it were another user's."""
    try:
        return parse_stat(read_file(f"/proc/{pid}/task/{tid}/stat")).state in ENDED
    except (OSError, ValueError):
        return True


def _process_of(tid: int) -> int | None:
    try:
        return parse_tgid(read_file(f"/proc/{tid}/status"))
    except (OSError, ValueError):
        return None


def refusal(pid: int) -> Denied:
    """Why a process may not be traced, as far as it can be seen."""
    if tracer := tracer_of(pid):
        return Denied(f"process {pid} is traced by process {tracer} already")
    scope = read_text(YAMA)
    if scope not in (None, "0"):
        yama = f"Yama restricts tracing (kernel.yama.ptrace_scope={scope}): needs CAP_SYS_PTRACE"
        return Denied(f"process {pid}: tracing is denied", f"{yama}, or start it yourself with trace --")
    missing = lacking(("sys_ptrace",))
    hint = f"needs root (CAP_SYS_PTRACE) or the process's own user{granting(missing)}"
    return Denied(f"process {pid}: tracing is denied{missing}", hint)
