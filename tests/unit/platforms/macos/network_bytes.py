"""Made-up answers of the kernel about its network, as bytes."""

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from hostscope.platforms.macos.parse_dnsinfo import Memory


def padded(raw: bytes, to: int) -> bytes:
    return raw + bytes(-len(raw) % to)


def address16(text: str) -> bytes:
    """16 bytes, of which IPv4 uses the last four."""
    return ip_address(text).packed.rjust(16, b"\0")


# Sockets of the kernel's lists ----------------------------------------------------------------------------------------


def pcblist(*sockets: bytes, head: int = 24) -> bytes:
    """A list: a head, records, and the head again."""
    generation = padded(struct.pack("<IIQQ", head, len(sockets), 9, 9), 8)
    return generation + b"".join(sockets) + generation


def pcb(
    local: tuple[str, int],
    remote: tuple[str, int] | None = None,
    *,
    generation: int = 1,
    state: int | None = None,
    uid: int = 501,
    last_pid: int = 7,
    so: int = 0xABC0,
    stride: int = 104,
    backlog: tuple[int, int] = (0, 0),
    queues: tuple[int, int] = (0, 0),
) -> bytes:
    """One socket's records; `stride` is the size of struct xsocket_n."""
    there = remote or ("::" if ":" in local[0] else "0.0.0.0", 0)
    six = ":" in local[0]
    block = struct.pack("<IIQ", 104, 0x10, 0x1234) + struct.pack(">HH", there[1], local[1])
    block += struct.pack("<QQiIBBB", 0x55, generation, 0, 0, 2 if six else 1, 64, 6).ljust(28, b"\0")
    block += address16(there[0]) + address16(local[0])
    made = padded(block.ljust(104, b"\0"), 8)
    family, (waiting, limit) = 30 if six else 2, backlog
    socket = struct.pack("<IIQhxxIhhQiihhhhHxxiIIii", stride, 0x1, so, 1, 0, 0, 0, 0, 6, family, waiting, 0, limit,
                         0, 0, 0, 0, uid, last_pid, last_pid)  # fmt: skip
    made += padded(socket.ljust(stride, b"\0"), 8)
    for kind, held in ((0x2, queues[0]), (0x4, queues[1])):
        made += padded(struct.pack("<III", 32, kind, held).ljust(32, b"\0"), 8)
    made += padded(struct.pack("<II", 200, 0x8).ljust(200, b"\0"), 8)
    if state is not None:
        made += padded(struct.pack("<II28xi", 204, 0x20, state).ljust(204, b"\0"), 8)
    return made


# Sockets of processes -------------------------------------------------------------------------------------------------


def fdinfo(kind: int, so: int, family: int, type_: int, protocol: int, part: bytes, **fields: int) -> bytes:
    """struct socket_fdinfo."""
    raw = bytearray(792)
    struct.pack_into("<QQiii", raw, 160, so, 0, type_, protocol, family)
    options, status = fields.get("options", 0), fields.get("status", 0)
    struct.pack_into("<hhhhhh", raw, 188, options, 0, status, fields.get("waiting", 0), 0, fields.get("limit", 0))
    struct.pack_into("<I", raw, 208, fields.get("received", 0))
    struct.pack_into("<I", raw, 232, fields.get("sent", 0))
    struct.pack_into("<i", raw, 256, kind)
    raw[264 : 264 + len(part)] = part
    return bytes(raw)


def inet_part(
    local: tuple[str, int], remote: tuple[str, int] | None, generation: int, state: int | None = None
) -> bytes:
    """struct in_sockinfo or tcp_sockinfo."""
    there = remote or ("::" if ":" in local[0] else "0.0.0.0", 0)
    ports = (int.from_bytes(port.to_bytes(2, "big"), "little") for port in (there[1], local[1]))
    raw = struct.pack("<iiQIIB", *ports, generation, 0, 0, 2 if ":" in local[0] else 1).ljust(32, b"\0")
    raw += address16(there[0]) + address16(local[0])
    return raw if state is None else raw.ljust(80, b"\0") + struct.pack("<i16xi", state, 1440).ljust(40, b"\0")


def unix_part(peer: int, name: bytes, other: bytes = b"") -> bytes:
    """struct un_sockinfo."""
    names = (struct.pack("BB", 2 + len(text) + 1, 1) + text if text else b"" for text in (name, other))
    return struct.pack("<QQ", peer, 0) + b"".join(text.ljust(255, b"\0") for text in names)


# Interfaces -----------------------------------------------------------------------------------------------------------


def link_message(name: bytes, index: int, kind: int, flags: int, mac: bytes = b"", **counted: int) -> bytes:
    """struct if_msghdr2 and the link's address."""
    raw = bytearray(160)
    struct.pack_into("<HBBiiH", raw, 0, 0, 5, 0x12, 0x10, flags, index)
    struct.pack_into("<i", raw, 24, counted.get("send_drops", 0))
    names = (
        "speed packets_in errors_in packets_out errors_out collisions in_ out multicast sent_multicast drops noproto"
    )
    values = [counted.get(each, 0) for each in names.split()]
    struct.pack_into("<B7xII12Q", raw, 32, kind, counted.get("mtu", 1500), 0, *values)
    address = struct.pack("<BBHBBBB", 8 + len(name) + len(mac), 18, index, kind, len(name), len(mac), 0) + name + mac
    raw += padded(address, 4)
    struct.pack_into("<H", raw, 0, len(raw))
    return bytes(raw)


def address_message(index: int, local: str, mask: bytes, other: str | None = None) -> bytes:
    """struct ifa_msghdr and its addresses: mask, address, broadcast."""
    bits = 0x4 | 0x20 | (0x80 if other else 0)
    raw = padded(mask, 4) + sockaddr(local) + (sockaddr(other) if other else b"")
    return struct.pack("<HBBiiHxxi", 20 + len(raw), 5, 0xC, bits, 0, index, 0) + raw


def route_message(index: int, flags: int, destination: str, mask: bytes | None, gateway: str | None) -> bytes:
    """struct rt_msghdr2 and its addresses; without a gateway that of a link."""
    link = struct.pack("<BBHBBBB", 20, 18, index, 6, 0, 0, 0).ljust(20, b"\0")
    raw = sockaddr(destination) + (sockaddr(gateway) if gateway else link)
    raw += b"" if mask is None else padded(mask, 4) or bytes(4)
    head = struct.pack("<HBBHxxii", 92 + len(raw), 5, 0x14, index, flags, 0x3 | (0x4 if mask is not None else 0))
    return head.ljust(92, b"\0") + raw


def mib_record(name: bytes, received: int, sent: int) -> bytes:
    """struct ifmibdata."""
    return name.ljust(16, b"\0") + bytes(36 + 64) + struct.pack("<QQ", received, sent) + bytes(48)


def sockaddr(text: str, port: int = 0) -> bytes:
    """struct sockaddr_in or sockaddr_in6."""
    packed = ip_address(text).packed
    if len(packed) == 4:
        return struct.pack(">BBH", 16, 2, port) + packed + bytes(8)
    return struct.pack(">BBHI", 28, 30, port, 0) + packed + bytes(4)


# Resolvers ------------------------------------------------------------------------------------------------------------


class MadeMemory:
    """Memory in which structures are laid out one after the other."""

    def __init__(self) -> None:
        self.base, self.raw = 0x10_0000, bytearray()

    def put(self, content: bytes) -> int:
        """The address that the content got."""
        at = self.base + len(self.raw)
        self.raw += content
        return at

    def fetch(self, address: int, size: int) -> bytes:
        start = address - self.base
        return bytes(self.raw[start : start + size]) if 0 <= start <= len(self.raw) else b""

    def text(self, address: int, most: int) -> bytes:
        return self.fetch(address, most).split(b"\0", 1)[0]

    def memory(self) -> Memory:
        return Memory(self.fetch, self.text)

    def resolver(self, servers: list[bytes], **fields: Any) -> int:
        """dns_resolver_t."""
        placed = [self.put(server) for server in servers]
        list_at = self.put(struct.pack(f"<{len(placed)}Q", *placed))
        search = [self.put(text + b"\0") for text in fields.get("search", ())]
        search_at = self.put(struct.pack(f"<{len(search)}Q", *search))
        domain = self.put(fields["domain"] + b"\0") if "domain" in fields else 0
        options = self.put(fields["options"] + b"\0") if "options" in fields else 0
        raw = struct.pack(
            "<QiQHxxiQiQQIIIII", domain, len(placed), list_at, fields.get("port", 0), len(search), search_at, 0, 0,
            options, 5, fields.get("order", 0), fields.get("interface", 0), fields.get("flags", 0), 0,
        )  # fmt: skip
        return self.put(raw.ljust(96, b"\0"))

    def config(self, default: list[int], scoped: list[int], service: Sequence[int] = ()) -> int:
        """dns_config_t."""
        lists = [self.put(struct.pack(f"<{len(each)}Q", *each)) for each in (default, scoped, service)]
        main, other, single = zip(map(len, (default, scoped, service)), lists, strict=True)
        return self.put(struct.pack("<iQiQQiQI", *main, *other, 1, *single, 1))


# Packets --------------------------------------------------------------------------------------------------------------


def bpf_packet(packet: bytes, seconds: int, micros: int, length: int | None = None, header: int = 18) -> bytes:
    """struct bpf_hdr and a packet, up to the next multiple of four bytes."""
    head = struct.pack("<iiIIH", seconds, micros, len(packet), length or len(packet), header)
    return padded(head.ljust(header, b"\0") + packet, 4)


def pktap_v1(link: int, pid: int, name: bytes, interface: bytes, flags: int, effective: int = 0) -> bytes:
    """struct pktap_header."""
    head = struct.pack("<III24sIIIIi17sBHIHHi17s", 156, 1, link, interface, flags, 2, 14, 0, pid, name, 0, 0, 0, 6, 0,
                       effective, b"")  # fmt: skip
    return head.ljust(156, b"\0")


def pktap_v2(link: int, pid: int, name: bytes, interface: bytes, flags: int, effective: int = 0) -> bytes:
    """struct pktap_v2_hdr, its texts behind it."""
    texts = interface.ljust(24, b"\0") + name.ljust(17, b"\0")
    size = 40 + len(texts)
    head = struct.pack("<6BHHHHHIIIiiI", size, 0, 0, 40, 64, 0, link, 14, 0, 6, 6, 2, 0, 0, pid, effective,
                       flags | 0x80000)  # fmt: skip
    return head + texts


# Statistics -----------------------------------------------------------------------------------------------------------


def ntstat_update(
    source: int,
    provider: int,
    pid: int,
    name: bytes,
    local: tuple[str, int],
    remote: tuple[str, int] | None,
    counts: tuple[int, int, int, int],
    *,
    old: bool = False,
    flags: int = 0,
    effective: int = 0,
) -> bytes:
    """struct nstat_msg_src_update with a description of TCP or UDP; counts are packets and bytes in, then out."""
    ends = b"".join(sockaddr(*end).ljust(28, b"\0") if end else bytes(28) for end in (local, remote))
    raw = bytearray(304 if old else 344)
    pid_at, local_at, name_at, interface_at = (100, 108, 180, 56) if old else (116, 124, 196, 72)
    if provider in (4, 5):
        raw = bytearray(272)
        pid_at, local_at, name_at, interface_at = 128, 56, 132, 112
    effective_at = 196 if provider in (4, 5) else pid_at + 4
    struct.pack_into("<i", raw, pid_at, pid)
    struct.pack_into("<i", raw, effective_at, effective or pid)
    struct.pack_into("<I", raw, interface_at, 4)
    raw[local_at : local_at + 56] = ends
    raw[name_at : name_at + len(name)] = name
    body = struct.pack("<QQ", source, 0) + struct.pack("<4Q", *counts).ljust(112, b"\0") + struct.pack("<I4x", provider)
    return struct.pack("<QIHH", 0, 10006, 16 + len(body) + len(raw), flags) + body + bytes(raw)


def ntstat_message(kind: int, context: int, flags: int = 0, body: bytes = b"") -> bytes:
    return struct.pack("<QIHH", context, kind, 16 + len(body), flags) + body
