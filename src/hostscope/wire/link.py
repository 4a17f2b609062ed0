"""The link layer: where the network packet begins and what it is."""

import numpy as np

from hostscope.wire.batch import I64, U8, Link, Mask
from hostscope.wire.cursor import Cursor, Decoding, be16
from hostscope.wire.decoded import Decoded, Problem

IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8, 0x9100, 0x9200)
VLAN_DEPTH = 4
"""Tags that are followed; two are noted."""
_AF_INET = 2
_AF_INET6 = (10, 23, 24, 28, 30)
"""AF_INET6 differs: Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS."""


def network(run: Decoding, link: int) -> Cursor:
    """Every packet at its network header, `kind` an EtherType; what is no IP is marked."""
    start = run.start()
    if link == Link.ETHERNET:
        return ethernet(run, start, note_vlans=True)
    if link in (Link.LINUX_SLL, Link.LINUX_SLL2):
        size, place = (16, 14) if link == Link.LINUX_SLL else (20, 0)
        cursor, header = run.header(start, size)
        return only_ip(run, _untagged(run, cursor.next(cursor.at + size, be16(header, place)), note=True))
    if link in (Link.NULL, Link.LOOP):
        cursor, header = run.header(start, 4)
        return only_ip(run, cursor.next(cursor.at + 4, _of_address_family(header, link)))
    if link in (Link.RAW, Link.RAW_BSD, Link.RAW_OPENBSD, Link.IPV4, Link.IPV6):
        return raw(run, start)
    run.mark(start.index, Problem.UNKNOWN_LINK)
    return start.only(np.zeros(len(start), np.bool_))


def ethernet(run: Decoding, cursor: Cursor, note_vlans: bool) -> Cursor:
    """Past the Ethernet header and VLAN tags. Tags inside a tunnel are not noted: the columns describe the frame."""
    cursor = run.reach(cursor, cursor.at + 14)
    kind = run.window(run.offsets[cursor.index] + cursor.at + 12, 2).view(">u2")[:, 0].astype(np.int64)
    return only_ip(run, _untagged(run, cursor.next(cursor.at + 14, kind), note_vlans))


def raw(run: Decoding, cursor: Cursor) -> Cursor:
    """IP without a link header; the version decides."""
    cursor, header = run.header(cursor, 1)
    version = header[:, 0] >> 4
    kind = np.where(version == 4, IPV4, np.where(version == 6, IPV6, 0))
    run.mark(cursor.index[kind == 0], Problem.MALFORMED)
    return cursor.next(cursor.at, kind).only(kind != 0)


def only_ip(run: Decoding, cursor: Cursor) -> Cursor:
    """The packets that carry IP; the others are marked."""
    found = (cursor.kind == IPV4) | (cursor.kind == IPV6)
    if not found.all():
        run.mark(cursor.index[~found], Problem.NOT_IP)
    return cursor.only(found)


def _untagged(run: Decoding, cursor: Cursor, note: bool) -> Cursor:
    """Past the VLAN tags, however many up to the bound."""
    tagged = _is_tag(cursor.kind)
    if not tagged.any():
        return cursor
    done, left = [cursor.only(~tagged)], cursor.only(tagged)
    for _ in range(VLAN_DEPTH):
        left, tag = run.header(left, 4)
        if note:
            _note_vlan(run.out, left.index, be16(tag, 0) & 0x0FFF)
        left = left.next(left.at + 4, be16(tag, 2))
        tagged = _is_tag(left.kind)
        done.append(left.only(~tagged))
        left = left.only(tagged)
    run.mark(left.index, Problem.TOO_DEEP)
    return Cursor.joined(done)


def _note_vlan(out: Decoded, index: I64, vlan: I64) -> None:
    """The first free of the two columns; the outer one may be taken by a tag that the kernel had removed."""
    outer, inner = out.vlan_outer[index] < 0, out.vlan_inner[index] < 0
    out.vlan_inner[index[~outer & inner]] = vlan[~outer & inner]
    out.vlan_outer[index[outer]] = vlan[outer]


def _is_tag(kind: I64) -> Mask:
    found: Mask = kind == VLAN_TYPES[0]
    for other in VLAN_TYPES[1:]:
        found |= kind == other
    return found


def _of_address_family(header: U8, link: int) -> I64:
    """An EtherType for a loopback header, whose NULL form has the capturing machine's byte order."""
    number = header.view(">u4")[:, 0].astype(np.int64)
    if link == Link.NULL:
        swapped = header.view("<u4")[:, 0].astype(np.int64)
        number = np.minimum(number, swapped)  # families are small, so the wrong order is the larger number
    return np.where(number == _AF_INET, IPV4, np.where(np.isin(number, _AF_INET6), IPV6, 0))
