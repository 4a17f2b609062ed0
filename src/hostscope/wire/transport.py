"""What follows IP: ports, flags, identifiers and where the payload begins."""

import numpy as np

from hostscope.wire.cursor import Cursor, Decoding, be16
from hostscope.wire.decoded import Fragment, Problem
from hostscope.wire.plain import TCP, UDP, VXLAN_PORT
from hostscope.wire.tunnel import VXLAN

ICMP, ICMP6, SCTP, UDP_LITE = 1, 58, 132, 136
WITH_IDENTIFIER = (0, 8, 13, 14, 15, 16, 17, 18)
"""ICMP: echo, timestamp, information and address mask, each with its reply."""
WITH_IDENTIFIER6 = (128, 129)


def transport(run: Decoding, cursor: Cursor) -> Cursor:
    """Fills the transport's columns. `kind` is an IP protocol number.

    Returns:
        The packets of no transport known here, and those that a VXLAN header follows (`kind` is `tunnel.VXLAN`).
    """
    with_ports = np.isin(cursor.kind, (TCP, UDP, UDP_LITE, SCTP))
    icmp = (cursor.kind == ICMP) | (cursor.kind == ICMP6)
    # Where the header turns out to be incomplete there is no payload, whatever follows IP.
    run.out.payload_bytes[cursor.index[with_ports | icmp]] = 0
    run.out.payload_captured[cursor.index[with_ports | icmp]] = 0
    _icmp(run, cursor.only(icmp))
    ported = _ports(run, cursor.only(with_ports))
    _tcp(run, ported.only(ported.kind == TCP))
    _sctp(run, ported.only(ported.kind == SCTP))
    vxlan = _udp(run, ported.only((ported.kind == UDP) | (ported.kind == UDP_LITE)))
    return Cursor.joined([cursor.only(~(with_ports | icmp)), vxlan])


def _ports(run: Decoding, cursor: Cursor) -> Cursor:
    """The ports, which a short capture may have although the rest of the header is cut off."""
    cursor, header = run.header(cursor, 4)
    run.out.source_port[cursor.index] = be16(header, 0)
    run.out.destination_port[cursor.index] = be16(header, 2)
    return cursor


def _tcp(run: Decoding, cursor: Cursor) -> None:
    cursor, header = run.header(cursor, 20)
    run.out.tcp_flags[cursor.index] = header[:, 13]
    run.out.transport_offset[cursor.index] = run.offsets[cursor.index] + cursor.at
    size = (header[:, 12] >> 4).astype(np.int64) * 4
    end = cursor.at + np.maximum(size, 20)
    run.mark(cursor.index[(size < 20) | (end > cursor.limit)], Problem.MALFORMED)
    run.payload(cursor.next(end, cursor.kind))


def _sctp(run: Decoding, cursor: Cursor) -> None:
    cursor, _ = run.header(cursor, 12)
    run.payload(cursor.next(cursor.at + 12, cursor.kind))


def _udp(run: Decoding, cursor: Cursor) -> Cursor:
    """UDP and UDP-Lite, which has no length of its own; returns what is VXLAN."""
    cursor, header = run.header(cursor, 8)
    length, room = be16(header, 4), cursor.limit - cursor.at
    # A datagram in fragments is longer than this packet; 0 means one too long for the field.
    open_ended = (cursor.kind == UDP_LITE) | (run.out.fragment[cursor.index] == Fragment.FIRST) | (length == 0)
    run.mark(cursor.index[~open_ended & ((length < 8) | (length > room))], Problem.MALFORMED)
    limit = cursor.at + np.where(open_ended, room, np.clip(length, 8, room))
    cursor = cursor.next(cursor.at + 8, np.full(len(cursor), VXLAN), limit)
    run.payload(cursor)
    return cursor.only((be16(header, 2) == VXLAN_PORT) & (run.out.protocol[cursor.index] == UDP))


def _icmp(run: Decoding, cursor: Cursor) -> None:
    cursor, header = run.header(cursor, 2)
    run.out.icmp[cursor.index] = be16(header, 0)
    cursor, header = run.header(cursor, 8)
    named = np.isin(header[:, 0], WITH_IDENTIFIER) & (cursor.kind == ICMP)
    named |= np.isin(header[:, 0], WITH_IDENTIFIER6) & (cursor.kind == ICMP6)
    number, index = be16(header, 4)[named], cursor.index[named]
    run.out.source_port[index] = number
    run.out.destination_port[index] = number
    run.payload(cursor.next(cursor.at + 8, cursor.kind))
