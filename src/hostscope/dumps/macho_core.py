"""Mach-O cores, read: ours, lldb's, gcore's and the kernel's. Pure and bounded: bytes in, facts out."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from hostscope.dumps.macho_layout import CORE, HEADER, LC_SEGMENT_64, LC_THREAD, MAGIC, SEGMENT
from hostscope.model.memory import Region

MOST_COMMANDS, MOST_COMMAND_BYTES = 1_000_000, 1 << 28
NAMES = {0x0100_0007: "x86_64", 0x0100_000C: "arm64"}
PLACES = {(0x0100_0007, 4): (16, 7), (0x0100_000C, 6): (32, 31)}
"""CPU and flavor -> places of the instruction and stack pointers among the registers, in words of eight bytes."""
At = Callable[[int, int], bytes]
"""Offset and size -> bytes of the file; fewer where it ends."""


class Segment(NamedTuple):
    """A part of the address space, and where the file has it."""

    start: int
    size: int
    offset: int
    held: int
    protection: int


class Thread(NamedTuple):
    """A thread's registers."""

    flavor: int
    state: bytes


class MachoCore(NamedTuple):
    """What the commands of a core say."""

    cpu: int
    segments: tuple[Segment, ...]
    threads: tuple[Thread, ...]

    @property
    def architecture(self) -> str:
        """As the kernel calls it."""
        return NAMES.get(self.cpu, f"cpu {self.cpu}")

    def pointers(self, thread: Thread) -> tuple[int | None, int | None]:
        """Addresses of the next instruction and of the stack; arm64 may have signed them."""
        places = PLACES.get((self.cpu, thread.flavor))
        words = [_word(thread.state, place) for place in places or ()]
        return (words[0], words[1]) if words else (None, None)


def parse_macho_core(at: At) -> MachoCore:
    """The commands of a core.

    Raises:
        ValueError: it is no 64-bit little-endian Mach-O core.
    """
    head = at(0, HEADER.size)
    if len(head) < HEADER.size:
        raise ValueError("too short for a Mach-O core")
    magic, cpu, _, kind, count, size, _, _ = HEADER.unpack(head)
    if magic != MAGIC or kind != CORE:
        raise ValueError("not a Mach-O core")
    raw = at(HEADER.size, min(size, MOST_COMMAND_BYTES))
    segments: list[Segment] = []
    threads: list[Thread] = []
    for command, body in _commands(raw, min(count, MOST_COMMANDS)):
        if command == LC_SEGMENT_64 and len(body) >= SEGMENT.size:
            _, _, _, start, length, offset, held, _, protection, _, _ = SEGMENT.unpack_from(body)
            segments.append(Segment(start, length, offset, min(held, length), protection))
        elif command == LC_THREAD:
            threads += _threads(body)
    return MachoCore(cpu, tuple(sorted(segments)), tuple(threads))


def _commands(raw: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for _ in range(count):
        if offset + 8 > len(raw):
            return
        command, size = struct.unpack_from("<II", raw, offset)
        if size < 8 or offset + size > len(raw):
            return
        yield command, raw[offset : offset + size]
        offset += size


def _threads(body: bytes) -> Iterator[Thread]:
    """The first known flavor of registers: a command may have several of one thread."""
    offset = 8
    while offset + 8 <= len(body):
        flavor, words = struct.unpack_from("<II", body, offset)
        state = body[offset + 8 : offset + 8 + 4 * words]
        if any(flavor == known for _, known in PLACES):
            yield Thread(flavor, state)
            return
        offset += 8 + 4 * words


def _word(state: bytes, place: int) -> int | None:
    if len(state) < 8 * place + 8:
        return None
    found: int = struct.unpack_from("<Q", state, 8 * place)[0]
    return found


def regions_of(core: MachoCore) -> Iterator[tuple[Region, Segment]]:
    """The segments as regions, ascending; of those that overlap the first one wins."""
    last = 0
    for one in core.segments:
        end = min(one.start + one.size, 1 << 64)
        if one.start < last or end <= one.start:
            continue
        last = end
        letters = "".join(letter if one.protection & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
        yield Region(one.start, end, f"{letters}p", 0, "", 0, None), one
