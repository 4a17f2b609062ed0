"""What raw sockets of Windows give: IPv4 packets whole, IPv6 ones without their header. Pure."""

import struct

from hostscope.platforms.windows.native.winsock import IPPROTO_IPV6, IPV6_PKTINFO

TCP, UDP, ICMP6, NO_NEXT = 6, 17, 58, 59
IPV6_HEADER_BYTES = 40
_CMSG = struct.Struct("<Qii")
_ALIGNMENT = 8
_MOST_MESSAGES = 16
_HEADER = struct.Struct(">IHBB16s16s")


def parse_destination(control: bytes) -> bytes | None:
    """The destination in ancillary data (IPV6_PKTINFO); None when it is not there."""
    at = 0
    for _ in range(_MOST_MESSAGES):
        if at + _CMSG.size > len(control):
            return None
        size, level, kind = _CMSG.unpack_from(control, at)
        if size < _CMSG.size:
            return None
        start = at + _CMSG.size
        if (level, kind) == (IPPROTO_IPV6, IPV6_PKTINFO) and start + 16 <= min(at + size, len(control)):
            return control[start : start + 16]
        at += -(-size // _ALIGNMENT) * _ALIGNMENT
    return None


def protocol_of(payload: bytes | memoryview, source: bytes, destination: bytes) -> int | None:
    """What follows an IPv6 header that is not there: TCP, UDP or ICMPv6; None for anything else.

    By checksum, which takes in the protocol and both addresses: of other payloads one in 22,000 fits one of the three
    by chance. Sent packets whose checksum the card is to make have none yet: a UDP length that fits, or a TCP header
    that makes sense to the last flag, must do for those (a heuristic).
    """
    for protocol in (TCP, UDP, ICMP6):
        if len(payload) >= _LEAST[protocol] and _sum(payload, source, destination, protocol) == 0xFFFF:
            return protocol
    if len(payload) >= 8 and int.from_bytes(payload[4:6], "big") == len(payload):
        return UDP
    return TCP if _looks_like_tcp(payload) else None


_LEAST = {TCP: 20, UDP: 8, ICMP6: 4}


def _sum(payload: bytes | memoryview, source: bytes, destination: bytes, protocol: int) -> int:
    """The ones' complement sum of RFC 8200, 8.1: all ones for what is intact."""
    raw = (
        source + destination + struct.pack(">II", len(payload), protocol) + bytes(payload) + b"\0" * (len(payload) % 2)
    )
    total: int = sum(struct.unpack(f">{len(raw) // 2}H", raw))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _looks_like_tcp(payload: bytes | memoryview) -> bool:
    if len(payload) < 20:
        return False
    header, reserved, flags = (payload[12] >> 4) * 4, payload[12] & 0x0E, payload[13]
    urgent = bytes(payload[18:20]) != b"\0\0"
    ways = flags & 0x07  # FIN, SYN, RST exclude each other; all but the first SYN acknowledge
    return (
        20 <= header <= len(payload)
        and not reserved
        and ways in (0, 1, 2, 4)
        and bool(flags & 0x10 or ways in (2, 4))
        and urgent == bool(flags & 0x20)
        and payload[:2] != b"\0\0"
        and payload[2:4] != b"\0\0"
    )


def ipv6_header(payload_bytes: int, protocol: int | None, source: bytes, destination: bytes) -> bytes:
    """A header in place of the one that Windows keeps; its hop limit is 0, which none on a wire has."""
    following = NO_NEXT if protocol is None else protocol
    return _HEADER.pack(6 << 28, min(payload_bytes, 0xFFFF), following, 0, source, destination)
