"""Flows: what each pair of ends has sent each other, counted over whole batches, in bounded memory."""

from enum import IntFlag
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from hostscope.wire.batch import I64, U8, U16, U64, Mask, PacketBatch
from hostscope.wire.decoded import Decoded, Problem
from hostscope.wire.flow_keys import WORDS, Scope, is_short, long_keys, short_keys
from hostscope.wire.keys import KeyIndex

MAX_FLOWS = 131_072
LOOKS = 3
"""Packets with payload of each direction of a flow that `update` points out."""
_PLACE = 20
"""Bits for a packet's place in its chunk."""


class Seen(IntFlag):
    """What the packets of one direction have had: TCP's flags, and two combinations that tell who opened."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    OPENED = 0x100
    """SYN without ACK."""
    ANSWERED = 0x200
    """SYN with ACK."""


def _meaning(flags: int) -> int:
    """`Seen` of a packet with these TCP flags."""
    return flags | {0x02: Seen.OPENED, 0x12: Seen.ANSWERED}.get(flags & 0x12, 0)


_SEEN = np.array([_meaning(flags) for flags in range(256)], np.uint16)


class Totals(Struct, frozen=True, gc=False):
    """Sums over packets."""

    packets: int = 0
    wire_bytes: int = 0
    """As they were on the wire, link header included."""
    payload_bytes: int = 0
    """The transport's payload."""
    flows: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.packets + other.packets, self.wire_bytes + other.wire_bytes,
            self.payload_bytes + other.payload_bytes, self.flows + other.flows,
        )  # fmt: skip


class Update(NamedTuple):
    """What became of one batch."""

    ids: I64
    """The number of each packet's flow, 0 for packets of no flow."""
    look: I64
    """Packets of the batch worth a look: the first few with captured payload in each direction of each flow."""
    look_rows: I64
    """The table's row for each of these, as `FlowTable.name` wants it."""


class Ends(NamedTuple):
    """Columns of the table that have one value for each direction: row * 2, plus 1 from the upper end to the lower."""

    packets: I64
    wire_bytes: I64
    payload_bytes: I64
    seen: U16
    """`Seen`, all packets together."""
    looked: U8
    first_ns: I64
    last_ns: I64

    @classmethod
    def blank(cls, capacity: int) -> "Ends":
        """Nothing sent in any direction. Memory that was never written costs nothing."""
        count = capacity * 2
        return cls(
            np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.uint16),
            np.zeros(count, np.uint8), np.zeros(count, np.int64), np.zeros(count, np.int64),
        )  # fmt: skip


class FlowTable:
    """Flows by their two ends, protocol and `Scope`, both directions together.

    Bounded: when it is full, the eighth that was silent for the longest (to within one chunk of packets) is dropped,
    and counted in `evicted`. Every packet of every batch is in exactly one of: a flow, `evicted`, `apart`.
    """

    def __init__(self, capacity: int = MAX_FLOWS, scope: Scope = Scope(), looks: int = LOOKS) -> None:  # noqa: B008
        self.scope = scope
        self.evicted = Totals()
        self.apart: dict[Problem, Totals] = {}
        """Packets of no flow (no readable IP header), by reason."""
        self.index = KeyIndex(capacity, WORDS, self._forget)
        self.ends = Ends.blank(capacity)
        self.ids: I64 = np.zeros(capacity, np.int64)
        """Each live flow's number, from 1 on in order of appearance, never used again; 0 in free rows."""
        self.first_backward: Mask = np.zeros(capacity, np.bool_)
        """Direction of the first packet."""
        self.outer: tuple[U64, U64, U64, U64] = tuple(np.zeros(capacity, np.uint64) for _ in range(4))  # type: ignore[assignment]
        """Source and destination of the tunnel of the first packet, two words each."""
        self.outer_family: U8 = np.zeros(capacity, np.uint8)
        self.names: dict[int, tuple[str, str]] = {}
        """Row -> name of the flow and where that is from."""
        self._looks = looks
        self._count = 0
        self._now = 0

    def __len__(self) -> int:
        return int(self.index.live.sum())

    def update(self, batch: PacketBatch, out: Decoded) -> Update:
        """Counts a batch.

        Args:
            batch: the packets.
            out: what `decode` said about them.
        """
        if out.family.all() and len(out) <= self.index.step:
            ids, look, rows = self._update_chunk(batch, out)
            return Update(ids, look, rows.take(look))
        self._count_apart(batch, out)
        index, ids = np.flatnonzero(out.family), np.zeros(len(out), np.int64)
        looks, look_rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start in range(0, len(index), self.index.step):
            chunk = index[start : start + self.index.step]
            ids[chunk], look, rows = self._update_chunk(batch.take(chunk), out.take(chunk))
            looks.append(chunk.take(look))
            look_rows.append(rows.take(look))
        return Update(ids, np.concatenate(looks), np.concatenate(look_rows))

    def name(self, row: int, flow_id: int, name: str, source: str) -> None:
        """Puts a name on a flow that an `Update` pointed out, if it is still there. The first name stays."""
        if self.ids[row] == flow_id:
            self.names.setdefault(row, (name, source))

    def totals(self) -> Totals:
        """Sums over the flows that are in the table."""
        return self._sum(np.flatnonzero(self.index.live))

    def _update_chunk(self, batch: PacketBatch, out: Decoded) -> tuple[I64, I64, I64]:
        """Counts at most `index.step` packets that all belong to flows.

        Returns:
            Each one's flow number; the places of those worth a look; each one's row.
        """
        self._now += 1
        rows, backward = self._place(batch, out)
        ids = self.ids.take(rows)
        new = np.flatnonzero(ids == 0)
        if len(new):
            self._greet(out, new, rows, backward)
            ids[new] = self.ids[rows[new]]
        ways = rows * 2
        ways += backward
        self._count_packets(batch, out, ways)
        return ids, self._look(out, ways), rows

    def _place(self, batch: PacketBatch, out: Decoded) -> tuple[I64, Mask]:
        short = is_short(out, self.scope)
        if short.all():
            keys = short_keys(batch, out, self.scope)
            return self.index.place(keys.words, self._now), keys.backward
        rows, backward = np.zeros(len(out), np.int64), np.zeros(len(out), np.bool_)
        for keys_of, some in ((short_keys, np.flatnonzero(short)), (long_keys, np.flatnonzero(~short))):
            keys = keys_of(batch, out, self.scope, some)
            rows[some], backward[some] = self.index.place(keys.words, self._now), keys.backward
        return rows, backward

    def _greet(self, out: Decoded, new: I64, rows: I64, backward: Mask) -> None:
        """Numbers the flows that are new, in order of their first packets, and keeps what only those packets say."""
        _, first = np.unique(rows[new], return_index=True)
        packets = new[np.sort(first)]
        fresh = rows[packets]
        self.ids[fresh] = np.arange(self._count + 1, self._count + 1 + len(fresh))
        self._count += len(fresh)
        self.first_backward[fresh] = backward[packets]
        for way in (fresh * 2, fresh * 2 + 1):
            self.ends.first_ns[way] = np.iinfo(np.int64).max
            self.ends.last_ns[way] = np.iinfo(np.int64).min
        carried = out.tunnel[packets] > 0
        if carried.any():
            self._note_outer(out, packets[carried], fresh[carried])

    def _note_outer(self, out: Decoded, packets: I64, rows: I64) -> None:
        self.outer_family[rows] = out.outer_family[packets]
        for column, value in zip(
            self.outer,
            (out.outer_source_high, out.outer_source_low, out.outer_destination_high, out.outer_destination_low),
            strict=True,
        ):
            column[rows] = value[packets]

    def _count_packets(self, batch: PacketBatch, out: Decoded, ways: I64) -> None:
        """Adds packets to their directions. What hardly a packet changes is looked up first."""
        ends, at_ns = self.ends, batch.at_ns
        np.add.at(ends.packets, ways, 1)
        np.add.at(ends.wire_bytes, ways, batch.lengths.astype(np.int64))
        np.add.at(ends.payload_bytes, ways, out.payload_bytes.astype(np.int64))
        np.maximum.at(ends.last_ns, ways, at_ns)
        earlier = np.flatnonzero(at_ns < ends.first_ns.take(ways))
        np.minimum.at(ends.first_ns, ways[earlier], at_ns[earlier])
        seen = _SEEN.take(out.tcp_flags)
        unseen = np.flatnonzero(seen & ~ends.seen.take(ways))
        np.bitwise_or.at(ends.seen, ways[unseen], seen[unseen])

    def _look(self, out: Decoded, ways: I64) -> I64:
        """The packets with captured payload in directions that were not looked at often enough."""
        looked = self.ends.looked
        curious = np.flatnonzero((looked.take(ways) < self._looks) & (out.payload_captured > 0))
        if not len(curious):
            return curious
        # One sort brings the packets of each direction together, in their order.
        ranked = np.sort((ways[curious] << _PLACE) | np.arange(len(curious)))
        way, order = ranked >> _PLACE, curious[ranked & ((1 << _PLACE) - 1)]
        chosen = np.arange(len(way)) - np.searchsorted(way, way) < self._looks - looked[way].astype(np.int64)
        np.add.at(looked, way[chosen], np.uint8(1))
        return np.sort(order[chosen])

    def _count_apart(self, batch: PacketBatch, out: Decoded) -> None:
        index = np.flatnonzero(out.family == 0)
        if not len(index):
            return
        reasons, lengths = out.problem[index], batch.lengths[index]
        for reason in np.unique(reasons).tolist():
            some = reasons == reason
            counted = Totals(int(some.sum()), int(lengths[some].sum(dtype=np.int64)))
            self.apart[Problem(reason)] = self.apart.get(Problem(reason), Totals()) + counted

    def _forget(self, rows: I64) -> None:
        self.evicted += self._sum(rows)
        for row in rows.tolist() if self.names else ():
            self.names.pop(row, None)
        self.ids[rows] = 0
        self.outer_family[rows] = 0
        for column in (*self.ends,):
            column[rows * 2] = 0
            column[rows * 2 + 1] = 0

    def _sum(self, rows: I64) -> Totals:
        ways = np.concatenate([rows * 2, rows * 2 + 1])
        packets, wire, payload = (int(column[ways].sum()) for column in self.ends[:3])
        return Totals(packets, wire, payload, len(rows))
