"""Packets made by hand, one function for each header."""

import ipaddress
import struct

import numpy as np

from hostscope.wire.batch import Link, PacketBatch


def ethernet(kind: int, payload: bytes, vlans: tuple[tuple[int, int], ...] = ()) -> bytes:
    """`vlans` are pairs of tag type and identifier, from outside."""
    tags = b"".join(struct.pack(">HH", tag, vlan | 0x6000) for tag, vlan in vlans)
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + tags + struct.pack(">H", kind) + payload


def ipv4(protocol: int, payload: bytes, source: str = "10.0.0.1", target: str = "10.0.0.2", *, options: bytes = b"",
         number: int = 7, field: int = 0, total: int | None = None, ttl: int = 64) -> bytes:  # fmt: skip
    size = 20 + len(options)
    return struct.pack(
        ">BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(payload) if total is None else total, number, field, ttl,
        protocol, 0, ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed,
    ) + options + payload  # fmt: skip


def ipv6(protocol: int, payload: bytes, source: str = "fd00::1", target: str = "fd00::2",
         length: int | None = None) -> bytes:  # fmt: skip
    return struct.pack(
        ">IHBB16s16s", 0x6000_0000, len(payload) if length is None else length, protocol, 61,
        ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed,
    ) + payload  # fmt: skip


def tcp(source: int, target: int, payload: bytes = b"", flags: int = 0x10, options: bytes = b"") -> bytes:
    return struct.pack(
        ">HHIIBBHHH", source, target, 1, 2, (5 + len(options) // 4) << 4, flags, 1024, 0, 0
    ) + options + payload  # fmt: skip


def udp(source: int, target: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">HHHH", source, target, 8 + len(payload) if length is None else length, 0) + payload


def icmp(kind: int, code: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">BBHHH", kind, code, 0, number, 1) + payload


def sctp(source: int, target: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHII", source, target, 9, 0) + payload


def gre(kind: int, payload: bytes, key: int | None = None, checksum: bool = False, sequence: bool = False) -> bytes:
    flags = 0x8000 * checksum | 0x2000 * (key is not None) | 0x1000 * sequence
    fields = b"\0\0\0\0" * checksum + (b"" if key is None else struct.pack(">I", key)) + b"\0\0\0\x05" * sequence
    return struct.pack(">HH", flags, kind) + fields + payload


def vxlan(number: int, frame: bytes) -> bytes:
    return struct.pack(">II", 0x0800_0000, number << 8) + frame


def extension(following: int, units: int = 0) -> bytes:
    """Hop-by-hop, routing or destination options."""
    return struct.pack(">BB", following, units) + bytes(6 + units * 8)


def fragment_header(following: int, offset: int, more: bool, number: int) -> bytes:
    return struct.pack(">BBHI", following, 0, offset << 3 | more, number)


def authentication(following: int, units: int = 4) -> bytes:
    return struct.pack(">BB", following, units) + bytes((units + 2) * 4 - 2)


def batch(packets: list[bytes], link: int = Link.ETHERNET, *, lengths: list[int] | None = None, before: bytes = b"",
          after: bytes = b"") -> PacketBatch:  # fmt: skip
    """Packets one after another, with other bytes around them."""
    sizes = np.array([len(packet) for packet in packets], np.int64)
    offsets = len(before) + np.cumsum(sizes) - sizes
    count = len(packets)
    return PacketBatch(
        np.frombuffer(before + b"".join(packets) + after, np.uint8), offsets.astype(np.int64), sizes.astype(np.uint32),
        (sizes if lengths is None else np.array(lengths)).astype(np.uint32), np.arange(count, dtype=np.int64),
        np.zeros(count, np.uint16), link,
    )  # fmt: skip
