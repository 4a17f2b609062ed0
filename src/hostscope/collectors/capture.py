"""Captures packets into pcapng files that name the process behind each packet."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from time import monotonic, monotonic_ns, time_ns
from typing import TYPE_CHECKING

from hostscope import __version__
from hostscope.collectors.attribution import Owners, People, counting
from hostscope.model.answer import Answer
from hostscope.model.capture import CaptureInterface, CaptureOutput, CaptureRequest, CaptureSummary
from hostscope.model.host import HostInfo
from hostscope.model.process import Process
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter, PacketSource
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.collectors.held_batches import HeldBatches
    from hostscope.collectors.packet_notes import PacketNotes
    from hostscope.private import Override
    from hostscope.wire.batch import PacketBatch
    from hostscope.wire.pcapng_write import Notes

REPORT_S = 1.0
"""Between two summaries of a capture that goes on."""


def record(
    host: Host,
    request: CaptureRequest,
    output: CaptureOutput,
    stop: threading.Event,
    told: threading.Event | None = None,
    present: Callable[[Process], Process] = lambda process: process,
    override: "Override" = nullcontext,
) -> Answer[CaptureSummary]:
    """Captures until `stop` is set: what was written so far, about every second, and at last in the end.

    Args:
        told: with `CaptureOutput.last_ns`, writes what is kept whenever it is set; it is cleared then.
        present: masks what of a process must not leave.
        override: brings the right to write in spite of permissions into effect.

    Raises:
        UsageError: an interface, the filter or the output is wrong; with the first row.
        Denied, Unsupported: as `Capture.open`.
    """
    tally = Tally()
    return Answer(_rows(_Recording(host, request, output, present, tally), stop, told, override), tally.coverage)


def _rows(
    recording: "_Recording", stop: threading.Event, told: threading.Event | None, override: "Override"
) -> Iterator[CaptureSummary]:
    with (
        recording.counting() as meter,  # before the first packet comes
        recording.host.capture.open(recording.request, recording.tally) as source,
    ):
        recording.begin(source, meter, override)
        try:
            recording.host.privileges.settle("named" if recording.output.owners else "unnamed")
            yield from recording.run(stop, told)
        except BaseException:
            recording.close()
            raise
        recording.close()
        yield recording.summary()


class _Recording:
    """One capture."""

    def __init__(
        self,
        host: Host,
        request: CaptureRequest,
        output: CaptureOutput,
        present: Callable[[Process], Process],
        tally: Tally,
    ) -> None:
        self.host, self.request, self.output, self.tally = host, request, output, tally
        self._present = present
        self._began_ns, self._began_mono_ns = time_ns(), monotonic_ns()

    def counting(self) -> AbstractContextManager[Meter | None]:
        """What knows processes that have ended, where packets get their processes."""
        return counting(self.host, self.tally) if self.output.owners else nullcontext()

    def begin(self, source: PacketSource, meter: Meter | None, override: "Override") -> None:
        """Opens the first file, before any packet is taken."""
        from hostscope.collectors.capture_files import CaptureFiles, Window, require_place

        self._source = source
        self._head: bytes | None = None
        self._notes = self._with_notes(meter) if self.output.owners else None
        self._held = self._holding(self._notes)
        self._written = [0] * len(source.interfaces)
        self._left = self.output.max_packets
        self._files = CaptureFiles(self.output, self, override)
        self._window = Window(self.output.last_ns, self.output.memory_bytes) if self.output.last_ns else None
        if self._window is None:
            self._files.begin()
        else:
            require_place(self.output.path, override)

    def _with_notes(self, meter: Meter | None) -> "PacketNotes":
        from hostscope.collectors.packet_notes import PacketNotes

        owners = Owners(self.host, self.tally, self._source.interfaces[0].net_ns, meter)
        owners.prepare()
        return PacketNotes(owners, People(self.host, self._present, self.tally))

    def _holding(self, notes: "PacketNotes | None") -> "HeldBatches | None":
        from hostscope.collectors.held_batches import HeldBatches

        return HeldBatches(notes) if notes else None

    def run(self, stop: threading.Event, told: threading.Event | None) -> Iterator[CaptureSummary]:
        """Takes packets until `stop` is set, or as many as were asked for."""
        due = monotonic() + REPORT_S
        for batch in self._source.batches(stop):
            self._take(batch, stop)
            if told is not None and told.is_set():
                told.clear()
                self.dump()
            if monotonic() >= due:
                due = monotonic() + REPORT_S
                yield self.summary()
            if self._left == 0:
                return

    def _take(self, batch: "PacketBatch", stop: threading.Event) -> None:
        if self._left is not None:
            batch = batch.part(0, self._left)
            self._left -= len(batch)
            if self._left == 0:
                stop.set()
        if self._held:
            self._put(self._held.take(batch))
        elif len(batch):
            self._put([(batch, None)])
        if self._window:
            self._window.expire(time_ns())

    def _put(self, noted: "Iterable[tuple[PacketBatch, Notes | None]]") -> None:
        from hostscope.wire.pcapng_write import packets

        for batch, notes in noted:
            self._written[int(batch.interface[0])] += len(batch)
            (self._window.add if self._window else self._files.write)(packets(batch, notes), batch.at_ns)

    def dump(self) -> None:
        """Writes what the window holds to a file of its own."""
        if self._window is None:
            return
        if self._held:
            self._put(self._held.flush())
        self._files.begin()
        for encoded, at_ns in self._window.take(time_ns()):
            self._files.write(encoded, at_ns)
        self._files.end()

    def close(self) -> None:
        """Writes what is left, and completes the file."""
        if self._held:
            self._put(self._held.flush())
        if self._window is not None:
            self.dump()
        self._files.end()
        self._say()
        self._count()

    def _say(self) -> None:
        """What packets lack, once all are written."""
        if self._notes is None or self._held is None:
            return
        for line in self._notes.lines():
            self.tally.note(line)
        if self._notes.unasked:
            self.tally.note("flows came faster than their processes could be looked up")
        if self._held.hurried:
            self.tally.note("packets came faster than they could be held: some did not wait for their processes")

    def summary(self) -> CaptureSummary:
        """What was written so far."""
        self._count()
        return CaptureSummary(
            files=tuple(self._files.paths),
            packets=self._files.packets,
            bytes=self._files.bytes,
            named_packets=self._notes.named if self._notes else 0,
            counts=self._source.counts(),
            elapsed_ns=monotonic_ns() - self._began_mono_ns,
            waiting=self._window.packets if self._window else 0,
            forgotten=self._window.forgotten if self._window else 0,
        )

    def _count(self) -> None:
        counts = self._source.counts()
        self.tally.seen = sum(one.received for one in counts)
        self.tally.lost = sum(one.dropped or 0 for one in counts)
        self.tally.rows = self._files.packets

    def head(self) -> bytes:
        """See `Parts.head`: the host and the interfaces."""
        if self._head is None:
            self._head = _head(self.host.system.info(), self._source.interfaces, self.request)
        return self._head

    def tail(self) -> bytes:
        """See `Parts.tail`: names that were learnt, processes that were named, and the interfaces' statistics."""
        from hostscope.wire import pcapng_write as write

        now_ns, counts = time_ns(), self._source.counts()
        notes = self._notes
        known = write.names(notes.names, notes.people) if notes and (notes.names or notes.people) else b""
        return known + b"".join(
            write.statistics(place, self._began_ns, now_ns, one.received, one.dropped, self._written[place])
            for place, one in enumerate(counts)
        )


def _head(info: HostInfo, interfaces: tuple[CaptureInterface, ...], request: CaptureRequest) -> bytes:
    from hostscope.wire import pcapng_write as write

    blocks = [
        write.section(info.architecture, f"{info.os_name or info.system} {info.kernel}", f"hostscope {__version__}")
    ]
    blocks += [write.interface(one.name, one.link, request.snap_bytes, request.bpf) for one in interfaces]
    return b"".join(blocks)
