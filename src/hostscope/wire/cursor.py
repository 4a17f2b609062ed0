"""Where decoding stands: some packets of a batch, each at one place, and the only way their bytes are read."""

from typing import Self

import numpy as np
from msgspec import Struct

from hostscope.wire.batch import I64, U8, Mask, PacketBatch
from hostscope.wire.decoded import Decoded, Problem, Tunnel


class Cursor(Struct, frozen=True, eq=False):
    """Some packets of a batch and the header that comes next in each. Parallel columns."""

    index: I64
    """Which packets, each once."""
    at: I64
    """Where the next header begins, counted from the packet's first byte."""
    limit: I64
    """Where the packet ends on the wire, by the innermost header that said so; may lie behind what was captured."""
    kind: I64
    """What comes next: an EtherType or an IP protocol number, as the functions that take it say."""

    def __len__(self) -> int:
        return len(self.index)

    def only(self, mask: Mask) -> Self:
        """The packets for which `mask` holds."""
        if mask.all():
            return self
        held = np.flatnonzero(mask)  # picking by number is faster than by mask, from the second column on
        return type(self)(*(column.take(held) for column in (self.index, self.at, self.limit, self.kind)))

    def next(self, at: I64, kind: I64, limit: I64 | None = None) -> Self:
        """The same packets at their next header."""
        return type(self)(self.index, at, self.limit if limit is None else limit, kind)

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Several cursors as one; empty for none."""
        if len(parts) == 1:
            return parts[0]
        columns = [[part.index for part in parts], [part.at for part in parts], [part.limit for part in parts]]
        kinds = [part.kind for part in parts]
        return cls(*(np.concatenate([*column, np.zeros(0, np.int64)]) for column in (*columns, kinds)))


class Decoding:
    """One batch being decoded: bytes in, columns out."""

    def __init__(self, batch: PacketBatch) -> None:
        self.data = np.ascontiguousarray(batch.data)
        self.out = Decoded.blank(len(batch))
        size = len(self.data)
        inside = (batch.offsets >= 0) & (batch.offsets <= size)
        self.offsets: I64 = batch.offsets if inside.all() else np.where(inside, batch.offsets, size)
        self.captured: I64 = np.minimum(batch.captured.astype(np.int64), size - self.offsets)
        self.lengths: I64 = np.maximum(batch.lengths.astype(np.int64), self.captured)
        self._windows: dict[int, U8] = {}
        self._carrier: U8 | None = None
        self._carrier_id = self.out.tunnel_id

    def start(self) -> Cursor:
        """Every packet at its first byte."""
        count = len(self.offsets)
        return Cursor(
            np.arange(count, dtype=np.int64), np.zeros(count, np.int64), self.lengths, np.zeros(count, np.int64)
        )

    def mark(self, index: I64, problem: Problem) -> None:
        """Notes what is wrong with these packets."""
        self.out.problem[index] = problem

    def window(self, starts: I64, size: int) -> U8:
        """The `size` bytes at each of `starts` (places in `data`, all of them inside), as a (len, size) matrix."""
        found = self._windows.get(size)
        if found is None:
            # An item of `size` bytes at every single byte: one indexed look-up copies each packet's header in one move.
            count = max(0, len(self.data) - size + 1)
            found = np.ndarray((count,), f"V{size}", self.data if count else bytes(size), 0, (1,))
            self._windows[size] = found
        return found[starts].view(np.uint8).reshape(-1, size)

    def header(self, cursor: Cursor, size: int) -> tuple[Cursor, U8]:
        """The next `size` bytes of the packets that have them; the others are marked and left out.

        A packet that ends on the wire before its header does is malformed; one that was cut is truncated.
        """
        cursor = self.reach(cursor, cursor.at + size)
        return cursor, self.window(self.offsets[cursor.index] + cursor.at, size)

    def reach(self, cursor: Cursor, end: I64) -> Cursor:
        """The packets whose captured bytes reach to `end`; the others are marked."""
        held = end <= np.minimum(cursor.limit, self.captured[cursor.index])
        if held.all():
            return cursor
        lost, claimed = cursor.only(~held), (end <= cursor.limit)[~held]
        self.mark(lost.index, Problem.MALFORMED)
        self.mark(lost.index[claimed], Problem.TRUNCATED)
        return cursor.only(held)

    def carry(self, index: I64, tunnel: Tunnel, number: I64 | int = 0) -> None:
        """Remembers that what comes next in these packets is in a tunnel; `enter` writes it down once it is read."""
        if not len(index):
            return
        if self._carrier is None:
            self._carrier = np.zeros(len(self.offsets), np.uint8)
            self._carrier_id = np.zeros(len(self.offsets), np.uint32)
        self._carrier[index] = tunnel
        self._carrier_id[index] = number

    def enter(self, index: I64) -> None:
        """An IP header of these packets was read: where it came out of a tunnel, what was known becomes the outer."""
        if self._carrier is None:
            return
        out, inner = self.out, index[self._carrier[index] != 0]
        for outer, known in (
            (out.outer_family, out.family),
            (out.outer_source_high, out.source_high),
            (out.outer_source_low, out.source_low),
            (out.outer_destination_high, out.destination_high),
            (out.outer_destination_low, out.destination_low),
            (out.tunnel, self._carrier),
            (out.tunnel_id, self._carrier_id),
        ):
            outer[inner] = known[inner]
        for forgotten in (
            out.source_port, out.destination_port, out.tcp_flags, out.icmp, out.fragment, out.fragment_id,
            out.source_high, out.destination_high, self._carrier,
        ):  # fmt: skip
            forgotten[inner] = 0

    def payload(self, cursor: Cursor) -> None:
        """Notes that the payload begins where the cursor stands and ends at its limit."""
        captured = self.captured[cursor.index]
        begin = np.minimum(cursor.at, captured)
        length = np.maximum(cursor.limit - cursor.at, 0)
        self.out.payload_offset[cursor.index] = self.offsets[cursor.index] + begin
        self.out.payload_bytes[cursor.index] = length
        self.out.payload_captured[cursor.index] = np.minimum(captured - begin, length)


def be16(header: U8, at: int) -> I64:
    """The 16-bit number in network byte order at an even or odd place of each row."""
    return (header[:, at].astype(np.int64) << 8) | header[:, at + 1]


def be32(header: U8, at: int) -> I64:
    """The same for 32 bits."""
    return (be16(header, at) << 16) | be16(header, at + 2)
