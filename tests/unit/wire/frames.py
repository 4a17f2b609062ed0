"""Frames of DNS traffic, built byte by byte."""

import struct
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import numpy as np

from hostscope.wire.batch import Link, PacketBatch

AT = 1_700_000_000_000_000_000
MS = 1_000_000
CLIENT, SERVER = ("10.0.0.5", 40_000), ("192.0.2.53", 53)
Place = tuple[str, int]


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    one, two = ip_address(source), ip_address(destination)
    if one.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + one.packed + two.packed + payload
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + one.packed + two.packed + payload
    )


def udp(source: Place, destination: Place, payload: bytes) -> bytes:
    header = struct.pack("!HHHH", source[1], destination[1], 8 + len(payload), 0)
    return ip(source[0], destination[0], 17, header + payload)


def tcp(source: Place, destination: Place, payload: bytes, sequence: int, flags: int = 0x18, options: int = 0) -> bytes:
    size = 20 + options
    header = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence & 0xFFFFFFFF, 0, size << 2, flags, 0, 0, 0)
    return ip(source[0], destination[0], 6, header + bytes(options) + payload)


def batch(*frames: bytes | tuple[int, bytes]) -> PacketBatch:
    """Frames, or (nanoseconds since `AT`, frame), as raw IP."""
    timed = [(0, frame) if isinstance(frame, bytes) else frame for frame in frames]
    sizes = np.array([len(frame) for _, frame in timed], np.uint32)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) if timed else np.zeros(0, np.int64)
    data = np.frombuffer(b"".join(frame for _, frame in timed) or b"", np.uint8)
    at_ns = np.array([AT + late for late, _ in timed], np.int64)
    return PacketBatch(data, offsets, sizes, sizes, at_ns, np.zeros(len(timed), np.uint16), Link.RAW)


def question(name: str = "www.example.com", kind: str = "A", number: int = 7) -> bytes:
    return dns.message.make_query(name, kind, id=number).to_wire()


def answer(
    name: str = "www.example.com",
    kind: str = "A",
    number: int = 7,
    value: str | None = "192.0.2.80",
    rcode: str = "NOERROR",
) -> bytes:
    message = dns.message.make_response(dns.message.make_query(name, kind, id=number))
    if value is not None:
        message.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, value))
    message.set_rcode(dns.rcode.from_text(rcode))
    return message.to_wire()


def pcap(*frames: tuple[int, bytes]) -> bytes:
    """A capture file with nanoseconds, of raw IP."""
    records = b""
    for late, frame in frames:
        seconds, rest = divmod(AT + late, 1_000_000_000)
        records += struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 101) + records
