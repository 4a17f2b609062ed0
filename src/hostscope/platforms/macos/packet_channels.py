"""What comes out of a packet filter's device: packets of one interface, or by PKTAP those of all of them."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from hostscope.model.capture import CaptureCounts, CaptureInterface
from hostscope.platforms.macos.interfaces import read_links
from hostscope.platforms.macos.native import bpf
from hostscope.platforms.macos.packet_device import PacketDevice
from hostscope.platforms.macos.packet_owners import PacketOwners
from hostscope.platforms.macos.parse_bpf import batch_of
from hostscope.platforms.macos.parse_pktap import Origin, parse_pktap
from hostscope.platforms.macos.parse_routes import ListedLink

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

    def __init__(self, device: PacketDevice, owners: PacketOwners, snap_bytes: int) -> None:
        self.device, self._owners, self._snap_bytes = device, owners, snap_bytes
        links = [link for link in read_links() if link.kind != "pktap"]
        index = next((link.number for link in read_links() if link.name == device.name), 0)
        own = CaptureInterface(index, device.name, LINKTYPE_PKTAP)
        self.interfaces = (own, *(_interface(link) for link in links))
        self._places = {(one.name, one.link): place for place, one in enumerate(self.interfaces) if place}
        self._given = [0] * len(self.interfaces)
        self._strange = 0

    def batches(self, raw: bytes, place: int, lost: int) -> "Iterator[PacketBatch]":
        """The packets of one read, in order, each batch of one interface.

        A packet of an interface that came up after the capture began is counted among the drops.

        Raises:
            NativeError: the kernel does not list processes.
        """
        whole = batch_of(raw, place, LINKTYPE_PKTAP, lost)
        rows = [one for row in range(len(whole)) if (one := self._row(whole, row)) is not None]
        self._strange += len(whole) - len(rows)
        for at, group in groupby(rows, key=lambda one: one.place):
            same = list(group)
            self._given[at] += len(same)
            yield self._batch(whole, same, place + at, lost)
            lost = 0

    def _row(self, whole: "PacketBatch", row: int) -> _Row | None:
        begin = int(whole.offsets[row])
        head = whole.data[begin : begin + min(int(whole.captured[row]), HEADER_BYTES)].tobytes()
        origin = parse_pktap(head)
        if origin is None:
            return None
        place = self._places.get((origin.interface, LINK_TYPES.get(origin.link, origin.link)))
        return None if place is None else _Row(row, place, origin)

    def _batch(self, whole: "PacketBatch", rows: list[_Row], place: int, lost: int) -> "PacketBatch":
        import numpy as np
        from msgspec.structs import replace

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
        """Of each interface: what it gave; for the first one what is left of the kernel's own counts."""
        received, dropped = self.device.counts()
        lost = dropped + self._strange
        own = CaptureCounts(self.device.name, max(lost, received - sum(self._given)), lost)
        links = zip(self.interfaces[1:], self._given[1:], strict=True)
        return (own, *(CaptureCounts(interface.name, given, 0) for interface, given in links))


def _interface(link: ListedLink) -> CaptureInterface:
    shown = _SHOWN.get(link.kind, bpf.DLT_RAW)
    return CaptureInterface(link.number, link.name, LINK_TYPES.get(shown, shown))
