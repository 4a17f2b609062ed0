"""Breakpoints of a debugged process whose memory is scripted: where they stand, and that nothing of them is left."""

import pytest

from hostscope.model.key import ProcessKey
from hostscope.platforms.windows import debugged
from hostscope.platforms.windows.debugged import INT3, Debugged
from hostscope.platforms.windows.native.memory import MEMORY_BASIC_INFORMATION
from hostscope.platforms.windows.parse_context import with_trap
from hostscope.platforms.windows.trace_calls import choose
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.test_parse_memory import library

BASE = 0x1_8000_0000
KEY = ProcessKey("boot", 0, 8, 1)


class Memory:
    """One library, and what happened to the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, image: bytes) -> None:
        self.content = bytearray(image)
        self.writable = True
        self.acts: list[str] = []
        monkeypatch.setattr(debugged.memory, "read_into", self._read)
        monkeypatch.setattr(debugged.memory, "write", self._write)
        monkeypatch.setattr(debugged.control, "suspend", lambda process: self.acts.append("suspend"))
        monkeypatch.setattr(debugged.control, "resume", lambda process: self.acts.append("resume"))
        script(monkeypatch, debugged.debug.kernel32, FlushInstructionCache=lambda *_: True)

    def _read(self, process: int, address: int, into: memoryview) -> int:
        found = bytes(self.content[max(0, address - BASE) : address - BASE + len(into)]) if address >= BASE else b""
        into[: len(found)] = found
        return len(found)

    def _write(self, process: int, address: int, content: bytes) -> int:
        if not self.writable:
            return 0
        self.acts.append("write")
        self.content[address - BASE : address - BASE + len(content)] = content
        return len(content)


def narrow(image: bytes) -> bytes:
    """The same as a 32-bit library."""
    raw = bytearray(image)
    raw[0x98:0x9A] = b"\x0b\x01"
    raw[0x98 + 96 : 0x98 + 104] = raw[0x98 + 112 : 0x98 + 120]
    return bytes(raw)


def test_every_byte_comes_back_while_the_process_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    image = library(["NtAllocateVirtualMemory", "NtClose"])
    memory = Memory(monkeypatch, image)
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    assert one.found == {"NtAllocateVirtualMemory"} and memory.content[0x100:0x101] == INT3
    memory.acts.clear()
    assert one.remove_all() == 0
    assert bytes(memory.content) == image
    assert memory.acts == ["suspend", "write", "resume"]
    one.add_module(BASE)
    assert bytes(memory.content) == image, "none is set while it ends"


def test_what_cannot_be_taken_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, library(["NtAllocateVirtualMemory", "NtProtectVirtualMemory"]))
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    memory.writable = False
    assert one.remove_all() == 2
    assert memory.acts[-1] == "resume"


def test_32_bit_libraries_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    image = narrow(library(["NtAllocateVirtualMemory"]))
    memory = Memory(monkeypatch, image)
    one = Debugged(KEY, 77, choose(["all"]), True)
    one.add_module(BASE)
    assert one.is_32_bit and not one.found and bytes(memory.content) == image


@pytest.mark.parametrize(
    ("allocation", "kind", "expected"),
    [
        (BASE, 0x1000000, ("ntdll.dll+0x2345", False)),
        (BASE + 0x2000, 0x20000, (hex(BASE + 0x2345), True)),
        (BASE, 0x20000, (hex(BASE + 0x2345), True)),
        (7, 0x1000000, (hex(BASE + 0x2345), False)),
    ],
)
def test_a_caller_is_where_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, allocation: int, kind: int, expected: tuple[str, bool]
) -> None:
    """A library that says it is as large as the address space does not make code beside it its own."""
    raw = bytearray(library(["NtClose"]))
    raw[0x98 + 56 : 0x98 + 60] = b"\xff\xff\xff\xff"
    Memory(monkeypatch, bytes(raw))
    pages = MEMORY_BASIC_INFORMATION(AllocationBase=allocation, Type=kind)
    monkeypatch.setattr(debugged.memory, "query", lambda process, address: pages)
    one = Debugged(KEY, 77, choose(["all"]))
    one.add_module(BASE)
    assert one._place_of(BASE + 0x2345) == expected


def test_an_unloaded_library_takes_no_more_than_its_own_breakpoints_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it said it was."""
    image = library(["NtAllocateVirtualMemory"])
    memory = Memory(monkeypatch, image)
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    memory.content += bytes(0x1000) + image  # another one, without a name that is wanted, over all of it
    raw = memory.content
    raw[0x5098 + 56 : 0x5098 + 60] = b"\xff\xff\xff\x7f"
    one.add_module(BASE + 0x5000)
    one.drop_module(BASE + 0x5000)
    assert one.remove_all() == 0
    assert bytes(raw[:0x4000]) == image, "the first one's is known and taken out"


def test_a_breakpoint_of_the_programs_own_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of ours was before: sending the thread back to it would be for ever."""
    memory = Memory(monkeypatch, library(["NtAllocateVirtualMemory"]))
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    one.add_thread(5, 6, 0)
    assert one.remove_all() == 0
    memory.content[0x100:0x101] = INT3
    assert one.at_breakpoint(5, BASE + 0x100) is False


def test_a_function_that_has_a_breakpoint_already_is_not_said_to_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another debugger's, or one that a killed one left behind: its byte is nobody's to restore."""
    image = bytearray(library(["NtAllocateVirtualMemory", "NtProtectVirtualMemory"]))
    image[0x100:0x101] = INT3
    memory = Memory(monkeypatch, bytes(image))
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    assert (one.found, one.blocked) == ({"NtProtectVirtualMemory"}, {"NtAllocateVirtualMemory"})
    assert one.remove_all() == 0 and bytes(memory.content) == image


def test_pages_that_cannot_be_written_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, library(["NtAllocateVirtualMemory"]))
    memory.writable = False
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    assert (one.found, one.blocked) == (set(), {"NtAllocateVirtualMemory"})


class Registers:
    """Threads by handle: how often each is suspended, and its CONTEXT."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.suspended: dict[int, int] = {}
        self.contexts: dict[int, bytes] = {}
        monkeypatch.setattr(debugged.threads, "suspend", lambda handle: self._add(handle, 1))
        monkeypatch.setattr(debugged.threads, "resume", lambda handle: self._add(handle, -1))
        monkeypatch.setattr(debugged.threads, "context", lambda handle, *_: self.contexts.get(handle, bytes(1232)))
        monkeypatch.setattr(debugged.threads, "set_context", self.contexts.__setitem__)

    def _add(self, handle: int, count: int) -> None:
        self.suspended[handle] = self.suspended.get(handle, 0) + count

    def is_stepping(self, handle: int) -> bool:
        return with_trap(self.contexts[handle], False) != self.contexts[handle]


def test_nobody_stays_behind_when_the_one_instruction_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread was suspended by somebody else; after the detach the exception would end the process."""
    memory, registers = Memory(monkeypatch, library(["NtAllocateVirtualMemory"])), Registers(monkeypatch)
    one = Debugged(KEY, 77, choose(["memory"]))
    one.add_module(BASE)
    one.add_thread(5, 50, 0)
    one.add_thread(6, 60, 0)
    assert one.at_breakpoint(5, BASE + 0x100) is None
    assert registers.is_stepping(50) and registers.suspended == {60: 1}
    one.remove_all()
    one.let_run()
    assert not registers.is_stepping(50) and registers.suspended == {60: 0, 50: 0}
    assert memory.content[0x100:0x101] != INT3, "and the byte stays the function's own"
    one.let_run()
    assert registers.suspended == {60: 0, 50: 0}
