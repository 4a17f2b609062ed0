"""Stopping the threads of a process for their registers, or all of them for a consistent image.

The kernel lets a tracee run on when its tracer ends, whatever ended it: kill -9 of us included. SIGSTOP and the freezer
have no such promise. The tracer is a thread, not a process, so all calls are made by one thread of ours that lives as
long as the stop: its end detaches what nothing else could (a thread asleep in the kernel that never stopped).

A thread that its process's job control had stopped stays so: PTRACE_SEIZE, unlike PTRACE_ATTACH, keeps group-stops. A
signal that was on its way to the thread at the moment is delivered when it is let go.

Source: ptrace(2).
"""

import errno
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic_ns, sleep

from msgspec import Struct
from msgspec.structs import replace

from hostscope.errors import Denied, Error, Gone, Mismatch
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.text import decode
from hostscope.platforms.linux import translate
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.parse import parse_stat, parse_tracer
from hostscope.platforms.linux.parse_detail import numbers
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.read import PATH_ONLY, list_at, read_at, read_file, read_text

TRACE_OTHERS = ("sys_ptrace", "dac_read_search")
NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE, NT_ARM_TLS, NT_ARM_SYSTEM_CALL = 1, 2, 0x202, 0x401, 0x404
"""include/uapi/linux/elf.h."""
OTHER_SETS = {"x86_64": (), "aarch64": (NT_ARM_TLS, NT_ARM_SYSTEM_CALL)}
REGISTERS_MOST, EXTENDED_MOST = 1024, 1 << 16
PATIENCE_NS = 2_000_000_000
"""How long a thread may take to stop. One that sleeps uninterruptibly (a dead NFS server, vfork) never does."""
NEXT_PATIENCE_NS = 20_000_000
"""The same for others that sleep so, once one did not stop: where one waits for a server there are hundreds."""
_SPINS = 200
_PAUSE_S = 0.0002
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
ENDED = ("zombie", "dead")


class _Stop(Struct, frozen=True):
    """How a thread came to stand still."""

    signal: int = 0
    """On its way to the thread; it gets it when it is let go."""
    began_ns: int = 0


class Stopper:
    """Stops the threads of one process. All methods are for one and the same thread of ours."""

    def __init__(self, directory: int) -> None:
        """`directory` is /proc/PID, which stays with its process."""
        self._directory = directory
        self._stopped: dict[int, _Stop] = {}
        self._facts: dict[int, _Facts] = {}

    def each(self) -> Iterator[ThreadState]:
        """Every thread, stopped for the moment that its registers take, one after the other."""
        patience_ns = PATIENCE_NS
        for tid in self._threads():
            began = self._ask(tid)
            if began is None:
                continue
            asleep = self._facts[tid].state == "disk-sleep"
            allowed_ns = patience_ns if asleep else PATIENCE_NS
            if not self._wait(tid, began, allowed_ns):
                yield self._state(tid, self._why_stuck(tid, allowed_ns))
                patience_ns = NEXT_PATIENCE_NS
            elif tid in self._stopped:
                state = self._state(tid, None)
                yield replace(state, stopped_ns=self._let_go(tid, self._stopped.pop(tid)))

    def all(self) -> Iterator[ThreadState]:
        """Every thread, all of them stopped before the first is given.

        A thread that is not stopped yet can start new ones, so the list is read until it names no thread that is not
        known.
        """
        stuck: dict[int, str] = {}
        known: set[int] = set()
        while new := [tid for tid in self._threads() if tid not in known]:
            known.update(new)
            asked = {tid: began for tid in new if (began := self._ask(tid)) is not None}
            for tid, began in asked.items():
                if not self._wait(tid, began, PATIENCE_NS):
                    stuck[tid] = self._why_stuck(tid, PATIENCE_NS)
        for tid in sorted(self._stopped.keys() | stuck.keys()):
            yield self._state(tid, stuck.get(tid))

    def release(self) -> None:
        """Lets all threads go on."""
        stopped, self._stopped = self._stopped, {}
        for tid, stop in stopped.items():
            self._let_go(tid, stop)

    def _threads(self) -> list[int]:
        try:
            return numbers(list_at(self._directory, "task"))
        except OSError:
            return []  # it ended

    def _ask(self, tid: int) -> int | None:
        """Attaches and asks to stop; when. None for a thread that has ended.

        Raises:
            OSError: EPERM.
        """
        from hostscope.platforms.linux.native import ptrace

        self._facts[tid] = _read_facts(self._directory, tid)
        try:
            ptrace.seize(tid)
            began = monotonic_ns()
            ptrace.interrupt(tid)
        except OSError as failed:
            if failed.errno == errno.ESRCH or self._has_ended(tid):
                return None
            raise
        return began

    def _has_ended(self, tid: int) -> bool:
        """A zombie cannot be attached to either: EPERM."""
        try:
            return parse_stat(read_at(self._directory, f"task/{tid}/stat")).state in ENDED
        except (OSError, ValueError):
            return True

    def _wait(self, tid: int, began: int, patience_ns: int) -> bool:
        """Whether the thread stands still, or ended instead; False when it does neither in time."""
        from hostscope.platforms.linux.native.ptrace import PTRACE_EVENT_STOP, WAIT_ALL

        deadline, looks = began + patience_ns, 0
        while True:
            try:
                found, status = os.waitpid(tid, os.WNOHANG | WAIT_ALL)
            except ChildProcessError:
                return True  # it ended, and its process reaped it
            if found:
                break
            looks += 1
            if looks > _SPINS:
                if monotonic_ns() > deadline:
                    return False
                sleep(_PAUSE_S)
        if os.WIFSTOPPED(status):
            ours = status >> 16 == PTRACE_EVENT_STOP
            self._stopped[tid] = _Stop(0 if ours else os.WSTOPSIG(status), began)
            if self._has_ended(tid):  # the number is another process's thread by now, or it is being killed
                self._let_go(tid, self._stopped.pop(tid))
        return True

    def _why_stuck(self, tid: int, patience_ns: int) -> str:
        """With where it sleeps, as far as the kernel says it: wait_for_vfork_done, a file system's function…"""
        try:
            place = decode(read_at(self._directory, f"task/{tid}/wchan"))
            state = parse_stat(read_at(self._directory, f"task/{tid}/stat")).state
        except (OSError, ValueError):
            place, state = "", ""
        where = ", ".join(word for word in (state, "" if place == "0" else place) if word)
        return f"it did not stop in {patience_ns / 1e9:g} s: it sleeps in the kernel ({where or 'unknown where'})"

    def _let_go(self, tid: int, stop: _Stop) -> int:
        from hostscope.platforms.linux.native import ptrace

        with suppress(OSError):  # it was killed meanwhile
            ptrace.detach(tid, stop.signal)
        return monotonic_ns() - stop.began_ns

    def _state(self, tid: int, unread: str | None) -> ThreadState:
        from hostscope.platforms.linux.native import ptrace

        facts = self._facts.get(tid, _Facts())
        stop = self._stopped.get(tid)
        if stop is None:
            return ThreadState(tid, facts.name, b"", state=facts.state, unread=unread or "it ended")
        try:
            registers = ptrace.register_set(tid, NT_PRSTATUS, REGISTERS_MOST)
        except OSError as failed:
            why = f"registers: {failed.strerror}"
            return ThreadState(tid, facts.name, b"", asked_mono_ns=stop.began_ns, state=facts.state, unread=why)
        return ThreadState(
            tid=tid,
            name=facts.name,
            registers=registers,
            float_registers=_optional(tid, NT_PRFPREG, REGISTERS_MOST),
            extended_registers=_optional(tid, NT_X86_XSTATE, EXTENDED_MOST) if _machine() == "x86_64" else b"",
            signal=stop.signal,
            signal_info=_signal_info(tid),
            asked_mono_ns=stop.began_ns,
            state=facts.state,
            pending_signals=facts.pending,
            blocked_signals=facts.blocked,
            user_ns=facts.user_ns,
            system_ns=facts.system_ns,
            other_registers=tuple(
                (kind, held) for kind in OTHER_SETS.get(_machine(), ()) if (held := _optional(tid, kind, 64))
            ),
        )


class _Facts(Struct, frozen=True):
    """What /proc tells of a thread."""

    name: str = ""
    state: str = ""
    pending: int = 0
    blocked: int = 0
    user_ns: int = 0
    system_ns: int = 0


def _read_facts(directory: int, tid: int) -> _Facts:
    """Of a thread before it is stopped; empty when it has ended."""
    try:
        stat = parse_stat(read_at(directory, f"task/{tid}/stat"))
        lines = dict(line.split(b":\t", 1) for line in read_at(directory, f"task/{tid}/status").split(b"\n") if line)
        pending, blocked = (int(lines[name], 16) for name in (b"SigPnd", b"SigBlk"))
    except (OSError, ValueError, KeyError):
        return _Facts()
    user_ns, system_ns = stat.user_ticks * TICK_NS, stat.system_ticks * TICK_NS
    return _Facts(decode(stat.name), stat.state, pending, blocked, user_ns, system_ns)


def _optional(tid: int, kind: int, most_bytes: int) -> bytes:
    """A register set that not every processor has."""
    from hostscope.platforms.linux.native import ptrace

    try:
        return ptrace.register_set(tid, kind, most_bytes)
    except OSError:
        return b""


def _signal_info(tid: int) -> bytes:
    from hostscope.platforms.linux.native import ptrace

    try:
        return ptrace.signal_info(tid)
    except OSError:
        return b""  # a group-stop has none


def _machine() -> str:
    return platform.machine()


class _TracerThread:
    """A thread of ours that attaches, waits and detaches; what it raises is raised where it is asked."""

    def __init__(self, work: Callable[["_TracerThread"], None]) -> None:
        self.ready, self.done = threading.Event(), threading.Event()
        self.states: tuple[ThreadState, ...] = ()
        self._failed: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="tracer", daemon=True)

    def __enter__(self) -> "_TracerThread":
        return self

    def __exit__(self, *raised: object) -> None:
        self.done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        """Returns when the threads stand still, or what was asked of them is done."""
        self._thread.start()
        self.ready.wait()
        if self._failed:
            raise self._failed

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as failed:  # handed to the thread that asked
            self._failed = failed
        finally:
            self.ready.set()


@contextmanager
def freeze(boot: Boot, privileges: Privileges, key: ProcessKey) -> Iterator[tuple[ThreadState, ...]]:
    """Every thread stands still for the block, with registers, and runs on afterwards whatever happens to us.

    Raises:
        Gone, Denied, Mismatch
    """

    def work(tracer: _TracerThread) -> None:
        stopper = Stopper(directory)
        try:
            tracer.states = tuple(stopper.all())
            tracer.ready.set()
            tracer.done.wait()
        finally:
            stopper.release()

    with _directory(boot, privileges, key) as directory, _TracerThread(work) as tracer:
        # Threads have the capabilities that the one which starts them has at that moment.
        with privileges.using(TRACE_OTHERS, f"stop the threads of process {key.pid}"), _translated(key):
            tracer.start()
        yield tracer.states


def registers(boot: Boot, privileges: Privileges, key: ProcessKey) -> tuple[ThreadState, ...]:
    """The registers of every thread, each stopped for a moment.

    Raises:
        Gone, Denied, Mismatch
    """

    def work(tracer: _TracerThread) -> None:
        stopper = Stopper(directory)
        try:
            tracer.states = tuple(stopper.each())
        finally:
            stopper.release()

    with _directory(boot, privileges, key) as directory, _TracerThread(work) as tracer:
        with privileges.using(TRACE_OTHERS, f"read the registers of process {key.pid}"), _translated(key):
            tracer.start()
        return tracer.states


@contextmanager
def _directory(boot: Boot, privileges: Privileges, key: ProcessKey) -> Iterator[int]:
    with _translated(key), privileges.using(TRACE_OTHERS, f"find process {key.pid}"):
        directory = os.open(f"/proc/{key.pid}", PATH_ONLY)
    try:
        with _translated(key):
            start = parse_stat(read_at(directory, "stat")).start
        if not boot.key(key.pid, start).same(key):
            raise Mismatch(f"process {key.pid} is not the one that was meant: its start differs")
        yield directory
    finally:
        os.close(directory)


@contextmanager
def _translated(key: ProcessKey) -> Iterator[None]:
    try:
        yield
    except OSError as failed:
        if isinstance(failed, Error):
            raise
        if failed.errno in translate.REFUSED:
            raise _refused(key.pid) from failed
        if failed.errno in translate.VANISHED:
            raise Gone(f"process {key.pid}: there is no such process") from failed
        raise translate.error("ptrace", failed, key.pid) from failed


def _refused(pid: int) -> Denied:
    """With what stands in the way, as far as it can be seen."""
    tracer = tracer_of(pid)
    if tracer:
        return Denied(f"process {pid} is traced by process {tracer} already", "leave registers out: --no-registers")
    scope = read_text(YAMA)
    if scope not in (None, "0"):
        hint = f"Yama restricts tracing (kernel.yama.ptrace_scope={scope}): needs CAP_SYS_PTRACE; or --no-registers"
        return Denied(f"process {pid}: tracing is denied", hint)
    return Denied(f"process {pid}: tracing is denied", f"{translate.PTRACE_HINT}; or --no-registers")


def tracer_of(pid: int) -> int:
    """The process that traces one; 0 when none does, or it cannot be read."""
    try:
        return parse_tracer(read_file(f"/proc/{pid}/status"))
    except (OSError, ValueError):
        return 0
