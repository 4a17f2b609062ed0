"""The headers of a program or library (PE) as they lie in memory. Pure: reads through a function, believes nothing."""

import struct
from collections.abc import Callable

from msgspec import Struct

Read = Callable[[int, int], bytes]
"""(address, size) -> the bytes from there on, fewer or none where there are none."""
_COFF = struct.Struct("<4sHHIIIHH")
_DEBUG_DIRECTORY = 6
_DEBUG = struct.Struct("<IIHHIIII")
_CODEVIEW = 2
_PDB = struct.Struct("<4s16sI")
MOST_DEBUG = 64
MOST_RECORD = 1024


class LoadedImage(Struct, frozen=True, gc=False):
    """What debuggers go by to find symbols."""

    size_bytes: int
    checksum: int
    stamp: int
    """TimeDateStamp: a time, or with reproducible builds a hash."""
    codeview: bytes = b""
    """``RSDS``, GUID, age and path of its symbols."""

    @property
    def build_id(self) -> str | None:
        """GUID and age of its symbols, as symbol servers file them."""
        if len(self.codeview) < _PDB.size:
            return None
        magic, guid, age = _PDB.unpack_from(self.codeview)
        if magic != b"RSDS":
            return None
        a, b, c = struct.unpack_from("<IHH", guid)
        return f"{a:08X}{b:04X}{c:04X}{guid[8:].hex().upper()}{age:X}"


def parse_image(read: Read, base: int) -> LoadedImage | None:
    """The image at an address; None when there is none."""
    head = read(base, 0x40)
    if len(head) < 0x40 or head[:2] != b"MZ":
        return None
    (at,) = struct.unpack_from("<I", head, 0x3C)
    raw = read(base + at, _COFF.size + 240)
    if len(raw) < _COFF.size + 112 or at > 1 << 20:
        return None
    magic, _, _, stamp, _, _, optional_bytes, _ = _COFF.unpack_from(raw)
    if magic != b"PE\0\0":
        return None
    optional = raw[_COFF.size : _COFF.size + optional_bytes]
    wide = optional[:2] == b"\x0b\x02"
    if len(optional) < 68:
        return None
    size, checksum = struct.unpack_from("<I", optional, 56)[0], struct.unpack_from("<I", optional, 64)[0]
    return LoadedImage(size, checksum, stamp, _codeview(read, base, optional, 112 if wide else 96))


def _codeview(read: Read, base: int, optional: bytes, directories_at: int) -> bytes:
    at = directories_at + 8 * _DEBUG_DIRECTORY
    if len(optional) < at + 8:
        return b""
    address, size = struct.unpack_from("<II", optional, at)
    raw = read(base + address, min(size, MOST_DEBUG * _DEBUG.size)) if address else b""
    for entry in _DEBUG.iter_unpack(raw[: len(raw) // _DEBUG.size * _DEBUG.size]):
        if entry[4] == _CODEVIEW and entry[6]:
            return read(base + entry[6], min(entry[5], MOST_RECORD))
    return b""
