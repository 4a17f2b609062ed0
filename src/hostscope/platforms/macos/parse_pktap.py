"""What PKTAP puts before a packet: who sent or got it, and on which interface. Pure and bounded.

Source: bsd/net/pktap.h in xnu (private): struct pktap_header (version 1, 156 bytes or more), and struct pktap_v2_hdr,
whose texts stand at offsets that it names. Version 2 has its flag at the place of version 1's flags.
"""

import struct
from typing import NamedTuple

from hostscope.platforms.macos.parse import parse_text

PTH_TYPE_PACKET = 1
PTH_FLAG_DIR_IN, PTH_FLAG_DIR_OUT, PTH_FLAG_V2_HDR = 0x1, 0x2, 0x80000
_V1 = struct.Struct("<III24sIIIIi17sBHIHHi17s")
_V2 = struct.Struct("<6BHHHHHIIIiiI")
_FLAGS_AT = 36
_NAME_BYTES, _INTERFACE_BYTES = 17, 24
_IN, _OUT = 1, 2
"""As pcapng's epb_flags has directions."""


class Origin(NamedTuple):
    """What stood before one packet."""

    header_bytes: int
    link: int
    """DLT_* of what follows."""
    interface: str
    pid: int | None
    name: str
    effective_pid: int | None
    """For whom it was, when a daemon did it for another."""
    effective_name: str
    flags: int

    @property
    def direction(self) -> int:
        """1 in, 2 out, 0 when it is not told."""
        if self.flags & PTH_FLAG_DIR_IN:
            return _IN
        return _OUT if self.flags & PTH_FLAG_DIR_OUT else 0


def parse_pktap(raw: bytes) -> Origin | None:
    """The header before a packet; None when there is none, or no packet behind it."""
    if len(raw) < 40:
        return None
    (flags,) = struct.unpack_from("<I", raw, _FLAGS_AT)
    return _version_2(raw) if flags & PTH_FLAG_V2_HDR else _version_1(raw)


def _version_1(raw: bytes) -> Origin | None:
    if len(raw) < _V1.size:
        return None
    found = _V1.unpack_from(raw)
    size, following, link, interface, flags = found[:5]
    pid, name, effective, other = found[8], found[9], found[15], found[16]
    if following != PTH_TYPE_PACKET or not _V1.size <= size <= len(raw):
        return None
    return Origin(size, link, _text(interface), _pid(pid), _text(name), _pid(effective), _text(other), flags)


def _version_2(raw: bytes) -> Origin | None:
    found = _V2.unpack_from(raw)
    size, _, _, interface, name, other, link = found[:7]
    pid, effective, flags = found[-3:]
    if not _V2.size <= size <= len(raw):
        return None
    head = raw[:size]
    return Origin(
        size, link, _at(head, interface, _INTERFACE_BYTES), _pid(pid), _at(head, name, _NAME_BYTES), _pid(effective),
        _at(head, other, _NAME_BYTES), flags,
    )  # fmt: skip


def _at(head: bytes, offset: int, most: int) -> str:
    return _text(head[offset : offset + most]) if _V2.size <= offset < len(head) else ""


def _text(raw: bytes) -> str:
    return parse_text(raw)


def _pid(number: int) -> int | None:
    return number if number > 0 else None
