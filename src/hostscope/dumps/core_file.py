"""A dump as an address space: our cores and raw images, gdb's and the kernel's cores, minidumps, Mach-O's.

Everything in such a file is foreign: sizes and offsets are checked against the file, and what it does not hold reads as
nothing.
"""

import os
import stat
import struct
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from hostscope.binaries.elf import ET_CORE, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE, Elf, Note, parse_elf, parse_notes
from hostscope.dumps.core_notes import NT_AUXV, NT_FILE, NT_PRPSINFO, NT_PRSTATUS
from hostscope.dumps.loaded_image import parse_image
from hostscope.dumps.macho_core import MachoCore, parse_macho_core, regions_of
from hostscope.dumps.macho_layout import MAGIC as MACHO_MAGIC
from hostscope.dumps.manifest import MOST_BYTES, SUFFIX, parse_manifest
from hostscope.dumps.minidump import Minidump, command_line, describe, parse_minidump
from hostscope.dumps.minidump_form import pointers
from hostscope.dumps.positional import READ_ONLY, data_range, read_at, write_at
from hostscope.errors import Denied, Error, UsageError
from hostscope.model.dump import DumpedThread, Manifest
from hostscope.model.memory import Region
from hostscope.model.text import decode
from hostscope.private import Override, permitted

MOST_NOTE_BYTES = 1 << 28
MOST_UNPACKED_BYTES = 1 << 40
ZSTD = b"\x28\xb5\x2f\xfd"
MINIDUMP = b"MDMP"
MACHO = MACHO_MAGIC.to_bytes(4, "little")
_OF_USE = (NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE)
_STATUS_REGISTERS = 112
_PLACES = {"x86_64": (16, 19), "aarch64": (32, 31)}
"""Of the instruction and stack pointers among the registers."""
_WORD = struct.Struct("<Q")
_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


class Held(Struct, frozen=True, gc=False):
    """A region, and where the file has it."""

    region: Region
    file_offset: int
    file_bytes: int
    """Of the region, from its start; 0 when it was left out."""
    ranges: tuple[tuple[int, int], ...] | None = None
    """Addresses that were read; None when the file's holes have to tell."""


class CoreFile:
    """An open dump."""

    def __init__(self, fd: int, path: str, manifest: Manifest | None) -> None:
        self._fd = fd
        self.path = path
        self.manifest = manifest
        self.size_bytes = os.fstat(fd).st_size
        raw = manifest is not None and manifest.image == "raw"
        self.minidump = self._minidump() if not raw and self._at(0, 4) == MINIDUMP else None
        self.macho = self._macho() if not raw and self._at(0, 4) == MACHO else None
        self.elf = None if raw or self.minidump or self.macho else self._parse()
        self.notes = tuple(self._notes(self.elf)) if self.elf else ()
        promised = tuple(self._held())
        self.cut_bytes = sum(_cut_bytes(one, self.size_bytes) for one in promised)
        """Of regions, that the file should have behind its end."""
        self.held = _bounded(promised, self.size_bytes)
        self.regions = tuple(one.region for one in self.held)

    @property
    def image(self) -> str:
        """``core``, ``minidump``, ``macho-core`` or ``raw``."""
        if self.minidump or self.macho:
            return "minidump" if self.minidump else "macho-core"
        return "core" if self.elf else "raw"

    @property
    def architecture(self) -> str:
        """As kernels call it; ``unknown`` for raw images without a manifest."""
        if self.minidump:
            return self.minidump.architecture
        if self.macho:
            return self.macho.architecture
        if self.elf:
            return self.elf.architecture
        return self.manifest.observer.architecture if self.manifest else "unknown"

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes at an address; fewer, or none, where the dump has none. Holes are zeros."""
        one = self._find(address)
        if one is None:
            return b""
        within = address - one.region.start
        return self._at(one.file_offset + within, min(size, one.file_bytes - within))

    def read_present(self, address: int, size: int) -> bytes:
        """The same, but nothing of holes: of a file that is mapped, those were not read."""
        one = self._find(address)
        ranges = self.present(one) if one else ()
        end = next((end for start, end in ranges if start <= address < end), address)
        return self.read(address, min(size, end - address))

    def _find(self, address: int) -> Held | None:
        place = bisect_right(self.held, address, key=lambda one: one.region.start) - 1
        return self.held[place] if place >= 0 and address < self.held[place].region.end else None

    def present(self, one: Held) -> Iterator[tuple[int, int]]:
        """The address ranges of a region that the file holds, holes left out."""
        if one.ranges is not None:
            yield from one.ranges
            return
        place, end = one.file_offset, min(one.file_offset + one.file_bytes, self.size_bytes)
        shift = one.region.start - one.file_offset
        while place < end:
            found = data_range(self._fd, place, end)
            if found is None:
                return
            yield found[0] + shift, found[1] + shift
            place = found[1]

    def threads(self) -> Iterator[DumpedThread]:
        """In the order of the file: the one that had the signal first."""
        if self.minidump:
            yield from _minidump_threads(self.minidump, self)
            return
        if self.macho:
            yield from _macho_threads(self.macho, self)
            return
        places = _PLACES.get(self.architecture)
        for note in self.notes:
            if note.type == NT_PRSTATUS and len(note.data) > _STATUS_REGISTERS:
                yield _thread(note.data, places, self)

    def note(self, type_: int) -> bytes:
        """The first note of a type; empty without one."""
        return next((note.data for note in self.notes if note.type == type_), b"")

    @property
    def auxiliary_vector(self) -> bytes:
        """As the kernel gave it to the program."""
        return self.note(NT_AUXV)

    def process(self) -> tuple[int | None, str | None, str | None]:
        """Pid, name and arguments."""
        if self.minidump:
            return _minidump_process(self.minidump, self)
        info = self.note(NT_PRPSINFO)
        if len(info) >= 136:
            (pid,) = struct.unpack_from("<i", info, 24)
            name, arguments = info[40:56].split(b"\0")[0], info[56:136].split(b"\0")[0]
            return pid, decode(name), decode(arguments).strip()
        if self.manifest:
            return self.manifest.key.pid, self.manifest.name, None
        return None, None, None

    def _at(self, offset: int, size: int) -> bytes:
        size = min(size, self.size_bytes - offset)
        if size <= 0 or offset < 0:
            return b""
        return read_at(self._fd, size, offset)

    def build_id(self, start: int) -> str | None:
        """Of a program or library of Windows that is loaded at an address: GUID and age of its symbols."""
        image = parse_image(self.read, start)
        return image.build_id if image else None

    def _minidump(self) -> Minidump:
        try:
            return parse_minidump(self._at)
        except ValueError as failed:
            raise UsageError(f"{self.path}: {failed}", "give an ELF core or a minidump") from None

    def _macho(self) -> MachoCore:
        try:
            return parse_macho_core(self._at)
        except ValueError as failed:
            raise UsageError(f"{self.path}: {failed}", "give a core, not a program") from None

    def _parse(self) -> Elf:
        try:
            elf = parse_elf(self._at)
        except ValueError as failed:
            hint = "give an ELF core, a minidump, or a raw image beside its manifest"
            raise UsageError(f"{self.path}: {failed}", hint) from None
        if elf.type != ET_CORE:
            raise UsageError(f"{self.path} is a program, not a dump of one")
        return elf

    def _notes(self, elf: Elf) -> Iterator[Note]:
        """Those that are of use; no byte of the file is read twice."""
        left, end = MOST_NOTE_BYTES, 0
        for segment in elf.segments:
            if segment.type == PT_NOTE and segment.offset >= end:
                raw = self._at(segment.offset, min(segment.file_bytes, left))
                left, end = left - len(raw), segment.offset + len(raw)
                yield from (note for note in parse_notes(raw) if note.owner == b"CORE" and note.type in _OF_USE)

    def _held(self) -> Iterator[Held]:
        if self.manifest:
            yield from _by_manifest(self.manifest)
        elif self.minidump:
            yield from _by_minidump(self.minidump)
        elif self.macho:
            yield from (Held(region, one.offset, one.held) for region, one in regions_of(self.macho))
        elif self.elf:
            yield from _by_segments(self.elf, parse_files(self.note(NT_FILE)))


def _by_manifest(manifest: Manifest) -> Iterator[Held]:
    last = 0
    for dumped in manifest.regions:
        region = dumped.region
        ranges = tuple(place for piece in dumped.pieces for place in piece.ranges)
        if region.start < last or region.end <= region.start or not _ascend(ranges, region):
            raise UsageError("a manifest whose regions are not in order")
        last = region.end
        held = region.size_bytes if dumped.file_offset is not None else 0
        yield Held(region, dumped.file_offset or 0, held, ranges)


def _ascend(ranges: tuple[tuple[int, int], ...], region: Region) -> bool:
    """Whether they lie in the region one behind the other, so that no byte is looked at twice."""
    last = region.start
    for start, end in ranges:
        if not last <= start < end:
            return False
        last = end
    return last <= region.end


def _cut_bytes(one: Held, size_bytes: int) -> int:
    return min(one.file_bytes, max(0, one.file_offset + one.file_bytes - size_bytes))


def _bounded(held: tuple[Held, ...], size_bytes: int) -> tuple[Held, ...]:
    """No more than the file has, and no byte of it twice: a small file must not mean work without end."""
    bounded, taken = list(held), 0
    for index in sorted(range(len(held)), key=lambda index: held[index].file_offset):
        one = held[index]
        count = max(0, min(one.file_bytes, size_bytes - one.file_offset)) if one.file_offset >= taken else 0
        taken = max(taken, one.file_offset + count)
        bounded[index] = replace(one, file_bytes=count, ranges=_cut_off(one, one.region.start + count))
    return tuple(bounded)


def _cut_off(one: Held, end: int) -> tuple[tuple[int, int], ...] | None:
    if one.ranges is None or not one.ranges or one.ranges[-1][1] <= end:
        return one.ranges
    return tuple((first, min(last, end)) for first, last in one.ranges if first < end)


def _by_segments(elf: Elf, files: dict[int, tuple[int, int, str]]) -> Iterator[Held]:
    loads = sorted((one for one in elf.segments if one.type == PT_LOAD), key=lambda one: one.address)
    last = 0
    for one in loads:
        size = min(max(one.memory_bytes, one.file_bytes), (1 << 64) - one.address)
        if one.address < last or not size:
            continue  # overlaps: the first one wins
        last = one.address + size
        letters = zip("rwx", (PF_R, PF_W, PF_X), strict=True)
        permissions = "".join(letter if one.flags & bit else "-" for letter, bit in letters) + "p"
        _, offset, path = files.get(one.address, (0, 0, ""))
        name, deleted = path.removesuffix(_DELETED) or None, path.endswith(_DELETED)
        region = Region(one.address, last, permissions, offset, "", int(bool(path)), name, deleted)
        yield Held(region, one.offset, min(one.file_bytes, size))


_DELETED = " (deleted)"


def parse_files(raw: bytes) -> dict[int, tuple[int, int, str]]:
    """NT_FILE: by the start of a mapping its end, its offset in the file, and the file's path."""
    if len(raw) < 16:
        return {}
    count, page = struct.unpack_from("<QQ", raw)
    if count > (len(raw) - 16) // 24:
        return {}
    names = raw[16 + 24 * count :].split(b"\0")
    rows = struct.iter_unpack("<QQQ", raw[16 : 16 + 24 * count])
    return {start: (end, offset * page, decode(name)) for (start, end, offset), name in zip(rows, names, strict=False)}


def _thread(status: bytes, places: tuple[int, int] | None, core: CoreFile) -> DumpedThread:
    (signal,), (tid,) = struct.unpack_from("<h", status, 12), struct.unpack_from("<i", status, 32)
    words = [
        _WORD.unpack_from(status, _STATUS_REGISTERS + 8 * place)[0]
        if len(status) >= _STATUS_REGISTERS + 8 * place + 8
        else None
        for place in places or ()
    ]
    instruction, stack = (words[0], words[1]) if words else (None, None)
    return DumpedThread(tid, instruction, stack, signal, module_of(core.regions, instruction))


def _by_minidump(dump: Minidump) -> Iterator[Held]:
    for region, place in describe(dump):
        ranges = ((place.start, place.end),) if place else ()
        yield Held(region, place.offset if place else 0, place.end - place.start if place else 0, ranges)


def _minidump_threads(dump: Minidump, core: CoreFile) -> Iterator[DumpedThread]:
    for thread in dump.threads:
        instruction, stack = pointers(thread.context, dump.architecture)
        code = dump.exception if thread.tid == dump.exception_thread else None
        yield DumpedThread(thread.tid, instruction, stack, code or 0, module_of(core.regions, instruction))


def _macho_threads(dump: MachoCore, core: CoreFile) -> Iterator[DumpedThread]:
    """A core does not number its threads; the manifest does, in the same order, of those with registers."""
    told = [thread for thread in core.manifest.threads if not thread.unread] if core.manifest else []
    numbers = [thread.tid for thread in told] if len(told) == len(dump.threads) else range(len(dump.threads))
    for number, thread in zip(numbers, dump.threads, strict=True):
        instruction, stack = dump.pointers(thread)
        yield DumpedThread(number, instruction, stack, 0, module_of(core.regions, instruction))


def _minidump_process(dump: Minidump, core: CoreFile) -> tuple[int | None, str | None, str | None]:
    """The program is the first module."""
    path = dump.modules[0].path if dump.modules else ""
    name = core.manifest.name if core.manifest else path.rpartition("\\")[2] or None
    return dump.pid, name, command_line(dump, core.read)


def module_of(regions: tuple[Region, ...], address: int | None) -> str | None:
    """The file whose bytes lie at an address."""
    from hostscope.dumps.anomalies import find

    region = None if address is None else find(regions, address)
    return region.path if region and region.path else None


@contextmanager
def open_core(path: str, raised: Override = nullcontext) -> Iterator[CoreFile]:
    """A dump, compressed or not, with the manifest that stands beside it.

    Args:
        raised: brings the right to read files in spite of their permissions into effect, where they forbid it.

    Raises:
        UsageError: it cannot be read, or is no dump. Denied
    """
    try:
        fd = permitted(partial(os.open, path, READ_ONLY), raised)
    except OSError as failed:
        if os.path.isdir(path):  # Windows refuses to open one
            raise UsageError(f"{path} is a directory", "name a dump") from None
        refused = Denied if isinstance(failed, PermissionError) else UsageError
        raise refused(f"cannot read {path}: {failed.strerror}") from None
    try:
        _check_regular(fd, path)
        manifest = _read_manifest(path + SUFFIX, raised)
        if read_at(fd, 4, 0) == ZSTD:
            with _unpacked(fd, path) as plain:
                yield CoreFile(plain, path, manifest)
        else:
            yield CoreFile(fd, path, manifest)
    except OSError as failed:
        raise failed if isinstance(failed, Error) else UsageError(f"cannot read {path}: {failed.strerror}") from None
    finally:
        os.close(fd)


def _check_regular(fd: int, path: str) -> None:
    """Reading a device may act on it, and a pipe may never answer."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is no regular file"
        raise UsageError(f"{path} {what}", "name a dump")


def _read_manifest(path: str, raised: Override) -> Manifest | None:
    try:
        with open(permitted(partial(os.open, path, READ_ONLY), raised), "rb") as file:
            _check_regular(file.fileno(), path)
            raw = file.read(MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise UsageError(f"cannot read {path}: {failed.strerror}") from None
    return parse_manifest(raw)


@contextmanager
def _unpacked(fd: int, path: str) -> Iterator[int]:
    """The plain bytes in a file without a name, zeros as holes."""
    import zstandard

    with tempfile.TemporaryFile() as plain, open(fd, "rb", closefd=False) as packed:
        size = 0
        packed.seek(0)  # without pread, looking at the first bytes moved it
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
                while block := reader.read(_BLOCK):
                    if not _ZEROS.startswith(block):
                        write_at(plain.fileno(), block, size)
                    size += len(block)
                    if size > MOST_UNPACKED_BYTES:
                        raise UsageError(f"{path} holds more than {MOST_UNPACKED_BYTES} bytes")
        except zstandard.ZstdError as failed:
            raise UsageError(f"{path}: {failed}") from None
        except OSError as failed:
            raise UsageError(f"cannot unpack {path}: {failed.strerror}", "set TMPDIR to a place with room") from None
        os.ftruncate(plain.fileno(), size)
        yield plain.fileno()
