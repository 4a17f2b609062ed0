"""A `FlowTable` as records."""

import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from hostscope.model.socket import Endpoint
from hostscope.wire.batch import I64, U8, U64, Mask
from hostscope.wire.decoded import Tunnel
from hostscope.wire.flow_keys import ScopeColumns, take_scope_apart
from hostscope.wire.flows import FlowTable, Seen
from hostscope.wire.plain import TCP, UDP
from hostscope.wire.transport import ICMP, ICMP6, SCTP, UDP_LITE

_WITH_PORTS = (TCP, UDP, UDP_LITE, SCTP)
_CHUNK = 4096


class Sent(Struct, frozen=True, gc=False):
    """What one end sent."""

    packets: int
    wire_bytes: int
    """As they were on the wire, link header included."""
    payload_bytes: int
    """The transport's payload; TCP's retransmissions count again."""
    tcp_flags: int
    """All flags that any packet had."""


class WireFlow(Struct, frozen=True, gc=False):
    """What two ends have sent each other."""

    flow_id: int
    """Number in the table, in order of first packets; never used twice."""
    protocol: int
    """IP protocol number."""
    initiator: Endpoint
    responder: Endpoint
    initiator_by: str
    """``syn``: the handshake was seen; ``first_seen``: a heuristic, the sender of the first packet."""
    sent: Sent
    """By the initiator."""
    received: Sent
    first_at_ns: int
    last_at_ns: int
    state: str | None
    """TCP: ``rst`` (either end), ``fin`` (both), ``closing`` (one), ``syn`` (never answered), ``open``."""
    icmp_id: int | None = None
    """Identifier of an echo and its replies."""
    vlans: tuple[int, ...] = ()
    """From the outermost tag inwards."""
    tunnel: str | None = None
    """``gre vxlan ip``."""
    tunnel_id: int | None = None
    """VXLAN network identifier or GRE key."""
    outer: tuple[str, str] | None = None
    """Ends of the tunnel, as the first packet went."""
    interface: int | None = None
    """Index in the source's list, when the table keeps interfaces apart."""
    domain: str | None = None
    domain_source: str | None = None


class _Ends(NamedTuple):
    """Columns of some flows: the end whose packets were `way`."""

    points: list[Endpoint]
    ports: list[int]
    sent: list[Sent]
    seen: list[int]


def records(table: FlowTable) -> Iterator[WireFlow]:
    """The flows of the table, in order of their first packets."""
    rows = np.flatnonzero(table.index.live)
    rows = rows[np.argsort(table.ids[rows])]
    for start in range(0, len(rows), _CHUNK):
        yield from _chunk(table, rows[start : start + _CHUNK])


def _chunk(table: FlowTable, rows: I64) -> Iterator[WireFlow]:
    words = [word[rows] for word in table.index.words]
    scope = take_scope_apart(words[2])
    backward, by_syn = _opened(table, rows)
    initiators, responders = (_ends(table, rows, words, scope, way) for way in (backward, ~backward))
    kinds = scope.protocol.tolist()
    first = np.minimum(table.ends.first_ns[rows * 2], table.ends.first_ns[rows * 2 + 1]).tolist()
    last = np.maximum(table.ends.last_ns[rows * 2], table.ends.last_ns[rows * 2 + 1]).tolist()
    extras = _extras(table, rows, scope, words[6])
    for place, flow_id in enumerate(table.ids[rows].tolist()):
        kind, sent, received = kinds[place], initiators.sent[place], responders.sent[place]
        domain, source = table.names.get(int(rows[place]), (None, None))
        yield WireFlow(
            flow_id, kind, initiators.points[place], responders.points[place],
            "syn" if by_syn[place] else "first_seen", sent, received, first[place], last[place],
            _state(initiators.seen[place], responders.seen[place]) if kind == TCP else None,
            initiators.ports[place] if kind in (ICMP, ICMP6) else None, *extras[place], domain, source,
        )  # fmt: skip


def _opened(table: FlowTable, rows: I64) -> tuple[Mask, Mask]:
    """Whether the upper end of each flow opened it, and whether that is known from the handshake."""
    forth, back = table.ends.seen[rows * 2], table.ends.seen[rows * 2 + 1]
    lower = ((forth & Seen.OPENED) != 0) | ((back & Seen.ANSWERED) != 0)
    upper = ((back & Seen.OPENED) != 0) | ((forth & Seen.ANSWERED) != 0)
    by_syn = lower != upper  # both: opened from both ends, or the ports were used again the other way round
    return np.where(by_syn, upper, table.first_backward[rows]), by_syn


def _ends(table: FlowTable, rows: I64, words: list[U64], scope: ScopeColumns, backward: Mask) -> _Ends:
    """The ends that sent the packets of that direction; the lower end sent what is not backward."""
    edge = np.where(backward, words[1], words[0])
    short = (scope.family == 4) & (scope.tunnel == 0)
    low = np.where(short, edge >> np.uint64(16), np.where(backward, words[4], words[3]))
    ports = np.where(backward, words[5], words[5] >> np.uint64(16))
    ports = (np.where(short, edge, ports) & np.uint64(0xFFFF)).tolist()
    addresses = _addresses(scope.family, np.where(scope.family == 6, edge, 0), low)
    points = [
        Endpoint(address, port if kind in _WITH_PORTS else None)
        for address, port, kind in zip(addresses, ports, scope.protocol.tolist(), strict=True)
    ]
    ways, ends = rows * 2 + backward, table.ends
    seen = ends.seen[ways].tolist()
    flags = (ends.seen[ways] & 0xFF).tolist()
    counts = zip(*(column[ways].tolist() for column in ends[:3]), flags, strict=True)
    return _Ends(points, ports, [Sent(*one) for one in counts], seen)


def _addresses(family: I64 | U8, high: U64, low: U64) -> list[str]:
    raw = np.stack([high, low], axis=1).astype(">u8").tobytes()
    return [
        socket.inet_ntop(socket.AF_INET, raw[place * 16 + 12 : place * 16 + 16])
        if four
        else socket.inet_ntop(socket.AF_INET6, raw[place * 16 : place * 16 + 16])
        for place, four in enumerate((family == 4).tolist())
    ]


_Extra = tuple[tuple[int, ...], str | None, int | None, tuple[str, str] | None, int | None]


def _extras(table: FlowTable, rows: I64, scope: ScopeColumns, number: U64) -> list[_Extra]:
    """VLANs, tunnel, its number and ends, and interface of each flow: nearly always nothing."""
    interfaces: Sequence[int | None] = scope.interface.tolist() if table.scope.interface else [None] * len(rows)
    outer = _outer(table, rows)
    return [
        (
            tuple(vlan for vlan in tags if vlan >= 0),
            Tunnel(tunnel).name.lower() if tunnel else None,
            tunnel_id if tunnel in (Tunnel.GRE, Tunnel.VXLAN) else None,
            outer.get(place),
            interface,
        )
        for place, (*tags, tunnel, tunnel_id, interface) in enumerate(
            zip(scope.vlan_outer.tolist(), scope.vlan_inner.tolist(), scope.tunnel.tolist(), number.tolist(),
                interfaces, strict=True)
        )
    ]  # fmt: skip


def _outer(table: FlowTable, rows: I64) -> dict[int, tuple[str, str]]:
    """Place among `rows` -> ends of the tunnel."""
    places = np.flatnonzero(table.outer_family[rows])
    some = rows[places]
    family, (source_high, source_low, high, low) = table.outer_family[some], (word[some] for word in table.outer)
    ends = zip(_addresses(family, source_high, source_low), _addresses(family, high, low), strict=True)
    return dict(zip(places.tolist(), ends, strict=True))


def _state(sent: int, received: int) -> str:
    if (sent | received) & Seen.RST:
        return "rst"
    if sent & received & Seen.FIN:
        return "fin"
    if (sent | received) & Seen.FIN:
        return "closing"
    return "syn" if sent & Seen.OPENED and not received else "open"
