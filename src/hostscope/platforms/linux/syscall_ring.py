"""System calls by eBPF programs on sys_enter and sys_exit, through a ring: the processes never stop.

Source: raw_syscalls as BTF tracepoints, ring buffer (5.8), task storage (5.11), bpf_find_vma (5.17).
Cost: while attached, every system call of the host runs through a test of one bit, about 0.1 us; a chosen call of a
traced process 0.2 us, with its beginning (durations, paths, mprotect that adds PROT_EXEC) twice that.
"""

import struct
from collections.abc import Callable, Iterator

from hostscope.errors import Error, Gone, Mismatch, Unsupported
from hostscope.model.event import Loss
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.event_stream import Happening
from hostscope.platforms.linux import syscall_names
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.parse import PF_KTHREAD, parse_stat
from hostscope.platforms.linux.ptrace_stop import ENDED
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.syscall_arguments import Decoder
from hostscope.platforms.linux.syscall_record import Kind, parse_call, parse_head
from hostscope.platforms.tally import Tally

RING_FULL = "the kernel's ring was full: calls came faster than they were read"
FOREIGN = "{} calls by a 32-bit interface (int 0x80, x32, 32-bit programs) are not decoded"
ENDLESS = ("exit", "exit_group")
"""Calls that do not come back: they are told of when they begin."""
CHANGING = ("rt_sigreturn",)
"""Calls that come back as another, for who asks as they do."""
BEARING = ("fork", "vfork", "clone", "clone3")
"""Calls that come back twice, to the child with 0."""
REPLACING = ("execve", "execveat")
"""Calls after which the arguments are gone."""
PROTECTING = ("mprotect", "pkey_mprotect")
PROGRAMS = ("on_leave", "on_fork", "on_end")
_CALLS = 512
_PID = struct.Struct("=I")


def constants(chosen: frozenset[int], request: TraceRequest, machine: str) -> dict[str, int | bytes]:
    """What the programs must know."""
    number = syscall_names.numbers(machine)
    name = syscall_names.names(machine)
    texts = {n: syscall_names.paths(name[n], machine) for n in chosen}
    addresses = {n: place for n in chosen if (place := syscall_names.address(name[n], machine)) is not None}
    texts |= {n: (place,) for n, place in addresses.items()}
    endless = {number[one] for one in (*ENDLESS, *CHANGING)} & chosen
    special = {number[one] for one in (*REPLACING, *PROTECTING)} & chosen
    entered = chosen if request.durations else endless | special | {n for n, which in texts.items() if which}
    return {
        "wanted": _bits(chosen - endless),
        "entered": _bits(frozenset(entered)),
        "endless": _bits(frozenset(endless)),
        "texts": bytes(sum(1 << place for place in texts.get(n, ())) for n in range(_CALLS)),
        "addresses": _bits(frozenset(addresses)),
        "children": int(request.children),
        "durations": int(request.durations),
    }


def _bits(numbers: frozenset[int]) -> bytes:
    return sum(1 << n for n in numbers if n < _CALLS).to_bytes(_CALLS // 8, "little")


def programs_for(given: dict[str, int | bytes]) -> tuple[str, ...]:
    """The programs that are needed: none at the beginning of calls when nobody looks there. Children come last, so that
    nothing runs for a process whose end would not be told."""
    entered = given["entered"]
    return (("on_enter",) if isinstance(entered, bytes) and any(entered) else ()) + PROGRAMS


class SyscallRing:
    """Reads the ring of attached programs, and knows which processes are still traced."""

    def __init__(self, programs: Programs, boot: Boot, machine: str) -> None:
        self._programs, self._boot = programs, boot
        self._ring, self._lost = programs.ring("ring"), programs.variable("lost")
        self._traced = programs.map("traced")
        self._decoder = Decoder(machine)
        number = syscall_names.numbers(machine)
        self._bearing = frozenset(number[name] for name in BEARING if name in number)
        self._told = 0
        self.unseen = 0
        """Calls of mprotect before which nobody could look at the memory: whether they are w-to-x is not known."""
        self._alive: set[int] = set()
        self._keys: dict[tuple[int, int], ProcessKey] = {}

    def follow(self, key: ProcessKey) -> None:
        """Traces a process from now on.

        Raises:
            Gone, Mismatch, Unsupported
        """
        self._traced.update(_PID.pack(key.pid), _PID.pack(1))
        self._alive.add(key.pid)
        try:
            check_identity(self._boot, key)  # after, so that it was this one's pid all along
        except Error:
            self._traced.delete(_PID.pack(key.pid))
            self._alive.discard(key.pid)
            raise

    def read(self) -> Iterator[Happening]:
        """What is in the ring now, a few MiB at most; losses stand where they happened."""
        decode = self._decoder.decode
        for raw in self._ring.read():
            head = parse_head(raw)
            if head.lost > self._told:
                yield self._loss(head.at, head.lost)
            if head.kind == Kind.CALL:
                call = parse_call(raw, head)
                if call.result == 0 and call.number in self._bearing:
                    continue  # the child's return from what its parent called
                self.unseen += call.was_writable is None
                key = self._keys.get((head.pid, head.start)) or self._key(head.pid, head.start)
                yield Happening(head.at, key, decode(call, head.tid))
            elif head.kind == Kind.BEGUN:
                self._alive.add(head.pid)
            else:
                self._alive.discard(head.pid)

    def _key(self, pid: int, start: int) -> ProcessKey:
        if len(self._keys) > _CALLS:
            self._keys.clear()
        key = self._keys[pid, start] = self._boot.key(pid, start // TICK_NS)
        return key

    @property
    def pending(self) -> bool:
        """Whether records wait in the ring."""
        return self._ring.pending_bytes > 0

    def over(self) -> bool:
        """Whether no traced process is left. After a loss, which may be of births and ends, the kernel's list tells."""
        return self._traced.read().number == 0 if self._lost.value > 0 else not self._alive

    def rest(self) -> Iterator[Happening]:
        """What was lost after the last record."""
        if self._lost.value > self._told:
            yield self._loss(0, self._lost.value)

    @property
    def foreign(self) -> int:
        """Calls of 32-bit programs, which have other numbers: counted, not decoded."""
        return self._programs.variable("foreign").value

    def _loss(self, at: int, lost: int) -> Happening:
        missing, self._told = lost - self._told, lost
        return Happening(at, None, Loss(missing, RING_FULL))


def each_present(
    keys: tuple[ProcessKey, ...], tally: Tally, step: Callable[[ProcessKey], None]
) -> tuple[ProcessKey, ...]:
    """Does something with each process: those that are there. Of several, those that ended meanwhile are counted.

    Raises:
        Gone: all of them have ended. Whatever else `step` raises.
    """
    gone: dict[ProcessKey, Gone] = {}
    for key in keys:
        try:
            step(key)
        except Gone as failed:
            gone[key] = failed
    if keys and len(gone) == len(keys):
        raise gone[keys[0]]
    tally.vanished += len(gone)
    return tuple(key for key in keys if key not in gone)


def check_identity(boot: Boot, key: ProcessKey) -> None:
    """Raises `Gone` or `Mismatch` unless the pid is this very process's, and a thread of it still runs; `Unsupported`
    for what makes no calls."""
    try:
        stat = parse_stat(read_file(f"/proc/{key.pid}/stat"))
    except (OSError, ValueError) as failed:
        raise Gone(f"process {key.pid}: there is no such process") from failed
    if not boot.key(key.pid, stat.start).same(key):
        raise Mismatch(f"process {key.pid} is not the one that was meant: its start differs")
    if stat.state in ENDED and stat.threads <= 1:  # a first thread that ended is counted as long as others run
        raise Gone(f"process {key.pid} has ended; its parent has not waited for it")
    if stat.flags & PF_KTHREAD:
        raise Unsupported(f"process {key.pid} is a kernel thread, which makes no system calls")
