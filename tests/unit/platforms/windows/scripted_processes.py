"""A Windows whose processes are scripted: every function that a row, or what a process holds, is read with."""

import ctypes
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from hostscope.model.process import Account, Process
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native import handles, memory, ntdll, paths, process, toolhelp
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.native.types import INVALID_HANDLE_VALUE
from hostscope.platforms.windows.parse_peb import NARROW, WIDE, Layout
from hostscope.platforms.windows.security_context import SecurityContext
from tests.unit.platforms.windows.scripted import Program, System, script

BOOT = Boot("guid:1", 0)
HANDLE = 0x10000
"""What is added to a pid to make a handle."""
PEB_AT, PARAMETERS_AT, STRINGS_AT = 0x10000, 0x20000, 0x30000
DENIED, NO_SUCH = 5, 87
NAMES = {"C:": "\\Device\\HarddiskVolume3"}


@dataclass
class Answers:
    """What one process answers when it is opened."""

    path: str = "C:\\Windows\\a.exe"
    command_line: str = "a.exe"
    directory: str = "C:\\Windows\\"
    environment: str = "A=1\0PATH=C:\\x\0"
    narrow: bool = False
    """A 32-bit process."""
    coy: bool = False
    """Its kernel says no more than that it is one, as Wine does."""
    emulated: int = 0
    computer: int = process.IMAGE_FILE_MACHINE_AMD64
    code: int = process.IMAGE_FILE_MACHINE_AMD64
    package: str | None = None
    priority: int = 0x20
    gdi: int = 3
    user: int = 4
    ended: int = 0
    created: int | None = None
    """Instead of what the list says."""


@dataclass
class Computer:
    """All functions, and what they refuse: by name, or name:class for those that have classes of information."""

    programs: list[Program]
    answers: dict[int, Answers] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)
    lacks: set[str] = field(default_factory=set)
    """Classes of information (as in `refuse`) that this Windows does not have."""
    open: set[int] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.system = System(self.programs)
        self.spaces: dict[int, dict[int, bytes]] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Computer":
        """Answers for all of its libraries from now on."""
        for library in (
            handles.kernel32, process.kernel32, process.psapi, process.user32, ntdll.ntdll, memory.kernel32,
            toolhelp.kernel32, paths.kernel32,
        ):  # fmt: skip
            script(
                monkeypatch, library, **{name: self._counted(name) for name in library.signatures if self._has(name)}
            )
        return self

    def _has(self, name: str) -> bool:
        return hasattr(self, f"_{name}")

    def _counted(self, name: str) -> Callable[..., Any]:
        answer, status = getattr(self, f"_{name}"), name.startswith("Nt")

        def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            place = name
            if status:
                place = f"{name}:{arguments[0 if name == 'NtQuerySystemInformation' else 1]}"
                if place in self.lacks:
                    return ctypes.c_int32(0xC0000003).value
            code = self.refuse.get(place, self.refuse.get(name))
            if code is None:
                return answer(*arguments)
            if status:
                return ctypes.c_int32(0xC0000022 if code == DENIED else code).value
            set_last_error(code)
            return {"GetPackageFullName": code, "CreateToolhelp32Snapshot": INVALID_HANDLE_VALUE}.get(name, 0)

        return call

    def of(self, pid: int) -> Answers:
        return self.answers.setdefault(pid, Answers())

    def program(self, pid: int) -> Program | None:
        return next((program for program in self.programs if program.pid == pid), None)

    # kernel32 -------------------------------------------------------------------------------------------------------

    def _OpenProcess(self, access: int, inherit: bool, pid: int) -> int:
        if f"OpenProcess:{access:#x}" in self.refuse or f"OpenProcess:{pid}" in self.refuse:
            set_last_error(self.refuse.get(f"OpenProcess:{pid}", DENIED))
            return 0
        if self.program(pid) is None or pid == 0:
            set_last_error(NO_SUCH)
            return 0
        self.open.add(HANDLE + pid)
        return HANDLE + pid

    def _CloseHandle(self, handle: int) -> int:
        self.open.discard(handle)
        return 1

    def _GetProcessTimes(self, handle: int, created: Any, ended: Any, kernel: Any, user: Any) -> int:
        program, answers = self._held(handle)
        times = (answers.created or program.created, answers.ended, 30, 20)
        for time, into in zip(times, (created, ended, kernel, user), strict=True):
            into._obj.dwLowDateTime, into._obj.dwHighDateTime = time & 0xFFFFFFFF, time >> 32
        return 1

    def _held(self, handle: int) -> tuple[Program, Answers]:
        assert handle in self.open, "a handle that is not open"
        program = self.program(handle - HANDLE)
        assert program is not None
        return program, self.of(program.pid)

    def _QueryFullProcessImageNameW(self, handle: int, flags: int, units: Any, size: Any) -> int:
        path = self._held(handle)[1].path
        name = native_path(path) if flags else path
        if len(name) > size._obj.value:
            set_last_error(122)
            return 0
        size._obj.value = put(units, name)
        return 1

    def _IsWow64Process2(self, handle: int, emulated: Any, computer: Any) -> int:
        answers = self._held(handle)[1]
        emulated._obj.value, computer._obj.value = answers.emulated, answers.computer
        return 1

    def _GetProcessInformation(self, handle: int, kind: int, into: Any, size: int) -> int:
        into._obj.ProcessMachine = self._held(handle)[1].code
        return 1

    def _GetPackageFullName(self, handle: int, size: Any, units: Any) -> int:
        package = self._held(handle)[1].package
        if package is None:
            return 15700
        size._obj.value = put(units, package + "\0")
        return 0

    def _GetPriorityClass(self, handle: int) -> int:
        return self._held(handle)[1].priority

    def _GetProcessIoCounters(self, handle: int, into: Any) -> int:
        self._held(handle)
        into._obj.ReadTransferCount, into._obj.WriteTransferCount = 11, 12
        return 1

    def _GetProcessHandleCount(self, handle: int, into: Any) -> int:
        into._obj.value = self._held(handle)[0].handles
        return 1

    def _ProcessIdToSessionId(self, pid: int, into: Any) -> int:
        program = self.program(pid)
        assert program is not None
        into._obj.value = program.session
        return 1

    def _GetLogicalDrives(self) -> int:
        return 1 << 2

    def _QueryDosDeviceW(self, name: str, units: Any, size: int) -> int:
        return put(units, NAMES[name] + "\0\0")

    def _ReadProcessMemory(self, handle: int, address: int, into: int, size: int, count: Any) -> int:
        self._held(handle)
        pid = handle - HANDLE
        space = self.spaces.get(pid) or self.spaces.setdefault(pid, blocks(self.of(pid)))
        for start, content in space.items():
            if start <= address < start + len(content):
                found = content[address - start :][:size]
                ctypes.memmove(into, found, len(found))
                count._obj.value = len(found)
                return int(len(found) == size)
        set_last_error(299)
        return 0

    # psapi, user32 --------------------------------------------------------------------------------------------------

    def _EnumProcesses(self, pids: Any, size: int, needed: Any) -> int:
        for place, program in enumerate(self.programs):
            pids[place] = program.pid
        needed._obj.value = 4 * len(self.programs)
        return 1

    def _GetGuiResources(self, handle: int, kind: int) -> int:
        answers = self._held(handle)[1]
        return answers.user if kind else answers.gdi

    # Toolhelp -------------------------------------------------------------------------------------------------------

    def _CreateToolhelp32Snapshot(self, flags: int, pid: int) -> int:
        self._left = list(self.programs)
        return HANDLE

    def _Process32FirstW(self, snapshot: int, entry: Any) -> int:
        return self._Process32NextW(snapshot, entry)

    def _Process32NextW(self, snapshot: int, entry: Any) -> int:
        if not self._left:
            set_last_error(toolhelp.ERROR_NO_MORE_FILES)
            return 0
        program, into = self._left.pop(0), entry._obj
        into.th32ProcessID, into.th32ParentProcessID = program.pid, program.ppid
        into.cntThreads, into.pcPriClassBase = len(program.threads), program.fields.get("BasePriority", 0)
        put(into.szExeFile, program.name + "\0")
        return 1

    # ntdll ----------------------------------------------------------------------------------------------------------

    def _NtQuerySystemInformation(self, kind: int, buffer: Any, size: int, needed: Any) -> int:
        if kind != ntdll.SystemProcessIdInformation:
            return self.system(kind, buffer, size, needed)
        asked = buffer._obj
        path = native_path(self.of(asked.ProcessId).path)
        raw = path.encode("utf-16-le", "surrogatepass")
        ctypes.memmove(asked.ImageName.Buffer, raw, len(raw))
        asked.ImageName.Length = len(raw)
        return 0

    def _NtQueryInformationProcess(self, handle: int, kind: int, into: Any, size: int, needed: Any) -> int:
        if kind == ntdll.ProcessCommandLineInformation:
            return self._command_line(handle, into, size, needed)
        program, answers = self._held(handle)
        found = into._obj
        if kind == ntdll.ProcessWow64Information:
            found.value = (1 if answers.coy else PEB_AT) if answers.narrow else 0
        elif kind == ntdll.ProcessBasicInformation:
            found.PebBaseAddress = PEB_AT - (0x1000 if answers.coy else 0)
        elif kind == ntdll.ProcessVmCounters:
            for name, value in program.memory.items():
                setattr(found, name, value)
            found.PrivateUsage = program.fields.get("PrivatePageCount", 0)
        return 0

    def _command_line(self, handle: int, into: Any, size: int, needed: Any) -> int:
        text = "ourselves" if handle == 2**64 - 1 else self._held(handle)[1].command_line
        raw = text.encode("utf-16-le", "surrogatepass")
        needed._obj.value = 16 + len(raw) + 2
        if needed._obj.value > size:
            return ctypes.c_int32(ntdll.STATUS_INFO_LENGTH_MISMATCH).value
        at = ctypes.addressof(into)
        answer = struct.pack("<HHIQ", len(raw), len(raw) + 2, 0, at + 16) + raw + b"\0\0"
        ctypes.memmove(into, answer, len(answer))
        return 0


def native_path(path: str) -> str:
    """By its device; bare names, of processes without a program, stay."""
    return NAMES["C:"] + path[2:] if path.startswith("C:") else path


def put(units: Any, text: str) -> int:
    """Writes text as WCHARs; how many."""
    raw = text.encode("utf-16-le", "surrogatepass")
    ctypes.memmove(units, raw, min(len(raw), ctypes.sizeof(units)))
    return len(raw) // 2


def blocks(answers: Answers) -> dict[int, bytes]:
    """Memory of a process: its environment block, its parameters, and what those point to."""
    layout: Layout = NARROW if answers.narrow else WIDE
    peb, parameters = bytearray(0x40), bytearray(layout.parameters_bytes)
    space: dict[int, bytes] = {}
    pointer = "<Q" if layout.wide else "<I"
    struct.pack_into(pointer, peb, layout.parameters, PARAMETERS_AT)
    texts = {layout.directory: answers.directory, layout.command_line: answers.command_line}
    for number, (offset, text) in enumerate(texts.items()):
        raw, at = text.encode("utf-16-le", "surrogatepass"), STRINGS_AT + number * 0x10000
        struct.pack_into("<HHIQ" if layout.wide else "<HHI", parameters, offset, *_string(raw, at, layout.wide))
        space[at] = raw + b"\0\0"
    environment = (answers.environment + "\0").encode("utf-16-le", "surrogatepass")
    struct.pack_into(pointer, parameters, layout.environment, STRINGS_AT + 0x80000)
    struct.pack_into(pointer, parameters, layout.environment_bytes, len(environment))
    return space | {PEB_AT: bytes(peb), PARAMETERS_AT: bytes(parameters), STRINGS_AT + 0x80000: environment}


def _string(raw: bytes, at: int, wide: bool) -> tuple[int, ...]:
    return (len(raw), len(raw) + 2, 0, at) if wide else (len(raw), len(raw) + 2, at)


class Contexts:
    """Stands for `SecurityContexts`, which has tests of its own."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int | None]] = []

    def of(self, pid: int, handle: int | None, wanted: frozenset[str]) -> SecurityContext:
        self.asked.append((pid, handle))
        return SecurityContext(owner=Account("S-1-5-18", "SYSTEM") if "owner" in wanted else None)

    def account(self, sid: bytes) -> Account:
        raise AssertionError("nobody needs to be asked whose process it is")

    def place(self, process: Process, context: SecurityContext, wanted: frozenset[str]) -> Process:
        return process

    def with_threads(self, process: Process, threads: list[int]) -> Process:
        return process


class Unraised:
    """Stands for `Privileges`: what was to be raised, and why."""

    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.used: list[tuple[tuple[str, ...], str]] = []

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        self.used.append((names, why))
        return nullcontext()
