"""Mach-O files: slices, load commands, and where the signature is. Pure and bounded; nonsense is a `ValueError`.

Source: mach-o/fat.h, mach-o/loader.h; osfmk/kern/cs_blobs.h of xnu.
"""

from collections.abc import Iterator
from struct import Struct as Layout

from msgspec import Struct

from hostscope.binaries.content import Content, Part, take, unpack, unpack_from

ARCHIVE = b"!<ar"
"""A library of object files, which nobody signs."""
FAT_MAGIC, FAT_MAGIC_64 = 0xCAFEBABE, 0xCAFEBABF
MAGICS = {
    b"\xce\xfa\xed\xfe": ("<", 28),
    b"\xcf\xfa\xed\xfe": ("<", 32),
    b"\xfe\xed\xfa\xce": (">", 28),
    b"\xfe\xed\xfa\xcf": (">", 32),
}
"""First bytes -> byte order, size of the header (32 with 64 bits)."""
FAT_HEADER, FAT_ARCH, FAT_ARCH_64 = Layout(">II"), Layout(">iiIII"), Layout(">iiQQII")
MOST_SLICES = 42
"""More would be a Java class, which begins with the same magic and its version."""
MOST_COMMANDS = 1 << 16
MOST_COMMAND_BYTES = 1 << 24
LC_SEGMENT, LC_SEGMENT_64, LC_CODE_SIGNATURE = 0x1, 0x19, 0x1D
SIGNATURE_COMMAND_BYTES = 16
VM_PROT_EXECUTE = 4
READ_BYTES = 1 << 20
CPUS = {7: "i386", 0x01000007: "x86_64", 12: "arm", 0x0100000C: "arm64", 0x0200000C: "arm64_32", 18: "ppc"}
CPU_SUBTYPE_ARM64E = 2
SUBTYPE = 0xFFFFFF
"""The rest are capabilities, which headers of one file may state differently."""
CSMAGIC_EMBEDDED_SIGNATURE = 0xFADE0CC0
SUPER_BLOB, BLOB_INDEX, BLOB = Layout(">III"), Layout(">II"), Layout(">II")
MOST_BLOBS = 64
MOST_SIGNATURE_BYTES = 64 << 20


class Slice(Struct, frozen=True):
    """The file for one architecture."""

    name: str
    content: Part
    end: int
    """Where it ends in the whole file."""
    cpu: tuple[int, int] | None = None
    """Type and subtype; None for a library of object files."""


class Place(Struct, frozen=True, gc=False):
    """Where something stands in a slice."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


class Segment(Struct, frozen=True, gc=False):
    """A stretch of a slice that is mapped."""

    name: str
    place: Place
    executable: bool
    """Now, or whenever it asks to be."""


class Layouts(Struct, frozen=True):
    """What a slice's load commands say."""

    signature: Place | None
    info_plist: Place | None
    """The __info_plist section of programs without a bundle."""
    segments: tuple[Segment, ...] = ()


class SuperBlob(Struct, frozen=True):
    """The parts of a signature by slot."""

    blobs: dict[int, bytes]
    length: int
    slack: bytes
    """What stands behind it in its place."""
    between: bytes = b""
    """What stands between its blobs, and belongs to none."""


def is_macho(head: bytes) -> bool:
    """Whether a file that begins with these eight bytes is one, or several."""
    if head[:4] in MAGICS:
        return True
    if len(head) < FAT_HEADER.size:
        return False
    magic, count = FAT_HEADER.unpack_from(head)
    return magic in (FAT_MAGIC, FAT_MAGIC_64) and 0 < count <= MOST_SLICES


def slices(content: Content) -> tuple[Slice, ...]:
    """One for each architecture."""
    magic = take(content, 0, 4)
    if magic in MAGICS:
        return (_slice(content, 0, content.size),)
    found, count = unpack(FAT_HEADER, content, 0)
    if found not in (FAT_MAGIC, FAT_MAGIC_64) or not 0 < count <= MOST_SLICES:
        raise ValueError("not a Mach-O file")
    layout = _fat_layout(found)
    rows = [unpack(layout, content, FAT_HEADER.size + number * layout.size)[:4] for number in range(count)]
    _check_apart([(offset, size) for _, _, offset, size in rows], FAT_HEADER.size + count * layout.size)
    return tuple(_announced(content, *row) for row in rows)


def _announced(content: Content, cpu: int, subtype: int, offset: int, size: int) -> Slice:
    """A slice for the architecture that the universal header says it is for: the system chooses by that."""
    found = _slice(content, offset, size)
    if found.cpu is not None and found.cpu != (cpu & 0xFFFFFFFF, subtype & SUBTYPE):
        raise ValueError(f"a slice for {found.name} is announced as another architecture's")
    return found


def _fat_layout(magic: int) -> Layout:
    return FAT_ARCH if magic == FAT_MAGIC else FAT_ARCH_64


def _check_apart(places: list[tuple[int, int]], start: int) -> None:
    end = start
    for offset, size in sorted(places):
        if offset < end:
            raise ValueError("slices lie over each other")
        end = offset + size


def _slice(content: Content, offset: int, size: int) -> Slice:
    part = Part(content, offset, size)
    magic = take(part, 0, 4)
    if magic == ARCHIVE:
        return Slice("archive", part, offset + size)
    if magic not in MAGICS:
        raise ValueError("a slice is not a Mach-O file")
    cpu, subtype = unpack(Layout(MAGICS[magic][0] + "iI"), part, 4)
    name = CPUS.get(cpu, f"cpu {cpu}")
    if name == "arm64" and subtype & SUBTYPE == CPU_SUBTYPE_ARM64E:
        name = "arm64e"
    return Slice(name, part, offset + size, (cpu, subtype & SUBTYPE))


def gaps_between(content: Content, parts: tuple[Slice, ...]) -> Iterator[tuple[int, int]]:
    """Stretches of a universal file (offset, size) that are in no slice and not all zeros."""
    magic, count = FAT_HEADER.unpack(take(content, 0, FAT_HEADER.size))
    fat = magic in (FAT_MAGIC, FAT_MAGIC_64)
    end = FAT_HEADER.size + count * _fat_layout(magic).size if fat else 0  # more of them may hide behind the last
    for one in sorted(parts, key=lambda part: part.end):
        start = one.end - one.content.size
        if not _is_zero(content, end, start):
            yield end, start - end
        end = one.end
    if content.size > end:
        yield end, content.size - end


def _is_zero(content: Content, start: int, end: int) -> bool:
    return not any(content.read(at, min(READ_BYTES, end - at)).strip(b"\0") for at in range(start, end, READ_BYTES))


def parse_commands(content: Content) -> Layouts:
    """What the load commands of a slice say about its signature."""
    if take(content, 0, 4) == ARCHIVE:
        return Layouts(None, None)
    order, header = MAGICS[take(content, 0, 4)]
    count, size = unpack(Layout(order + "II"), content, 16)
    if count > MOST_COMMANDS or size > MOST_COMMAND_BYTES:
        raise ValueError("implausible load commands")
    raw = take(content, header, size)
    signatures: list[Place] = []
    info: Place | None = None
    segments: list[Segment] = []
    for command, at, length in _commands(raw, order, count):
        if command == LC_CODE_SIGNATURE:
            if length != SIGNATURE_COMMAND_BYTES:
                raise ValueError("a load command of the wrong size")
            signatures.append(Place(*unpack_from(Layout(order + "II"), raw, at + 8)))
        elif command in (LC_SEGMENT, LC_SEGMENT_64):
            body, wide = raw[at : at + length], command == LC_SEGMENT_64
            info = _info_plist(body, order, wide) or info
            segments.append(_segment(body, order, wide))
    if len(signatures) > 1:
        raise ValueError("more than one signature")
    return Layouts(signatures[0] if signatures else None, info, tuple(segments))


def _segment(command: bytes, order: str, wide: bool) -> Segment:
    name, _, _, offset, size, most, protection = unpack_from(
        Layout(order + ("16sQQQQII" if wide else "16sIIIIII")), command, 8
    )
    return Segment(
        name.rstrip(b"\0").decode("ascii", "replace"), Place(offset, size), bool((most | protection) & VM_PROT_EXECUTE)
    )


def _commands(raw: bytes, order: str, count: int) -> Iterator[tuple[int, int, int]]:
    layout, at = Layout(order + "II"), 0
    for _ in range(count):
        command, length = unpack_from(layout, raw, at)
        if length < layout.size or at + length > len(raw):
            raise ValueError("a load command does not fit")
        yield command, at, length
        at += length


def _info_plist(command: bytes, order: str, wide: bool) -> Place | None:
    """The section __TEXT,__info_plist of a segment command."""
    head, layout = (72, Layout(order + "16s16sQQI")) if wide else (56, Layout(order + "16s16sIII"))
    stride = 80 if wide else 68
    (count,) = unpack_from(Layout(order + "I"), command, head - 8)
    if head + count * stride > len(command):
        raise ValueError("sections do not fit")
    for number in range(count):
        section, segment, _, size, offset = unpack_from(layout, command, head + number * stride)
        if (section.rstrip(b"\0"), segment.rstrip(b"\0")) == (b"__info_plist", b"__TEXT"):
            return Place(offset, size)
    return None


def read_super_blob(content: Content, place: Place) -> SuperBlob:
    """The signature's blobs, each with its magic, by slot."""
    if place.size > MOST_SIGNATURE_BYTES:
        raise ValueError("a signature of an implausible size")
    raw = take(content, place.offset, place.size)
    magic, length, count = unpack_from(SUPER_BLOB, raw, 0)
    if magic != CSMAGIC_EMBEDDED_SIGNATURE or length > len(raw) or count > MOST_BLOBS:
        raise ValueError("not an embedded signature")
    blobs: dict[int, bytes] = {}
    places: list[Place] = []
    for number in range(count):
        slot, at = unpack_from(BLOB_INDEX, raw, SUPER_BLOB.size + number * BLOB_INDEX.size)
        _, size = unpack_from(BLOB, raw, at)
        if slot in blobs or size < BLOB.size or at + size > length:
            raise ValueError(f"blob {slot} does not fit, or is there twice")
        places.append(Place(at, size))
        if sum(place.size for place in places) > length:
            raise ValueError("blobs lie over each other")
        blobs[slot] = raw[at : at + size]
    return SuperBlob(blobs, length, raw[length:], _between(raw, places, length))


def _between(raw: bytes, places: list[Place], length: int) -> bytes:
    """What a superblob holds that belongs to no blob."""
    end, found = SUPER_BLOB.size + len(places) * BLOB_INDEX.size, list[bytes]()
    for place in sorted(places, key=lambda place: place.offset):
        if place.offset < end:
            raise ValueError("blobs lie over each other")
        found.append(raw[end : place.offset])
        end = place.end
    return b"".join((*found, raw[end:length]))
