"""Batches that wait until the processes behind their packets are known, in order, in bounded memory."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from hostscope.collectors.packet_notes import Marked, PacketNotes
from hostscope.wire.batch import PacketBatch
from hostscope.wire.pcapng_write import Notes

MOST_BYTES = 64 << 20


class _Held(NamedTuple):
    batch: PacketBatch
    marked: Marked
    bytes: int


class HeldBatches:
    """Takes batches, gives them back with their notes."""

    def __init__(self, notes: PacketNotes, most_bytes: int = MOST_BYTES) -> None:
        self._notes, self._most_bytes = notes, most_bytes
        self._held: deque[_Held] = deque()
        self._bytes = 0
        self.hurried = 0
        """How often there was no room to wait."""

    def take(self, batch: PacketBatch) -> Iterator[tuple[PacketBatch, Notes]]:
        """Takes a batch, of no packets too, and gives what waits no longer.

        A batch for which nothing has to wait is given as it is; others are copied, because the memory they are in is
        soon used again.
        """
        if len(batch):
            marked = self._notes.mark(batch)
            if not self._held and not self._notes.waits(marked):
                yield batch, self._notes.of(marked)
            else:
                self._hold(copied(batch), marked)
        self._notes.settle()
        yield from self._ready()

    def flush(self) -> Iterator[tuple[PacketBatch, Notes]]:
        """Everything, after a last look."""
        self._notes.finish()
        yield from self._ready()

    def _hold(self, batch: PacketBatch, marked: Marked) -> None:
        self._held.append(_Held(batch, marked, batch.data.nbytes))
        self._bytes += batch.data.nbytes
        if self._bytes > self._most_bytes:
            self.hurried += 1
            self._notes.settle(at_once=True)

    def _ready(self) -> Iterator[tuple[PacketBatch, Notes]]:
        while self._held and not self._notes.waits(self._held[0].marked):
            one = self._held.popleft()
            self._bytes -= one.bytes
            yield one.batch, self._notes.of(one.marked)


def copied(batch: PacketBatch) -> PacketBatch:
    """The same packets in memory of their own."""
    begin = max(0, int(batch.offsets.min()))
    end = int((batch.offsets + batch.captured).max())
    return replace(
        batch, data=batch.data[begin:end].copy(), offsets=batch.offsets - begin, captured=batch.captured.copy(),
        lengths=batch.lengths.copy(), at_ns=batch.at_ns.copy(), interface=batch.interface.copy(),
        vlan=None if batch.vlan is None else batch.vlan.copy(),
        flags=None if batch.flags is None else batch.flags.copy(),
    )  # fmt: skip
