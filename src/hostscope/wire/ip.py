"""IPv4 with options and fragments, IPv6 with extension headers: the packets that are not `plain`."""

import numpy as np

from hostscope.wire.batch import I64, U8, Mask
from hostscope.wire.cursor import Cursor, Decoding, be16, be32
from hostscope.wire.decoded import Fragment, Problem
from hostscope.wire.link import IPV4

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION)
EXTENSION_DEPTH = 8
"""Extension headers that are followed; real packets have one or two."""


def headers(run: Decoding, cursor: Cursor) -> Cursor:
    """Past the IP header of each packet. `kind` goes in as an EtherType and comes out as an IP protocol number.

    Later fragments do not come out: they have no transport header.
    """
    four = cursor.kind == IPV4
    packets = Cursor.joined([_ipv4(run, cursor.only(four)), _ipv6(run, cursor.only(~four))])
    packets = _extensions(run, packets)
    run.payload(packets)
    return packets.only(run.out.fragment[packets.index] != Fragment.LATER)


def _ipv4(run: Decoding, cursor: Cursor) -> Cursor:
    cursor, header = run.header(cursor, 20)
    size = (header[:, 0].astype(np.int64) & 15) * 4
    total = be16(header, 2)
    sane = (header[:, 0] >> 4 == 4) & (size >= 20) & ((total == 0) | (total >= size))
    cursor, header = _only_sane(run, cursor, header, sane)
    # Segmentation offload leaves 0 where 16 bits are too few: the frame's own length is right then.
    end = np.where(total == 0, np.iinfo(np.int64).max, total)[sane]
    limit = _limit(run, cursor, end)
    _note(run, cursor.index, 4, header)
    field = be16(header, 6)
    _note_fragment(run, cursor.index, (field & 0x1FFF) != 0, (field & 0x2000) != 0, be16(header, 4))
    return cursor.next(cursor.at + size[sane], header[:, 9].astype(np.int64), limit)


def _ipv6(run: Decoding, cursor: Cursor) -> Cursor:
    cursor, header = run.header(cursor, 40)
    cursor, header = _only_sane(run, cursor, header, header[:, 0] >> 4 == 6)
    length, kind = be16(header, 4), header[:, 6].astype(np.int64)
    # 0 is a jumbogram, or segmentation offload, unless nothing was to follow.
    end = np.where((length == 0) & (kind != NO_NEXT), np.iinfo(np.int64).max, length + 40)
    limit = _limit(run, cursor, end)
    _note(run, cursor.index, 6, header)
    return cursor.next(cursor.at + 40, kind, limit)


def _only_sane(run: Decoding, cursor: Cursor, header: U8, sane: Mask) -> tuple[Cursor, U8]:
    run.mark(cursor.index[~sane], Problem.MALFORMED)
    return cursor.only(sane), header[sane]


def _limit(run: Decoding, cursor: Cursor, size: I64) -> I64:
    """Where the datagram ends. One that claims more than its frame has is marked, and cut to it."""
    unknown = size == np.iinfo(np.int64).max
    end = np.where(unknown, cursor.limit, cursor.at + np.where(unknown, 0, size))
    run.mark(cursor.index[end > cursor.limit], Problem.MALFORMED)
    return np.minimum(end, cursor.limit)


def _note(run: Decoding, index: I64, family: int, header: U8) -> None:
    run.enter(index)
    out = run.out
    out.family[index] = family
    out.protocol[index] = header[:, 9 if family == 4 else 6]
    out.ttl[index] = header[:, 8 if family == 4 else 7]
    if family == 4:
        out.source_low[index], out.destination_low[index] = be32(header, 12), be32(header, 16)
        return
    words = header[:, 8:40].copy().view(">u8")
    out.source_high[index], out.source_low[index] = words[:, 0], words[:, 1]
    out.destination_high[index], out.destination_low[index] = words[:, 2], words[:, 3]


def _note_fragment(run: Decoding, index: I64, later: Mask, more: Mask, number: I64) -> None:
    part = np.where(later, Fragment.LATER, np.where(more, Fragment.FIRST, Fragment.WHOLE))
    run.out.fragment[index] = part
    run.out.fragment_id[index] = np.where(part != Fragment.WHOLE, number, 0)


def _extensions(run: Decoding, cursor: Cursor) -> Cursor:
    """Past the extension headers; the protocol column follows, so a chain that breaks off shows where."""
    done = []
    for _ in range(EXTENSION_DEPTH):
        more = np.isin(cursor.kind, EXTENSIONS) & (run.out.fragment[cursor.index] != Fragment.LATER)
        more &= (run.out.family[cursor.index] == 6) | (cursor.kind == AUTHENTICATION)
        done.append(cursor.only(~more))
        cursor = _extension(run, cursor.only(more))
        if not len(cursor):
            return Cursor.joined(done)
    over = np.isin(cursor.kind, EXTENSIONS)
    run.mark(cursor.index[over], Problem.TOO_DEEP)
    return Cursor.joined([*done, cursor.only(~over)])


def _extension(run: Decoding, cursor: Cursor) -> Cursor:
    run.payload(cursor)
    cursor, header = run.header(cursor, 8)
    units = header[:, 1].astype(np.int64)
    size = np.where(cursor.kind == AUTHENTICATION, (units + 2) * 4, (units + 1) * 8)
    split = cursor.kind == FRAGMENT
    if split.any():
        field = be16(header[split], 2)
        _note_fragment(run, cursor.index[split], field >> 3 != 0, (field & 1) != 0, be32(header[split], 4))
    kind = header[:, 0].astype(np.int64)
    run.out.protocol[cursor.index] = kind
    return cursor.next(cursor.at + np.where(split, 8, size), kind)
