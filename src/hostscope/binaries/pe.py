"""PE files: headers, sections and the certificate table. Pure and bounded; nonsense is a `ValueError`.

Source: Microsoft's "PE Format" and "Windows Authenticode Portable Executable Signature Format" (2008).
"""

from collections.abc import Iterator
from struct import Struct as Layout

from msgspec import Struct

from hostscope.binaries.content import Content, take, unpack

DOS_MAGIC, PE_MAGIC = b"MZ", b"PE\0\0"
WORD32 = Layout("<I")
FILE_HEADER = Layout("<HHIIIHH")
SECTION = Layout("<8sIIIIIIHHI")
OPTIONAL_32, OPTIONAL_64 = 0x10B, 0x20B
DIRECTORY = Layout("<II")
CERTIFICATE_TABLE = 4
WIN_CERTIFICATE = Layout("<IHH")
WIN_CERT_TYPE_PKCS_SIGNED_DATA = 2
REVISIONS = (0x100, 0x200)
MOST_SECTIONS = 96
MOST_CERTIFICATES = 64
MACHINES = {0x14C: "i386", 0x8664: "x86_64", 0xAA64: "arm64", 0x1C4: "arm"}
PAGE_BYTES = 4096


class Pe(Struct, frozen=True):
    """What the headers say."""

    architecture: str
    checksum_at: int
    """Where the checksum stands, which the digest leaves out."""
    entry_at: int | None
    """Where the data directory names the certificate table, which the digest leaves out; None without such an entry."""
    table: tuple[int, int] | None
    """Offset and size of the certificate table."""
    image_end: int
    """The end of headers and sections in the file."""


class CertificateEntry(Struct, frozen=True):
    """One entry of the certificate table."""

    revision: int
    type: int
    data: bytes


def parse_pe(content: Content) -> Pe:
    """The headers of a file."""
    if take(content, 0, 2) != DOS_MAGIC:
        raise ValueError("not a PE file")
    (start,) = unpack(WORD32, content, 0x3C)
    if take(content, start, 4) != PE_MAGIC:
        raise ValueError("not a PE file")
    machine, sections, _, _, _, optional_size, _ = unpack(FILE_HEADER, content, start + 4)
    optional_at = start + 4 + FILE_HEADER.size
    optional = take(content, optional_at, optional_size)
    if len(optional) < 68 or sections > MOST_SECTIONS:
        raise ValueError("implausible headers")
    entry_at, table = _table(optional, optional_at)
    return Pe(
        MACHINES.get(machine, f"machine {machine:#x}"),
        optional_at + 64,
        entry_at,
        table,
        _image_end(content, optional, optional_at + optional_size, sections),
    )


def _table(optional: bytes, at: int) -> tuple[int | None, tuple[int, int] | None]:
    magic = int.from_bytes(optional[:2], "little")
    if magic not in (OPTIONAL_32, OPTIONAL_64):
        raise ValueError(f"optional header {magic:#x} is unknown")
    directories = 96 if magic == OPTIONAL_32 else 112
    place = directories + CERTIFICATE_TABLE * DIRECTORY.size
    count = int.from_bytes(optional[directories - 4 : directories], "little")
    if count <= CERTIFICATE_TABLE or place + DIRECTORY.size > len(optional):
        return None, None
    offset, size = DIRECTORY.unpack_from(optional, place)
    return at + place, (offset, size) if size else None


def _image_end(content: Content, optional: bytes, at: int, sections: int) -> int:
    end = int.from_bytes(optional[60:64], "little")  # SizeOfHeaders
    for number in range(sections):
        fields = unpack(SECTION, content, at + number * SECTION.size)
        size, offset = fields[3], fields[4]
        if size:
            end = max(end, offset + size)
    return min(end, content.size)


def certificates(content: Content, pe: Pe) -> Iterator[CertificateEntry]:
    """The entries of the certificate table."""
    if pe.table is None:
        return
    at, end = pe.table[0], pe.table[0] + pe.table[1]
    if end > content.size:
        raise ValueError(f"the certificate table ends at {end}, the file at {content.size}")
    for _ in range(MOST_CERTIFICATES):
        if at + WIN_CERTIFICATE.size > end:
            return
        length, revision, type_ = unpack(WIN_CERTIFICATE, content, at)
        if revision not in REVISIONS:
            raise ValueError(f"a certificate entry of the unknown revision {revision:#x}")
        if length <= WIN_CERTIFICATE.size or at + length > end:
            raise ValueError("a certificate entry does not fit")
        yield CertificateEntry(revision, type_, take(content, at + 8, length - 8))
        at += (length + 7) & ~7
    raise ValueError("too many certificate entries")


def covered(content: Content, pe: Pe, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Stretches (offset, end) that the digest of an image covers, within bounds."""
    left_out = [(pe.checksum_at, 4)]
    if pe.entry_at is not None:
        left_out.append((pe.entry_at, 8))
    if pe.table is not None:
        left_out.append(pe.table)
    at, limit = start, content.size if end is None else min(end, content.size)
    for offset, size in sorted(left_out):
        if at < min(offset, limit):
            yield at, min(offset, limit)
        at = max(at, offset + size)
    if at < limit:
        yield at, limit
