"""A slow decoder of one packet at a time, written from the formats and not from the code under test."""

import contextlib
import struct
from dataclasses import dataclass, field

from hostscope.wire.batch import Link
from hostscope.wire.decoded import Problem, Tunnel

TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
AF6 = (10, 23, 24, 28, 30)


class Stop(Exception):
    """No more to see."""


@dataclass
class Seen:
    family: int = 0
    protocol: int = 0
    source: bytes = b""
    destination: bytes = b""
    ports: tuple[int, int] = (0, 0)
    tcp_flags: int = 0
    icmp: int = 0
    payload: tuple[int, int, int] = (0, 0, 0)
    """Place in the packet, bytes on the wire, bytes captured."""
    ttl: int = 0
    fragment: int = 0
    fragment_id: int = 0
    vlans: list[int] = field(default_factory=list)
    tunnel: int = 0
    tunnel_id: int = 0
    outer: tuple[int, bytes, bytes] = (0, b"", b"")
    problem: int = 0


class Reader:
    def __init__(self, raw: bytes, length: int) -> None:
        self.raw, self.length, self.limit, self.seen = raw, max(length, len(raw)), max(length, len(raw)), Seen()
        self.pending: tuple[int, int] | None = None

    def need(self, at: int, size: int) -> bytes:
        if at + size > self.limit:
            self.stop(Problem.MALFORMED)
        if at + size > len(self.raw):
            self.stop(Problem.TRUNCATED)
        return self.raw[at : at + size]

    def stop(self, problem: int | None = None) -> None:
        if problem is not None:
            self.seen.problem = problem
        raise Stop

    def note_payload(self, at: int) -> None:
        begin, size = min(at, len(self.raw)), max(self.limit - at, 0)
        self.seen.payload = (begin, size, min(len(self.raw) - begin, size))

    def link(self, link: int) -> None:
        if link == Link.ETHERNET:
            self.ethernet(0, True)
        elif link == Link.LINUX_SLL:
            self.network(16, struct.unpack(">H", self.need(0, 16)[14:])[0], True)
        elif link == Link.LINUX_SLL2:
            self.network(20, struct.unpack(">H", self.need(0, 20)[:2])[0], True)
        elif link in (Link.NULL, Link.LOOP):
            head = self.need(0, 4)
            number = struct.unpack(">I", head)[0]
            if link == Link.NULL:
                number = min(number, struct.unpack("<I", head)[0])
            self.ip(4, 0x0800 if number == 2 else 0x86DD if number in AF6 else 0, 0)
        elif link in (Link.RAW, Link.RAW_BSD, Link.RAW_OPENBSD, Link.IPV4, Link.IPV6):
            version = self.need(0, 1)[0] >> 4
            if version not in (4, 6):
                self.stop(Problem.MALFORMED)
            self.ip(0, 0x0800 if version == 4 else 0x86DD, 0)
        else:
            self.stop(Problem.UNKNOWN_LINK)

    def ethernet(self, at: int, note: bool, depth: int = 0) -> None:
        self.network(at + 14, struct.unpack(">H", self.need(at, 14)[12:])[0], note, depth)

    def network(self, at: int, kind: int, note: bool, depth: int = 0) -> None:
        for _ in range(4):
            if kind not in TAGS:
                break
            tag, kind = struct.unpack(">HH", self.need(at, 4))
            if note:
                self.seen.vlans.append(tag & 0xFFF)
            at += 4
        if kind in TAGS:
            self.stop(Problem.TOO_DEEP)
        self.ip(at, kind, depth)

    def ip(self, at: int, kind: int, depth: int) -> None:
        if kind not in (0x0800, 0x86DD):
            self.stop(Problem.NOT_IP)
        if depth == 4:
            self.stop(Problem.TOO_DEEP)
        (self.ipv4 if kind == 0x0800 else self.ipv6)(at, depth)

    def enter(self, family: int, source: bytes, destination: bytes) -> None:
        old = self.seen
        seen = Seen(family, source=source, destination=destination, vlans=old.vlans, problem=old.problem,
                    payload=old.payload, tunnel=old.tunnel, tunnel_id=old.tunnel_id, outer=old.outer)  # fmt: skip
        if self.pending:
            seen.tunnel, seen.tunnel_id = self.pending
            seen.outer = (old.family, old.source, old.destination)
            self.pending = None
        self.seen = seen

    def cut(self, at: int, size: int) -> None:
        if at + size > self.limit:
            self.seen.problem = Problem.MALFORMED
        self.limit = min(self.limit, at + size)

    def ipv4(self, at: int, depth: int) -> None:
        head = self.need(at, 20)
        version, size, total = head[0] >> 4, (head[0] & 15) * 4, struct.unpack(">H", head[2:4])[0]
        if version != 4 or size < 20 or 0 < total < size:
            self.stop(Problem.MALFORMED)
        if total:
            self.cut(at, total)
        self.enter(4, head[12:16], head[16:20])
        seen = self.seen
        seen.ttl, seen.protocol = head[8], head[9]
        number, part = struct.unpack(">HH", head[4:8])
        if part & 0x3FFF:
            seen.fragment, seen.fragment_id = (2 if part & 0x1FFF else 1), number
        self.beyond(at + size, head[9], depth)

    def ipv6(self, at: int, depth: int) -> None:
        head = self.need(at, 40)
        size, kind = struct.unpack(">HB", head[4:7])
        if head[0] >> 4 != 6:
            self.stop(Problem.MALFORMED)
        if size or kind == 59:
            self.cut(at, 40 + size)
        self.enter(6, head[8:24], head[24:40])
        self.seen.ttl, self.seen.protocol = head[7], kind
        self.beyond(at + 40, kind, depth)

    def beyond(self, at: int, kind: int, depth: int) -> None:
        seen = self.seen
        for _ in range(8):
            if not self.is_extension(kind):
                break
            self.note_payload(at)
            head = self.need(at, 8)
            size = 8 if kind == 44 else (head[1] + 2) * 4 if kind == 51 else (head[1] + 1) * 8
            if kind == 44:
                part, number = struct.unpack(">HI", head[2:8])
                state = 2 if part >> 3 else 1 if part & 1 else 0
                seen.fragment, seen.fragment_id = state, number if state else 0
            at, kind = at + size, head[0]
            seen.protocol = kind
        if self.is_extension(kind):
            self.stop(Problem.TOO_DEEP)
        self.note_payload(at)
        if seen.fragment != 2:
            self.transport(at, kind, depth)

    def is_extension(self, kind: int) -> bool:
        return self.seen.fragment != 2 and (kind == 51 or (self.seen.family == 6 and kind in (0, 43, 44, 60)))

    def transport(self, at: int, kind: int, depth: int) -> None:
        seen = self.seen
        if kind in (1, 6, 17, 58, 132, 136):
            seen.payload = (seen.payload[0], 0, 0)
        if kind in (6, 17, 132, 136):
            seen.ports = struct.unpack(">HH", self.need(at, 4))  # type: ignore[assignment]
        if kind == 6:
            head = self.need(at, 20)
            seen.tcp_flags, size = head[13], (head[12] >> 4) * 4
            if size < 20 or at + size > self.limit:
                seen.problem = Problem.MALFORMED
            self.note_payload(at + max(size, 20))
        elif kind == 132:
            self.need(at, 12)
            self.note_payload(at + 12)
        elif kind in (17, 136):
            self.datagram(at, kind, depth)
        elif kind in (1, 58):
            head = self.need(at, 2)
            seen.icmp = head[0] << 8 | head[1]
            head = self.need(at, 8)
            if head[0] in ((0, 8, 13, 14, 15, 16, 17, 18) if kind == 1 else (128, 129)):
                seen.ports = (struct.unpack(">H", head[4:6])[0],) * 2
            self.note_payload(at + 8)
        elif kind in (4, 41):
            self.pending = (Tunnel.IP, 0)
            self.ip(at, 0x0800 if kind == 4 else 0x86DD, depth + 1)
        elif kind == 47:
            self.gre(at, depth)

    def datagram(self, at: int, kind: int, depth: int) -> None:
        _, target, size, _ = struct.unpack(">HHHH", self.need(at, 8))
        room = self.limit - at
        if kind == 17 and self.seen.fragment != 1 and size:
            if size < 8 or size > room:
                self.seen.problem = Problem.MALFORMED
            self.limit = at + min(max(size, 8), room)
        self.note_payload(at + 8)
        if kind == 17 and target == 4789:
            head = self.need(at + 8, 8)
            if head[0] & 8:
                self.pending = (Tunnel.VXLAN, struct.unpack(">I", head[4:])[0] >> 8)
                self.ethernet(at + 16, False, depth + 1)

    def gre(self, at: int, depth: int) -> None:
        flags, kind = struct.unpack(">HH", self.need(at, 4))
        if flags & 0x4007:
            self.stop()
        at += 4 + 4 * bool(flags & 0x8000)
        key = 0
        if flags & 0x2000:
            with contextlib.suppress(Stop):
                key = struct.unpack(">I", self.need(at, 4))[0]
            at += 4
        at += 4 * bool(flags & 0x1000)
        self.pending = (Tunnel.GRE, key)
        if kind in (0x0800, 0x86DD):
            self.ip(at, kind, depth + 1)
        if kind == 0x6558:
            self.ethernet(at, False, depth + 1)


def read(raw: bytes, length: int, link: int) -> Seen:
    """What one packet says."""
    reader = Reader(raw, length)
    with contextlib.suppress(Stop):
        reader.link(link)
    return reader.seen
