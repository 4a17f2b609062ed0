"""What comes out of a packet filter's device: packets of one interface, or by PKTAP those of all of them."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from hostscope.model.capture import CaptureCounts, CaptureInterface
from hostscope.platforms.macos.interfaces import read_links
from hostscope.platforms.macos.native import bpf
from hostscope.platforms.macos.packet_choice import Choice
from hostscope.platforms.macos.packet_device import PacketDevice
from hostscope.platforms.macos.packet_owners import PacketOwners
from hostscope.platforms.macos.parse_bpf import batch_of
from hostscope.platforms.macos.parse_pktap import Origin, parse_pktap
from hostscope.platforms.macos.parse_routes import ListedLink
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:  # its module brings NumPy along
    from hostscope.wire.batch import PacketBatch

LINK_TYPES = {bpf.DLT_RAW: 101}
"""DLT_* that files call otherwise (LINKTYPE_*)."""
LINKTYPE_PKTAP = 258
HEADER_BYTES = 192
"""Room for PKTAP's header and what may stand between it and the packet: 156 bytes and 16."""
_SHOWN = {
    "ethernet": bpf.DLT_EN10MB, "bridge": bpf.DLT_EN10MB, "vlan": bpf.DLT_EN10MB, "bond": bpf.DLT_EN10MB,
    "ppp": bpf.DLT_PPP, "firewire": bpf.DLT_APPLE_IP_OVER_IEEE1394, "loopback": bpf.DLT_NULL, "gif": bpf.DLT_NULL,
    "stf": bpf.DLT_NULL, "cellular": bpf.DLT_NULL, "tunnel": bpf.DLT_NULL, None: bpf.DLT_NULL,
}  # fmt: skip
"""What PKTAP makes a packet begin with, by the kind of its interface (pktap_bpf_tap of bsd/net/pktap.c in xnu)."""


class Channel:
    """The packets of one interface."""

    def __init__(self, device: PacketDevice, filtered: bool) -> None:
        self.device, self._filtered, self._given = device, filtered, 0
        index = next((link.number for link in read_links() if link.name == device.name), 0)
        self.interfaces = (CaptureInterface(index, device.name, LINK_TYPES.get(device.link, device.link)),)

    def batches(self, raw: bytes, place: int, lost: int) -> "Iterator[PacketBatch]":
        """The packets of one read. `place` is that of the first interface."""
        batch = batch_of(raw, place, self.interfaces[0].link, lost)
        self._given += len(batch)
        yield batch

    def counts(self) -> tuple[CaptureCounts, ...]:
        """Of each interface. The kernel counts packets before a filter, so with one those that came out are counted."""
        received, dropped = self.device.counts()
        return (CaptureCounts(self.device.name, self._given + dropped if self._filtered else received, dropped),)


class _Row(NamedTuple):
    """A packet of PKTAP."""

    row: int
    place: int
    origin: Origin


class TapChannel:
    """The packets of all interfaces, without PKTAP's headers: of each its interface, direction and process.

    Its first interface is PKTAP's own: it has no packets, but the drops, which the kernel counts for all together.
    """

    def __init__(
        self, device: PacketDevice, owners: PacketOwners, snap_bytes: int, only: frozenset[str] | None = None
    ) -> None:
        """Nothing is asked of the device yet.

        Args:
            only: names of the interfaces whose packets are wanted; all of them without it.
        """
        self.device, self._owners, self._snap_bytes, self._only = device, owners, snap_bytes, only
        links = [link for link in read_links() if link.kind != "pktap" and (only is None or link.name in only)]
        index = next((link.number for link in read_links() if link.name == device.name), 0)
        own = CaptureInterface(index, device.name, LINKTYPE_PKTAP)
        self.interfaces = (own, *(_interface(link) for link in links))
        self._links = tuple((link.name, _shown(link)) for link in links)
        self._places = {(one.name, one.link): place for place, one in enumerate(self.interfaces) if place}
        self._given = [0] * len(self.interfaces)
        self._strange = self._owed = 0
        self._choice: Choice | None = None

    def choose(self, expression: str, tally: Tally) -> None:
        """Gives only packets that fit the expression from now on.

        Raises:
            UsageError, Unavailable, Unsupported
        """
        self._choice = Choice(expression, self._links, self._snap_bytes, tally)

    def batches(self, raw: bytes, place: int, lost: int) -> "Iterator[PacketBatch]":
        """The packets of one read, in order, each batch of one interface.

        A packet of an interface that came up after the capture of all of them began is counted among the drops.

        Raises:
            NativeError: the kernel does not list processes.
        """
        whole = batch_of(raw, place, LINKTYPE_PKTAP, lost)
        self._owed += lost
        rows = [one for row in range(len(whole)) if (one := self._row(whole, row)) is not None]
        for at, group in groupby(rows, key=lambda one: one.place):
            same = list(group)
            self._given[at] += len(same)
            lost, self._owed = self._owed, 0
            yield self._batch(whole, same, place + at, lost)

    def _row(self, whole: "PacketBatch", row: int) -> _Row | None:
        """None for a packet that nobody asked for, and for one that is not understood, which is counted."""
        begin = int(whole.offsets[row])
        head = whole.data[begin : begin + min(int(whole.captured[row]), HEADER_BYTES)].tobytes()
        origin = parse_pktap(head)
        if origin and self._only is not None and origin.interface not in self._only:
            return None
        place = self._places.get((origin.interface, LINK_TYPES.get(origin.link, origin.link))) if origin else None
        if origin is None or place is None:
            self._strange += 1
            return None
        return _Row(row, place, origin) if self._fits(whole, row, origin) else None

    def _fits(self, whole: "PacketBatch", row: int, origin: Origin) -> bool:
        if self._choice is None:
            return True
        head = origin.header_bytes
        begin = whole.data.ctypes.data + int(whole.offsets[row]) + head
        return self._choice.fits(origin.link, begin, int(whole.captured[row]) - head, int(whole.lengths[row]) - head)

    def _batch(self, whole: "PacketBatch", rows: list[_Row], place: int, lost: int) -> "PacketBatch":
        import numpy as np

        part = whole.take(np.array([one.row for one in rows], np.int64))
        heads = np.array([one.origin.header_bytes for one in rows], np.int64)
        lengths = np.maximum(part.lengths.astype(np.int64) - heads, 0)
        return replace(
            part,
            offsets=part.offsets + heads,
            captured=np.minimum(part.captured - heads, self._snap_bytes).astype(np.uint32),
            lengths=lengths.astype(np.uint32),
            interface=np.full(len(rows), place, np.uint16),
            link=self.interfaces[rows[0].place].link,
            flags=np.array([one.origin.direction for one in rows], np.uint8),
            lost=lost,
            owners=tuple(self._owners.of(one.origin) for one in rows),
        )

    def counts(self) -> tuple[CaptureCounts, ...]:
        """Of each interface: what it gave; for the first one what is left of the kernel's own counts.

        The kernel counts all packets, those that were not asked for too: where there are such ones, nothing is left.
        """
        received, dropped = self.device.counts()
        lost = dropped + self._strange
        left = received - sum(self._given) if self._only is None and self._choice is None else lost
        own = CaptureCounts(self.device.name, max(lost, left), lost)
        links = zip(self.interfaces[1:], self._given[1:], strict=True)
        return (own, *(CaptureCounts(interface.name, given, 0) for interface, given in links))


def _shown(link: ListedLink) -> int:
    return _SHOWN.get(link.kind, bpf.DLT_RAW)


def _interface(link: ListedLink) -> CaptureInterface:
    shown = _shown(link)
    return CaptureInterface(link.number, link.name, LINK_TYPES.get(shown, shown))
