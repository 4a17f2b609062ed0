"""Batches as they nearly always are, over all packets at once: one link header for all, IP without extras, TCP or UDP.

The same layouts as in `plain`, but columns are made whole instead of being filled place by place, which takes half the
time. The family that most packets have is read for every packet; the others' values are written over it. Nothing is
trusted that `plain` would not trust, and what is different in any respect is left to the steps that know everything.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostscope.wire.batch import I64, U8, Mask, PacketBatch
from hostscope.wire.batch import Link as L
from hostscope.wire.decoded import Decoded
from hostscope.wire.plain import FORM4, FORM6, PLAIN4, TCP, UDP, VXLAN_PORT, Form

_HEADERS: dict[int, int] = {
    L.ETHERNET: 14, L.LINUX_SLL: 16, L.RAW: 0, L.RAW_BSD: 0, L.RAW_OPENBSD: 0, L.IPV4: 0, L.IPV6: 0,
}  # fmt: skip
"""Bytes of the link headers that end with an EtherType, or are not there."""
_LEAD = 8
"""Bytes before IP that are looked at where there is a link header: the EtherType, and words stay aligned."""

_BLANK = {name: getattr(Decoded.blank(1), name) for name in Decoded.__struct_fields__}

Columns = dict[str, NDArray[Any]]
"""By the names of `Decoded`."""


class _Places(NamedTuple):
    """Where IP begins in some packets. Parallel columns."""

    starts: I64
    """In the batch's `data`."""
    captured: I64
    """Bytes from there on that are in `data`; negative where it lies behind them."""
    room: I64
    """The same for those on the wire."""

    def only(self, index: I64) -> "_Places":
        return _Places(self.starts.take(index), self.captured.take(index), self.room.take(index))


def decode_dense(batch: PacketBatch) -> tuple[Decoded, I64] | None:
    """What the packets of usual layouts say, and which packets have others: their values mean nothing.

    Columns that say the same of all packets are one value in memory, and read-only.

    Returns:
        None where few packets are usual, or the link header is another.
    """
    header = _HEADERS.get(batch.link)
    if header is None or not len(batch) or not batch.data.flags.c_contiguous:
        return None
    places, lead = _places(batch, header), _LEAD if header else 0
    rows = _rows(batch.data, places.starts, lead, FORM4)
    four, six = _is_family(rows, lead, FORM4), _is_family(rows, lead, FORM6)
    (major, usual), (minor, others) = (FORM4, four), (FORM6, six)
    if 2 * np.count_nonzero(six) > len(batch):
        (major, usual), (minor, others) = (FORM6, six), (FORM4, four)
        rows = _rows(batch.data, places.starts, lead, FORM6)
    columns, good = _read(rows[:, lead:], major, places)
    good &= usual
    index = np.flatnonzero(others)
    if len(index):
        some = places.only(index)
        more, good[index] = _read(_rows(batch.data, some.starts, lead, minor)[:, lead:], minor, some)
        _write_over(columns, index, more, len(batch))
    rest = np.flatnonzero(~good)
    return None if 2 * len(rest) > len(batch) else (_complete(columns, batch), rest)


def with_rest(out: Decoded, rest: I64, known: Decoded) -> Decoded:
    """Puts in what the packets `rest` turned out to say."""
    columns = {}
    for name in out.__struct_fields__:
        column, values = getattr(out, name), getattr(known, name)
        if not column.flags.writeable:
            if (values == column[0]).all():
                columns[name] = column
                continue
            column = column.copy()
        column[rest] = values
        columns[name] = column
    return Decoded(**columns)


def _places(batch: PacketBatch, header: int) -> _Places:
    size = len(batch.data)
    inside = (batch.offsets >= 0) & (batch.offsets <= size)
    offsets = batch.offsets if inside.all() else np.where(inside, batch.offsets, size)
    captured = np.minimum(batch.captured, size - offsets)
    return _Places(offsets + header, captured - header, np.maximum(batch.lengths, captured) - header)


def _rows(data: U8, starts: I64, lead: int, form: Form) -> U8:
    """The headers at each of `starts` and `lead` bytes before, one row each; zeros where the data ends before them."""
    size = -(-(lead + form.size + 20) // 8) * 8
    if len(data) < size:
        data = np.concatenate([data, np.zeros(size - len(data), np.uint8)])
    last, starts = len(data) - size, starts - lead
    late = np.flatnonzero(starts > last)
    behind = np.minimum(starts[late] - last, size)
    starts[late] = 0
    # An item of `size` bytes at every single byte: one indexed look-up copies each packet's headers in one move.
    rows = np.ndarray((last + 1,), f"V{size}", data, 0, (1,))[starts].view(np.uint8).reshape(-1, size)
    if len(late):
        padded = np.concatenate([data[last:], np.zeros(size, np.uint8)])
        rows[late] = padded[behind[:, None] + np.arange(size)]
    return rows


def _is_family(rows: U8, lead: int, form: Form) -> Mask:
    """By the EtherType, or where there is none by the version."""
    found: Mask
    if lead:
        found = rows.view(np.uint16)[:, lead // 2 - 1] == np.array([form.ethertype], ">u2").view(np.uint16)
    else:
        found = rows[:, 0] >> 4 == form.family
    return found


def _read(headers: U8, form: Form, places: _Places) -> tuple[Columns, Mask]:
    """What headers of that form say, and of which it is true."""
    halves, protocol = headers.view(">u2"), headers[:, form.protocol].copy()
    tcp = protocol == TCP
    size = np.where(tcp, (headers[:, form.size + 12] >> 2) & 0x3C, np.uint8(8))
    total = halves[:, form.total].astype(np.int64)
    if form is FORM6:
        total += form.size
    before = size + np.int64(form.size)
    payload, captured = total - before, places.captured - before
    good = _is_plain_udp(halves, form, protocol, total)
    good |= tcp & (size >= 20)
    good &= (headers.view("<u8")[:, 0] & PLAIN4) == 0x45 if form is FORM4 else headers[:, 0] >> 4 == 6
    good &= (payload >= 0) & (captured >= 0) & (total <= places.room)
    columns: Columns = {
        "family": np.full(len(headers), form.family, np.uint8),
        "protocol": protocol,
        "ttl": headers[:, form.ttl].copy(),
        "source_port": halves[:, form.size // 2].astype(np.uint16),
        "destination_port": halves[:, form.size // 2 + 1].astype(np.uint16),
        "tcp_flags": headers[:, form.size + 13] * tcp,
        "transport_offset": places.starts + form.size,
        "payload_offset": places.starts + before,
        "payload_bytes": payload.astype(np.uint32),
        "payload_captured": np.minimum(captured, payload).astype(np.uint32),
    }
    return columns | _addresses(headers, form), good


def _is_plain_udp(halves: NDArray[np.uint16], form: Form, protocol: U8, total: I64) -> Mask:
    """UDP that fills its datagram exactly and is not VXLAN."""
    found: Mask = protocol == UDP
    found &= halves[:, form.size // 2 + 2] == total - form.size
    found &= halves[:, form.size // 2 + 1] != VXLAN_PORT
    return found


def _addresses(headers: U8, form: Form) -> Columns:
    if form is FORM4:
        words = headers.view(">u4")
        return {"source_low": words[:, 3].astype(np.uint64), "destination_low": words[:, 4].astype(np.uint64)}
    words = headers.view(">u8")
    names = ("source_high", "source_low", "destination_high", "destination_low")
    return {name: words[:, place].astype(np.uint64) for place, name in enumerate(names, 1)}


def _write_over(columns: Columns, index: I64, more: Columns, count: int) -> None:
    """Puts in what the packets of the other family say; IPv4 has no upper halves of addresses."""
    for name in columns.keys() | more.keys():
        if name not in columns:
            columns[name] = np.zeros(count, np.uint64)
        columns[name][index] = more.get(name, 0)


def _complete(columns: Columns, batch: PacketBatch) -> Decoded:
    """With the columns of what usual packets do not have."""
    for name, value in _BLANK.items():
        if name not in columns:
            # The same value again and again, without a copy; `bytes` make the column read-only.
            columns[name] = np.ndarray((len(batch),), value.dtype, value.tobytes(), 0, (0,))
    if batch.vlan is not None:
        columns["vlan_outer"] = batch.vlan.astype(np.int16)
    return Decoded(**columns)
