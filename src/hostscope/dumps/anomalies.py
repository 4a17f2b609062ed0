"""What injected code looks like in an address space: findings with their facts, and whether honest programs do it."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from hostscope.model.dump import Anomaly, DumpedThread
from hostscope.model.memory import Region

Read = Callable[[int, int], bytes]
"""(address, size) -> the bytes from there on, fewer or none where there are none."""
Range = tuple[int, int]
ReadFile = Callable[[Region, int], bytes | None]
"""The file's bytes behind an offset into a region, as they are now; None when there is no such file."""
AT_PHDR, AT_ENTRY = 3, 9
STACK_BYTES = 4096
_COMPARE_BYTES = 1 << 20
_PAGE = 4096
OWN_CODE = ("[vdso]", "[vsyscall]", "[uprobes]")
"""Executable memory that the kernel itself puts into processes."""
_WORD = struct.Struct("<Q")


def region_anomalies(regions: Iterable[Region]) -> Iterator[Anomaly]:
    """What permissions and backing alone tell."""
    for region in regions:
        if "x" in region.permissions and region.path not in OWN_CODE:
            yield from _executable(region)


def _executable(region: Region) -> Iterator[Anomaly]:
    if "w" in region.permissions:
        yield _of(region, "writable-executable", "high", "can be written and run; compilers at run time do this", True)
    if not region.has_file:
        where = region.path or "anonymous memory"
        detail = f"executable, and no file behind it ({where}); compilers at run time (JIT) and trampolines do this"
        yield _of(region, "executable-without-file", "medium", detail, True)
    elif (region.path or "").startswith("/memfd:"):
        yield _of(region, "memfd-executable", "high", "runs from memory: its file never had a name on disk", False)
    elif region.deleted:
        detail = "its file was deleted or replaced; package updates do this"
        yield _of(region, "deleted-executable", "medium", detail, True)


def thread_anomalies(threads: Iterable[DumpedThread], regions: Sequence[Region], read: Read) -> Iterator[Anomaly]:
    """Threads that run, or will return to, code outside of every file."""
    code = [region for region in regions if "x" in region.permissions and region.path not in OWN_CODE]
    foreign = [region for region in code if not region.has_file]
    for thread in threads:
        if thread.instruction is not None:
            yield from _running(thread, thread.instruction, regions)
        if thread.stack is not None and foreign:
            yield from _returning(thread, thread.stack, foreign, read)


def _running(thread: DumpedThread, instruction: int, regions: Sequence[Region]) -> Iterator[Anomaly]:
    region = find(regions, instruction)
    if region and (region.has_file or region.path in OWN_CODE):
        return
    where = region.path or "anonymous memory" if region else "no mapping at all"
    start, end = (region.start, region.end) if region else (instruction, instruction)
    detail = f"thread {thread.tid} runs at {instruction:#x}: {where}"
    yield Anomaly(
        "thread-outside-modules", "high", start, end, region.path if region else None, detail, True, thread.tid
    )


def _returning(thread: DumpedThread, stack: int, foreign: Sequence[Region], read: Read) -> Iterator[Anomaly]:
    """Words near the top of the stack that point into code without a file; data may look like that."""
    held = read(stack, STACK_BYTES)
    for place, (word,) in enumerate(_WORD.iter_unpack(held[: len(held) // 8 * 8])):
        region = find(foreign, word)
        if region:
            detail = (
                f"thread {thread.tid}: the stack holds {word:#x} at {stack + place * 8:#x}, as a return address would"
            )
            yield _of(region, "return-outside-modules", "medium", detail, True, thread.tid)
            return


def image_anomalies(auxv: bytes, regions: Sequence[Region], exe: str | None, read: Read) -> Iterator[Anomaly]:
    """Whether the main image is what the kernel loaded (hollowing puts another in its place)."""
    values = parse_auxv(auxv)
    for name, key in (("program headers", AT_PHDR), ("entry point", AT_ENTRY)):
        address = values.get(key)
        if not address:
            continue
        region = find(regions, address)
        if region is None:
            detail = f"the {name} that the kernel loaded at {address:#x} are not mapped any more"
            yield Anomaly("hollowed-image", "critical", address, address, exe, detail, False)
        elif not region.has_file:
            detail = f"the {name} that the kernel loaded at {address:#x} lie in memory without a file"
            yield _of(region, "hollowed-image", "critical", detail, False)
        elif exe and region.path != exe:
            detail = f"the {name} at {address:#x} belong to {region.path}, the executable is {exe}"
            yield _of(region, "hollowed-image", "high", detail, True)
    yield from _lost_header(values.get(AT_PHDR), regions, read)


def _lost_header(headers: int | None, regions: Sequence[Region], read: Read) -> Iterator[Anomaly]:
    region = find(regions, headers) if headers else None
    if region and region.offset == 0:
        magic = read(region.start, 4)
        if len(magic) == 4 and magic != b"\x7fELF":
            detail = f"the main image begins with {magic.hex()}, not with an ELF header"
            yield _of(region, "hollowed-image", "critical", detail, False)


def changed_code(held: Iterable[tuple[Region, Iterable[Range]]], read: Read, read_file: ReadFile) -> Iterator[Anomaly]:
    """Executable regions of files whose bytes are not the file's, each given with the ranges of it that there are."""
    for region, ranges in held:
        if "x" in region.permissions and region.inode and not region.deleted:
            differing = _differing(region, ranges, read, read_file)
            if differing:
                first, pages = differing
                detail = f"{pages} pages differ from the file on disk, the first at {first:#x}; uprobes do this, too"
                yield _of(region, "changed-code", "high", detail, True)


def _differing(region: Region, ranges: Iterable[Range], read: Read, read_file: ReadFile) -> tuple[int, int] | None:
    """Address of the first page that differs, and how many do."""
    first, count = 0, 0
    for start, size in _blocks(ranges):
        file = read_file(region, start - region.start)
        if not file:  # there is none, or it ends before
            break
        ours = read(start, size)
        both = min(len(ours), len(file))
        if ours[:both] == file[:both]:
            continue
        for place in range(0, both, _PAGE):
            if ours[place : min(place + _PAGE, both)] != file[place : min(place + _PAGE, both)]:
                first, count = first or start + place, count + 1
    return (first, count) if count else None


def _blocks(ranges: Iterable[Range]) -> Iterator[Range]:
    """Address and size."""
    for start, end in ranges:
        for at in range(start, end, _COMPARE_BYTES):
            yield at, min(_COMPARE_BYTES, end - at)


def parse_auxv(raw: bytes) -> dict[int, int]:
    """The auxiliary vector: pairs of words up to AT_NULL."""
    values: dict[int, int] = {}
    for key, value in struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]):
        if not key:
            break
        values[key] = value
    return values


def find(regions: Sequence[Region], address: int) -> Region | None:
    """The region that holds an address; `regions` ascend."""
    low, high = 0, len(regions)
    while low < high:
        middle = (low + high) // 2
        if regions[middle].end <= address:
            low = middle + 1
        else:
            high = middle
    return regions[low] if low < len(regions) and regions[low].start <= address else None


def _of(region: Region, kind: str, severity: str, detail: str, heuristic: bool, tid: int | None = None) -> Anomaly:
    return Anomaly(kind, severity, region.start, region.end, region.path, detail, heuristic, tid)
