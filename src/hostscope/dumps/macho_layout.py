"""Where everything stands in a Mach-O core: load commands, threads' registers, and the offset of each region.

Source: mach-o/loader.h (LC_SEGMENT_64, LC_THREAD, LC_NOTE), osfmk/kern/kern_core in xnu; what lldb and gcore write. A
debugger finds dyld, and by it every library, in the memory that the segments hold.
"""

import struct
from collections.abc import Iterable, Sequence

from hostscope.dumps.layout import Layout, place
from hostscope.model.memory import Region, ThreadState

MAGIC = 0xFEEDFACF
CORE = 4
LC_SEGMENT_64, LC_THREAD = 0x19, 0x4
CPU_TYPES = {"x86_64": (0x0100_0007, 3), "arm64": (0x0100_000C, 0), "aarch64": (0x0100_000C, 0)}
"""CPU_TYPE_* and the subtype that means all of them."""
FLAVORS = {"x86_64": 4, "arm64": 6, "aarch64": 6}
"""x86_THREAD_STATE64, ARM_THREAD_STATE64."""
STATE_BYTES = {"x86_64": 168, "arm64": 272, "aarch64": 272}
HEADER = struct.Struct("<IiiIIIII")
SEGMENT = struct.Struct("<II16sQQQQiiII")
_THREAD = struct.Struct("<IIII")
PAGE_BYTES = 16_384
READ, WRITE, EXECUTE = 1, 2, 4
_LETTERS = (("r", READ), ("w", WRITE), ("x", EXECUTE))


def has_state(thread: ThreadState, architecture: str) -> bool:
    """Whether a core of this architecture can hold the thread's registers."""
    return len(thread.registers) == STATE_BYTES.get(architecture, -1)


def macho_layout(
    regions: Sequence[Region], included: Sequence[bool], threads: Iterable[ThreadState], architecture: str
) -> Layout:
    """A Mach-O core: header, a segment for each region, the threads, then each region at a page.

    Regions that are left out have segments without bytes in the file, as what was never there.
    """
    states = [thread.registers for thread in threads if has_state(thread, architecture)]
    commands = [_thread(state, architecture) for state in states]
    size = SEGMENT.size * len(regions) + sum(map(len, commands))
    offsets, end = place(regions, included, _paged(HEADER.size + size))
    segments = [_segment(region, offset) for region, offset in zip(regions, offsets, strict=True)]
    cpu, subtype = CPU_TYPES[architecture]
    header = HEADER.pack(MAGIC, cpu, subtype, CORE, len(segments) + len(commands), size, 0, 0)
    return Layout(b"".join([header, *segments, *commands]), offsets, end)


def _segment(region: Region, offset: int | None) -> bytes:
    protection = sum(bit for letter, bit in _LETTERS if letter in region.permissions)
    held = 0 if offset is None else region.size_bytes
    place_in_file = (region.start, region.size_bytes, offset or 0, held)
    return SEGMENT.pack(LC_SEGMENT_64, SEGMENT.size, b"", *place_in_file, protection, protection, 0, 0)


def _thread(state: bytes, architecture: str) -> bytes:
    """One flavor of registers; the count is in words of four bytes."""
    return _THREAD.pack(LC_THREAD, _THREAD.size + len(state), FLAVORS[architecture], len(state) // 4) + state


def _paged(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
