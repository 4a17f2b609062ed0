"""What bpf/traffic.bpf.c keeps of each pair of a process and a socket: bytes of its maps to flows. Pure."""

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from msgspec.structs import replace

from hostscope.model.socket import Endpoint
from hostscope.model.text import decode
from hostscope.model.traffic import Counts, Flow
from hostscope.platforms.linux.clock import TICK_NS, Boot
from hostscope.platforms.posix_accounts import Accounts

KEY, COUNTS = struct.Struct("=QQII"), struct.Struct("=5Q")
USAGE = struct.Struct("=7Q16sHxx16sHxxIIHHHH16s")
"""Counts, and then the description."""
KERNEL, INBOUND, OUTBOUND = 1, 2, 4
_RAW, _MAPPED = 3, b"\0" * 10 + b"\xff\xff"
PROTOCOLS = {
    0: "ip", 1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
    58: "icmp6", 132: "sctp", 136: "udplite", 255: "raw", 262: "mptcp",
}  # fmt: skip
"""IPPROTO_* that people know by name."""
_WITH_PORTS = frozenset({6, 17, 33, 132, 136, 262})


class Usage(NamedTuple):
    """Counts and description of a pair, as numbers."""

    sent: int
    received: int
    sends: int
    receives: int
    last_tick: int
    first_ns: int
    """Since boot."""
    first_tick: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    uid: int
    net_ns: int
    family: int
    protocol: int
    type: int
    flags: int
    name: bytes


def protocol_name(number: int) -> str:
    """``tcp``; the number as text where there is no usual name."""
    return PROTOCOLS.get(number) or str(number)


def address_text(raw: bytes, family: int) -> str:
    """An address of 16 bytes as text; IPv4-mapped ones as plain IPv4."""
    if family == AF_INET:
        return inet_ntop(AF_INET, raw[:4])
    if raw.startswith(_MAPPED):
        return inet_ntop(AF_INET, raw[12:])
    return inet_ntop(AF_INET6, raw)


def counts_of(usage: Usage) -> Counts:
    """Its payload."""
    return Counts(usage.sent, usage.received, usage.sends, usage.receives)


def flow_of(key: bytes, value: bytes, boot: Boot, accounts: Accounts, tick_ns: int) -> Flow:
    """The flow that a pair is.

    Args:
        value: counts and description.
        tick_ns: length of a tick of the kernel's timer, in which last uses are counted.
    """
    cookie, start_ns, pid, _ = KEY.unpack(key)
    usage = Usage(*USAGE.unpack(value))
    kernel = bool(usage.flags & KERNEL)
    first_at_ns = boot.at_ns + usage.first_ns
    return Flow(
        protocol=protocol_name(usage.protocol),
        local=_end(usage.local, usage.local_port, usage),
        remote=_end(usage.remote, usage.remote_port, usage) if usage.remote_port or any(usage.remote) else None,
        key=None if kernel else boot.key(pid, start_ns // TICK_NS),
        name=decode(usage.name.partition(b"\0")[0]),
        unknown="kernel" if kernel else None,
        user=accounts.user(usage.uid),
        direction="inbound" if usage.flags & INBOUND else "outbound" if usage.flags & OUTBOUND else None,
        net_ns=usage.net_ns,
        cookie=cookie,
        payload=counts_of(usage),
        first_at_ns=first_at_ns,
        last_at_ns=first_at_ns + (usage.last_tick - usage.first_tick) * tick_ns,
    )


def flow_again(flow: Flow, before: bytes, counts: bytes, tick_ns: int) -> Flow:
    """The same flow with other counts; `before` are those that it was made of."""
    *numbers, last_tick = COUNTS.unpack(counts)
    passed_ns = (last_tick - COUNTS.unpack(before)[-1]) * tick_ns
    return replace(flow, payload=Counts(*numbers), last_at_ns=(flow.last_at_ns or 0) + passed_ns)


def _end(address: bytes, port: int, usage: Usage) -> Endpoint:
    has_port = usage.protocol in _WITH_PORTS and usage.type != _RAW
    return Endpoint(address_text(address, usage.family), port if has_port else None)
