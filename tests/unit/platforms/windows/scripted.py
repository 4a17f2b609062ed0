"""What the kernel would answer, as the very bytes it would write."""

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from hostscope.platforms.windows.native import ntdll
from hostscope.platforms.windows.native.library import Library

BOOTED = 133_700_000_000_000_000
"""A FILETIME in September 2024."""


@dataclass(frozen=True)
class Thread:
    """One thread of a scripted process."""

    tid: int
    state: int = 5
    reason: int = 6
    start_address: int = 0x7FF6_0000_1000
    created: int = BOOTED
    user_time: int = 0
    kernel_time: int = 0
    switches: int = 0


@dataclass(frozen=True)
class Program:
    """One scripted process; `fields` are further ones of SYSTEM_PROCESS_INFORMATION."""

    pid: int
    name: str
    ppid: int = 0
    created: int = BOOTED
    threads: tuple[Thread, ...] = ()
    session: int = 1
    handles: int = 50
    fields: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    io: dict[str, int] = field(default_factory=dict)
    private_resident: int = 0
    hard_faults: int = 0


def listing(programs: Iterable[Program], address: int) -> bytes:
    """An answer of SystemProcessInformation that stands at `address`."""
    parts: list[bytes] = []
    at, every = address, list(programs)
    for number, program in enumerate(every):
        part = _entry(program, at, last=number == len(every) - 1)
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _entry(program: Program, at: int, last: bool) -> bytes:
    name = program.name.encode("utf-16-le", "surrogatepass")
    threads = b"".join(bytes(_thread(program.pid, thread)) for thread in program.threads)
    head = ntdll.SYSTEM_PROCESS_INFORMATION()
    names_at = ctypes.sizeof(head) + len(threads)
    size = (names_at + len(name) + 2 + 7) & ~7
    head.NextEntryOffset = 0 if last else size
    head.NumberOfThreads = len(program.threads)
    head.CreateTime = program.created
    head.ImageName = ntdll.UNICODE_STRING(len(name), len(name) + 2, at + names_at if name else None)
    head.UniqueProcessId, head.InheritedFromUniqueProcessId = program.pid, program.ppid
    head.HandleCount, head.SessionId = program.handles, program.session
    head.Reserved[0], head.Reserved[1] = program.private_resident, program.hard_faults
    for values, into in (
        (program.fields, head),
        (program.memory, head.VirtualMemoryCounters),
        (program.io, head.IoCounters),
    ):
        for key, value in values.items():
            setattr(into, key, value)
    return (bytes(head) + threads + name).ljust(size, b"\0")


def _thread(pid: int, thread: Thread) -> ntdll.SYSTEM_THREAD_INFORMATION:
    entry = ntdll.SYSTEM_THREAD_INFORMATION()
    entry.Reserved1[0], entry.Reserved1[1], entry.Reserved1[2] = thread.kernel_time, thread.user_time, thread.created
    entry.StartAddress, entry.ClientId = thread.start_address, ntdll.CLIENT_ID(pid, thread.tid)
    entry.ThreadState, entry.WaitReason, entry.Reserved3 = thread.state, thread.reason, thread.switches
    return entry


class System:
    """NtQuerySystemInformation; what it does not know it answers as Windows does: there is no such class."""

    def __init__(self, programs: Iterable[Program] = ()) -> None:
        self.programs = list(programs)
        self.answers: dict[int, Callable[[int], bytes]] = {
            ntdll.SystemProcessInformation: lambda address: listing(self.programs, address),
            ntdll.SystemTimeOfDayInformation: lambda _: time_of_day(BOOTED, 0),
        }
        self.refusals: dict[int, int] = {}
        self.calls: list[int] = []

    def __call__(self, kind: int, buffer: Any, size: int, needed: Any) -> int:
        self.calls.append(kind)
        if kind in self.refusals:
            return self.refusals[kind]
        if kind not in self.answers:
            return ctypes.c_int32(0xC0000003).value
        answer = self.answers[kind](ctypes.addressof(buffer))
        needed._obj.value = len(answer)
        if len(answer) > size:
            return ctypes.c_int32(ntdll.STATUS_INFO_LENGTH_MISMATCH).value
        ctypes.memmove(buffer, answer, len(answer))
        return 0


def time_of_day(booted: int, bias: int) -> bytes:
    """An answer of SystemTimeOfDayInformation: 48 bytes."""
    answer = ntdll.SYSTEM_TIMEOFDAY_INFORMATION(booted, booted + 10_000_000, 0, 0)
    return bytes(answer)[:32] + bias.to_bytes(8, "little", signed=True) + bytes(8)


def script(monkeypatch: pytest.MonkeyPatch, library: Library, **functions: Callable[..., Any]) -> None:
    """What functions of a DLL answer from now on. (`monkeypatch.setattr` would look for the real ones first.)"""
    for name, answer in functions.items():
        assert name in library.signatures
        monkeypatch.setitem(vars(library), name, answer)
