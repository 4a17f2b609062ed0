"""The layouts that nearly all packets have, in whole-array operations: IPv4 without options or IPv6 without extension
headers, whole datagrams, TCP or UDP. Whatever is different in any respect is left to `ip` and `transport`."""

from typing import NamedTuple

import numpy as np

from hostscope.wire.batch import I64, U8, U64, Mask
from hostscope.wire.cursor import Cursor, Decoding
from hostscope.wire.link import IPV4, IPV6

TCP, UDP = 6, 17
VXLAN_PORT = 4789
PLAIN4 = np.uint64(0xFF3F_0000_0000_00FF)
"""In the first eight bytes: version and header length, and everything of the fragment field but "do not"."""


class Form(NamedTuple):
    """Where an IP header without extras has its fields."""

    family: int
    ethertype: int
    size: int
    total: int
    """Of its length, counted in two bytes."""
    protocol: int
    ttl: int


FORM4, FORM6 = Form(4, IPV4, 20, 1, 9, 8), Form(6, IPV6, 40, 2, 6, 7)


def plain(run: Decoding, cursor: Cursor) -> Cursor:
    """Decodes the plain packets completely and returns the rest as it came. `kind` is an EtherType."""
    four = cursor.kind == IPV4
    if four.all():
        return _decode(run, cursor, FORM4)
    return Cursor.joined([_decode(run, cursor.only(four), FORM4), _decode(run, cursor.only(~four), FORM6)])


def _decode(run: Decoding, cursor: Cursor, form: Form) -> Cursor:
    room = len(run.data) - form.size - 20
    if room < 0 or not len(cursor):
        return cursor
    starts = run.offsets[cursor.index] + cursor.at
    header = run.window(np.minimum(starts, room), form.size + 20)
    total = _total(header, form)
    tcp = header[:, form.protocol] == TCP
    size = np.where(tcp, (header[:, form.size + 12] >> 2) & 0x3C, np.uint8(8))
    good = (
        _is_plain(header, form)
        & (starts <= room)
        & (size >= np.where(tcp, np.uint8(20), np.uint8(8)))
        & (total >= size + np.int64(form.size))
        & (cursor.at + total <= cursor.limit)
        & (run.captured[cursor.index] - cursor.at >= size + np.int64(form.size))
        & (tcp | _is_plain_udp(header, total, form))
    )
    if good.all():
        _write(run, cursor, starts, header, form, tcp, size, total)
        return cursor.only(~good)
    _write(run, cursor.only(good), starts[good], header[good], form, tcp[good], size[good], total[good])
    return cursor.only(~good)


def _total(header: U8, form: Form) -> I64:
    """Bytes of the datagram with its IP header, as the header says."""
    total = header.view(">u2")[:, form.total].astype(np.int64)
    return total if form is FORM4 else total + form.size


def _is_plain(header: U8, form: Form) -> Mask:
    found: Mask = (header.view("<u8")[:, 0] & PLAIN4) == 0x45 if form is FORM4 else (header[:, 0] >> 4) == 6
    return found


def _is_plain_udp(header: U8, total: I64, form: Form) -> Mask:
    """UDP that fills its datagram exactly and is not VXLAN."""
    numbers = header.view(">u2")[:, form.size // 2 :]
    found: Mask = header[:, form.protocol] == UDP
    found &= numbers[:, 2] == total - form.size
    found &= numbers[:, 1] != VXLAN_PORT
    return found


def _write(run: Decoding, cursor: Cursor, starts: I64, header: U8, form: Form, tcp: Mask, size: U8, total: I64) -> None:
    out, index = run.out, cursor.index
    run.enter(index)
    out.family[index] = form.family
    out.protocol[index] = header[:, form.protocol]
    out.ttl[index] = header[:, form.ttl]
    _write_addresses(run, index, header, form)
    ports = header.view(">u2")[:, form.size // 2 :]
    out.source_port[index] = ports[:, 0]
    out.destination_port[index] = ports[:, 1]
    out.tcp_flags[index] = header[:, form.size + 13] * tcp
    before = size + np.int64(form.size)
    payload = total - before
    out.transport_offset[index] = starts + np.int64(form.size)
    out.payload_offset[index] = starts + before
    out.payload_bytes[index] = payload
    out.payload_captured[index] = np.minimum(run.captured[index] - cursor.at - before, payload)


def _write_addresses(run: Decoding, index: I64, header: U8, form: Form) -> None:
    out = run.out
    if form is FORM4:
        words: U64 = header.view(">u4")
        out.source_low[index], out.destination_low[index] = words[:, 3], words[:, 4]
        return
    words = header[:, 8:40].copy().view(">u8")
    out.source_high[index], out.source_low[index] = words[:, 0], words[:, 1]
    out.destination_high[index], out.destination_low[index] = words[:, 2], words[:, 3]
