"""What a minidump holds. Everything in it is foreign: counts and places are checked against the file."""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.dumps import minidump_form as form
from hostscope.dumps.loaded_image import LoadedImage
from hostscope.model.memory import Region
from hostscope.model.text import decode_utf16

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> the bytes of the file from there on, as many as there are."""
MOST_STREAMS = 4096
MOST_STREAM_BYTES = 1 << 28
MOST_NAME_BYTES = 1 << 16
MOST_CONTEXT_BYTES = 1 << 14
MOST_TOLD_BYTES = 1 << 28
"""Of names, records and registers together: entries may all point to the same bytes."""
MOST_ADDRESS = 1 << 64


class MinidumpThread(Struct, frozen=True, gc=False):
    """A thread with its registers."""

    tid: int
    block: int
    """TEB."""
    context: bytes


class MinidumpModule(Struct, frozen=True, gc=False):
    """A program or library."""

    base: int
    size_bytes: int
    path: str
    image: LoadedImage


class Range(Struct, frozen=True, gc=False):
    """Memory, and where the file has it."""

    start: int
    end: int
    offset: int


class Minidump(Struct, frozen=True):
    """All of it but the memory itself."""

    architecture: str
    pid: int | None
    threads: tuple[MinidumpThread, ...]
    modules: tuple[MinidumpModule, ...]
    ranges: tuple[Range, ...]
    """Ascending, none over another."""
    regions: tuple[Region, ...]
    """Of the whole address space; empty when the dump has no list of them."""
    exception: int | None = None
    exception_thread: int | None = None


def parse_minidump(read: ReadAt) -> Minidump:
    """Raises ValueError: it is none."""
    raw = read(0, form.HEADER.size)
    if len(raw) < form.HEADER.size:
        raise ValueError("too short for a minidump")
    signature, version, count, directory, *_ = form.HEADER.unpack(raw)
    if signature != form.SIGNATURE or version & 0xFFFF != form.VERSION:
        raise ValueError("not a minidump")
    if count > MOST_STREAMS:
        raise ValueError(f"a minidump of {count} streams")
    streams = dict(_streams(read, directory, count))
    told = _limited(read)
    modules = tuple(_modules(told, streams.get(form.MODULE_LIST, b"")))
    ranges = [*_ranges64(streams.get(form.MEMORY64_LIST, b"")), *_ranges32(streams.get(form.MEMORY_LIST, b""))]
    tid, code = _exception(streams.get(form.EXCEPTION, b""))
    return Minidump(
        architecture=_architecture(streams.get(form.SYSTEM_INFO, b"")),
        pid=_pid(streams.get(form.MISC_INFO, b"")),
        threads=tuple(_threads(told, streams.get(form.THREAD_LIST, b""))),
        modules=modules,
        ranges=tuple(_apart(ranges)),
        regions=tuple(_regions(streams.get(form.MEMORY_INFO_LIST, b""), modules)),
        exception=code,
        exception_thread=tid,
    )


def _limited(read: ReadAt) -> ReadAt:
    """The same, raising ValueError when all that was read is too much."""
    left = MOST_TOLD_BYTES

    def limited(at: int, size: int) -> bytes:
        nonlocal left
        found = read(at, size)
        left -= len(found)
        if left < 0:
            raise ValueError(f"a minidump whose threads and modules say more than {MOST_TOLD_BYTES >> 20} MiB")
        return found

    return limited


def _streams(read: ReadAt, directory: int, count: int) -> Iterator[tuple[int, bytes]]:
    """The first of each kind."""
    raw, left = read(directory, form.DIRECTORY.size * count), MOST_STREAM_BYTES
    seen = set()
    for kind, size, at in form.DIRECTORY.iter_unpack(raw[: len(raw) // form.DIRECTORY.size * form.DIRECTORY.size]):
        if kind in seen or not kind:
            continue
        seen.add(kind)
        content = read(at, min(size, left))
        left -= len(content)
        yield kind, content


def _architecture(raw: bytes) -> str:
    if len(raw) < 2:
        return "unknown"
    return form.ARCHITECTURES.get(struct.unpack_from("<H", raw)[0], "unknown")


def _pid(raw: bytes) -> int | None:
    if len(raw) < form.MISC.size:
        return None
    _, flags, pid, *_ = form.MISC.unpack_from(raw)
    return pid if flags & form.MISC_PID else None


def _exception(raw: bytes) -> tuple[int | None, int | None]:
    """Whose, and its code."""
    if len(raw) < form.EXCEPTION_HEAD.size:
        return None, None
    tid, _, code = form.EXCEPTION_HEAD.unpack_from(raw)
    return tid, code


def _rows(raw: bytes, entry: struct.Struct) -> Iterator[tuple[int, ...]]:
    """The entries of a list that begins with their number; some writers align the first one to 8 bytes."""
    if len(raw) < form.COUNT.size:
        return
    (count,) = form.COUNT.unpack_from(raw)
    at = 8 if len(raw) == 8 + count * entry.size else 4
    count = min(count, (len(raw) - at) // entry.size)
    yield from entry.iter_unpack(raw[at : at + max(0, count) * entry.size])


def _threads(read: ReadAt, raw: bytes) -> Iterator[MinidumpThread]:
    for tid, _, _, _, block, _, _, _, size, at in _rows(raw, form.THREAD):
        yield MinidumpThread(tid, block, read(at, min(size, MOST_CONTEXT_BYTES)))


def _modules(read: ReadAt, raw: bytes) -> Iterator[MinidumpModule]:
    for base, size, checksum, stamp, name, *rest in _rows(raw, form.MODULE):
        record_size, record_at = rest[13:15]
        record = read(record_at, min(record_size, MOST_NAME_BYTES)) if record_size else b""
        yield MinidumpModule(base, size, _text(read, name), LoadedImage(size, checksum, stamp, record))


def _text(read: ReadAt, at: int) -> str:
    head = read(at, form.COUNT.size)
    if len(head) < form.COUNT.size:
        return ""
    raw = read(at + form.COUNT.size, min(form.COUNT.unpack(head)[0], MOST_NAME_BYTES))
    return decode_utf16(raw[: len(raw) // 2 * 2])


def _ranges64(raw: bytes) -> Iterator[Range]:
    if len(raw) < form.MEMORY64_HEAD.size:
        return
    count, at = form.MEMORY64_HEAD.unpack_from(raw)
    count = min(count, (len(raw) - form.MEMORY64_HEAD.size) // form.MEMORY64.size)
    rows = raw[form.MEMORY64_HEAD.size : form.MEMORY64_HEAD.size + count * form.MEMORY64.size]
    for start, size in form.MEMORY64.iter_unpack(rows):
        if start + size <= MOST_ADDRESS:
            yield Range(start, start + size, at)
        at += size


def _ranges32(raw: bytes) -> Iterator[Range]:
    for start, size, at in _rows(raw, form.MEMORY):
        if start + size <= MOST_ADDRESS:
            yield Range(start, start + size, at)


def _apart(ranges: list[Range]) -> Iterator[Range]:
    """In order; of what lies over another, the part behind it."""
    last = 0
    for one in sorted(ranges, key=lambda one: (one.start, -one.end)):
        start = max(one.start, last)
        if start < one.end:
            last = one.end
            yield Range(start, one.end, one.offset + start - one.start)


def _regions(raw: bytes, modules: tuple[MinidumpModule, ...]) -> Iterator[Region]:
    if len(raw) < form.LIST_HEAD.size:
        return
    head, size, count = form.LIST_HEAD.unpack_from(raw)
    if head < form.LIST_HEAD.size or size < form.MEMORY_INFO.size or head > len(raw):
        return
    paths = {module.base: module.path for module in modules}
    kinds = {number: kind for kind, number in form.KINDS.items()}
    last = 0
    for index in range(min(count, (len(raw) - head) // size)):
        start, allocation, initial, _, length, state, protection, kind, _ = form.MEMORY_INFO.unpack_from(
            raw, head + index * size
        )
        if state not in form.STATES.values() or not length or start < last or start + length > MOST_ADDRESS:
            continue
        last = start + length
        committed = state == form.STATES["committed"]
        shared = kind == form.KINDS["mapped"]
        yield Region(
            start=start, end=last, permissions=permissions(protection if committed else 1, shared), offset=0, device="",
            inode=0, path=paths.get(allocation) or None, kind=kinds.get(kind),
            state="committed" if committed else "reserved", guard=bool(protection & form.GUARD), allocation=allocation,
            initial=permissions(initial, shared),
        )  # fmt: skip


def permissions(protection: int, shared: bool) -> str:
    """``rwxp`` of PAGE_*."""
    low = protection & 0xFF
    originals = {copy: original for original, copy in form.COPIES.items()}
    bits = originals.get(low, low)
    letters = next((letters for letters, number in form.PROTECTIONS.items() if number == bits), "---")
    return letters + ("s" if shared and low not in originals else "p")


def describe(dump: Minidump) -> Iterator[tuple[Region, Range | None]]:
    """The address space, ascending: regions cut where the file's memory begins and ends, with where that stands.

    Without a list of regions each range is one, whose permissions nobody knows (``????``).
    """
    if not dump.regions:
        modules = sorted(dump.modules, key=lambda module: module.base)
        bases = [module.base for module in modules]
        for one in dump.ranges:
            place = bisect_right(bases, one.start) - 1
            yield _unknown(one, modules[place] if place >= 0 else None), one
        return
    yield from _cut(dump.regions, dump.ranges)


def _unknown(one: Range, below: MinidumpModule | None) -> Region:
    holds = below is not None and one.start < below.base + below.size_bytes
    kind, path = ("image", below.path or None) if below and holds else (None, None)
    return Region(one.start, one.end, "????", 0, "", 0, path, kind=kind, state="committed")


def _cut(regions: tuple[Region, ...], ranges: tuple[Range, ...]) -> Iterator[tuple[Region, Range | None]]:
    place = 0
    for region in regions:
        start = region.start
        while place < len(ranges) and ranges[place].end <= start:
            place += 1
        index = place
        while index < len(ranges) and ranges[index].start < region.end:
            one = ranges[index]
            first, last = max(start, one.start), min(region.end, one.end)
            if start < first:
                yield replace(region, start=start, end=first), None
            yield replace(region, start=first, end=last), Range(first, last, one.offset + first - one.start)
            start = last
            index += 1
        if start < region.end:
            yield replace(region, start=start), None


def command_line(dump: Minidump, read: Callable[[int, int], bytes]) -> str | None:
    """As the process's environment block has it, when its memory is in the dump. Offsets of 64-bit Windows."""
    if dump.architecture not in ("x86_64", "aarch64") or not dump.threads:
        return None
    block = _word(read, dump.threads[0].block + 0x60)
    parameters = _word(read, block + 0x20) if block else None
    raw = read(parameters + 0x70, 16) if parameters else b""
    if len(raw) < 16:
        return None
    size, at = struct.unpack("<H6xQ", raw)
    return decode_utf16(read(at, size // 2 * 2)) or None


def _word(read: Callable[[int, int], bytes], address: int) -> int | None:
    raw = read(address, 8)
    return struct.unpack("<Q", raw)[0] if len(raw) == 8 else None
