"""System calls of processes, seen by eBPF programs without touching the processes."""

import platform
import threading
from collections.abc import Iterator
from itertools import chain

from hostscope.errors import Unsupported
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.linux import iterator, syscall_names
from hostscope.platforms.linux.clock import Boot, since_boot_ns
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.program_cache import load_image
from hostscope.platforms.linux.syscall_names import EBPF, PTRACE, check
from hostscope.platforms.linux.syscall_ring import (
    FOREIGN,
    SyscallRing,
    check_identity,
    constants,
    each_present,
    programs_for,
)
from hostscope.platforms.tally import Tally

LOAD_PROGRAMS = ("bpf", "perfmon")
PAUSE_S = 0.01
COST = "while this runs, every system call of the host takes about 0.1 us longer"


class Syscalls:
    """Implements `hostscope.platforms.base.Syscalls`."""

    def __init__(self, boot: Boot, privileges: Privileges) -> None:
        self._boot, self._privileges = boot, privileges

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Calls as they return until `stop`, or until the last traced process has ended.

        Raises:
            UsageError: `request` names no call or method of this system.
            Gone, Denied, Mismatch, Unsupported

        Needs: CAP_BPF and CAP_PERFMON.
        """
        check(request)
        if request.method == PTRACE:
            raise Unsupported("ptrace stops the process: it is no way of looking only")
        events = self._stream(request, stop, tally)
        return chain((next(events),), events)

    def _stream(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        if obstacle := iterator.obstacle():
            raise Unsupported(obstacle)
        keys = each_present(request.keys, tally, lambda key: check_identity(self._boot, key))
        machine = platform.machine()
        given = constants(syscall_names.choose(request.calls, machine), request, machine)
        found = load_image("syscalls")
        with Programs(found.image, given) as programs:
            tally.method = EBPF
            names = programs_for(given)
            ring = self._attach(programs, names, keys, tally)
            if found.note:
                tally.note(f"eBPF programs: {found.note}")
            numbering = Numbering(EBPF, tally, since_boot_ns)
            yield numbering.coverage()
            for happening in _follow(ring, programs, names, stop):
                yield numbering.event(happening)
            if ring.unseen:
                tally.note(f"{ring.unseen} calls of mprotect were not looked at for w-to-x: the memory map was busy")
            if ring.foreign:
                tally.note(FOREIGN.format(ring.foreign))
                tally.skipped += ring.foreign

    def _attach(
        self, programs: Programs, names: tuple[str, ...], keys: tuple[ProcessKey, ...], tally: Tally
    ) -> SyscallRing:
        with self._privileges.using(LOAD_PROGRAMS, "trace system calls"):
            for name in names:
                programs.attach(name)
            ring = SyscallRing(programs, self._boot, platform.machine())
            each_present(keys, tally, ring.follow)
        tally.effects.append("eBPF programs on the tracepoints of system calls, sched_process_fork, sched_process_exit")
        tally.note(COST)
        return ring


def _follow(
    ring: SyscallRing, programs: Programs, names: tuple[str, ...], stop: threading.Event
) -> Iterator[Happening]:
    """Until `stop` or the end of the last process; then the programs are detached, and what they wrote is given."""
    while not stop.is_set():
        anything = False
        for happening in ring.read():
            anything = True
            yield happening
        if anything:
            continue
        if ring.over():
            break
        stop.wait(PAUSE_S)
    for name in names:
        programs.detach(name)
    while ring.pending:
        yield from ring.read()
    yield from ring.rest()
