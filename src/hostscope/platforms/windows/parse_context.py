"""CONTEXT: a thread's registers, by processor. Pure: bytes in, numbers out.

Source: winnt.h of the Windows SDK (CONTEXT, ARM64_NT_CONTEXT, WOW64_CONTEXT).
"""

import struct

from msgspec import Struct

_WORD = struct.Struct("<Q")
_FLAGS = struct.Struct("<I")
TRAP_FLAG = 0x100
"""Of EFLAGS: one instruction, then an exception."""


class ContextForm(Struct, frozen=True):
    """Where things stand in the CONTEXT of one processor."""

    size: int
    flags_at: int
    everything: int
    """CONTEXT_ALL: all registers that there are."""


FORMS = {
    "amd64": ContextForm(1232, 0x30, 0x0010_001F),
    "arm64": ContextForm(912, 0, 0x0040_001F),
}
"""By what Windows calls the processor, in lower case."""
REGISTERS = {
    "rax": 0x78, "rcx": 0x80, "rdx": 0x88, "rbx": 0x90, "rsp": 0x98, "rbp": 0xA0, "rsi": 0xA8, "rdi": 0xB0,
    "r8": 0xB8, "r9": 0xC0, "r10": 0xC8, "r11": 0xD0, "r12": 0xD8, "r13": 0xE0, "r14": 0xE8, "r15": 0xF0, "rip": 0xF8,
}  # fmt: skip
"""Of x64."""
_EFLAGS_AT = 0x44


def register(context: bytes, name: str) -> int:
    """One register of an x64 CONTEXT."""
    return int(_WORD.unpack_from(context, REGISTERS[name])[0])


def with_register(context: bytes, name: str, value: int) -> bytes:
    """The same CONTEXT with another value in one register."""
    at = REGISTERS[name]
    return context[:at] + _WORD.pack(value & 0xFFFF_FFFF_FFFF_FFFF) + context[at + 8 :]


def with_trap(context: bytes, on: bool) -> bytes:
    """The same CONTEXT, stopping after one instruction or not."""
    (flags,) = _FLAGS.unpack_from(context, _EFLAGS_AT)
    flags = flags | TRAP_FLAG if on else flags & ~TRAP_FLAG
    return context[:_EFLAGS_AT] + _FLAGS.pack(flags) + context[_EFLAGS_AT + 4 :]
