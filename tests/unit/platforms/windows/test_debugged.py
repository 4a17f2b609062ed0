"""Breakpoints of a debugged process whose memory is scripted: where they stand, and that nothing of them is left."""

import pytest

from hostscope.model.key import ProcessKey
from hostscope.platforms.windows import debugged
from hostscope.platforms.windows.debugged import INT3, Debugged
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
