"""Packets inside packets: GRE, VXLAN and IP in IP."""

import numpy as np

from hostscope.wire.cursor import Cursor, Decoding, be16, be32
from hostscope.wire.decoded import Tunnel
from hostscope.wire.link import IPV4, IPV6, ethernet

IP_IN_IP, IPV6_IN_IP, GRE = 4, 41, 47
VXLAN = 0x1_0000
"""Stands where a protocol number would; no such number exists."""
_BRIDGED = 0x6558
"""GRE's protocol type for a whole Ethernet frame."""


def carried(run: Decoding, cursor: Cursor) -> Cursor:
    """What the tunnels among the packets carry, at its IP header; `kind` becomes an EtherType.

    What cannot be followed (an unknown protocol, optional routing, a version of GRE that is not 0) is left out without
    a mark: such a packet is what it says, a packet of the tunnel.
    """
    parts = [_ip_in_ip(run, cursor), *_gre(run, cursor.only(cursor.kind == GRE))]
    vxlan = _vxlan(run, cursor.only(cursor.kind == VXLAN))
    framed = Cursor.joined([parts.pop(), vxlan])
    if len(framed):
        parts.append(ethernet(run, framed, note_vlans=False))
    return Cursor.joined(parts)


def _ip_in_ip(run: Decoding, cursor: Cursor) -> Cursor:
    cursor = cursor.only((cursor.kind == IP_IN_IP) | (cursor.kind == IPV6_IN_IP))
    run.carry(cursor.index, Tunnel.IP)
    return cursor.next(cursor.at, np.where(cursor.kind == IP_IN_IP, IPV4, IPV6))


def _gre(run: Decoding, cursor: Cursor) -> tuple[Cursor, Cursor]:
    """What is inside GRE: IP, and Ethernet frames."""
    cursor, header = run.header(cursor, 4)
    flags, kind = be16(header, 0), be16(header, 2)
    known = (flags & 0x4007) == 0
    cursor, flags, kind = cursor.only(known), flags[known], kind[known]
    keyed = (flags & 0x2000) != 0
    key_at = cursor.at + 4 + 4 * (flags >> 15)
    size = key_at - cursor.at + 4 * keyed + 4 * (flags >> 12 & 1)
    run.carry(cursor.index, Tunnel.GRE)
    _gre_keys(run, cursor.next(key_at, kind).only(keyed))
    inner = cursor.next(cursor.at + size, kind)
    return inner.only((kind == IPV4) | (kind == IPV6)), inner.only(kind == _BRIDGED)


def _gre_keys(run: Decoding, cursor: Cursor) -> None:
    cursor, key = run.header(cursor, 4)
    run.carry(cursor.index, Tunnel.GRE, be32(key, 0))


def _vxlan(run: Decoding, cursor: Cursor) -> Cursor:
    cursor, header = run.header(cursor, 8)
    valid = (header[:, 0] & 0x08) != 0
    cursor, number = cursor.only(valid), be32(header, 4)[valid] >> 8
    run.carry(cursor.index, Tunnel.VXLAN, number)
    return cursor.next(cursor.at + 8, cursor.kind)
