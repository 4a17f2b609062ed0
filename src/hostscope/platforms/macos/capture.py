"""Packets of interfaces, by the Berkeley packet filter's devices."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hostscope.errors import NativeError, Unsupported, UsageError
from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
from hostscope.platforms.base import PacketSource, Privileges
from hostscope.platforms.macos.interfaces import UP, read_links
from hostscope.platforms.macos.native import bpf, errnos
from hostscope.platforms.macos.packet_device import PacketDevice, Program, accept_all, tried
from hostscope.platforms.macos.parse_bpf import batch_of
from hostscope.platforms.macos.parse_pktap import unwrapped
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.wire.batch import PacketBatch

PKTAP = "pktap"
"""An interface of the kernel's that shows the packets of all others, and whose each one is."""
LISTING = "hostscope interfaces lists all of them"
LINK_TYPES = {bpf.DLT_RAW: 101}
"""DLT_* that files call otherwise (LINKTYPE_*)."""
MOST_SNAP_BYTES = 262_144
WAIT_S, LAST_WAIT_S = 0.1, 0.05


class Capture:
    """Implements `hostscope.platforms.base.Capture`."""

    def __init__(self, privileges: Privileges | None = None) -> None:
        self._privileges = privileges

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        """Starts to capture: one device for each interface; ``pktap`` makes one of the kernel's own for the time.

        Needs: /dev/bpf* may be opened (root, or a group that ChmodBPF made). Memory: two buffers for each device, in
        the kernel.
        Source: bpf(4); PKTAP (private).

        Raises:
            UsageError: an interface does not exist or is down, or libpcap rejects the filter.
            Denied, Unavailable, Unsupported
        """
        if request.namespace is not None:
            raise Unsupported("macOS has no network namespaces", "leave --namespace out")
        with ExitStack() as stack:
            with raised(self._privileges, f"capture packets of {', '.join(request.interfaces) or 'all interfaces'}"):
                devices = [_opened(name, request, stack, tally) for name in _wanted(request)]
                for device in devices:
                    _begin(device, request)
            tally.method = "bpf"
            tally.effects += _effects(request, devices)
            yield PacketDevices(tuple(devices), tuple(_shown(device) for device in devices), tally)


class PacketDevices:
    """Implements `hostscope.platforms.base.PacketSource`."""

    def __init__(
        self, devices: tuple[PacketDevice, ...], interfaces: tuple[CaptureInterface, ...], tally: Tally
    ) -> None:
        self.interfaces = interfaces
        self._devices = devices
        self._tally = tally
        self._gone: set[str] = set()
        self._untold = dict.fromkeys((device.name for device in devices), 0)

    def batches(self, stop: threading.Event) -> "Iterator[PacketBatch]":
        """See `PacketSource.batches`. What was captured before `stop` was set is given in any case.

        Ends by itself when every interface has gone.
        """
        from hostscope.wire.batch import empty_batch

        while not stop.is_set() and len(self._gone) < len(self._devices):
            found = False
            for batch in self._round():
                found = True
                yield batch
            if not found:
                yield empty_batch()
                self._wait(WAIT_S)
        self._wait(LAST_WAIT_S)
        yield from self._round()

    def counts(self) -> tuple[CaptureCounts, ...]:
        """See `PacketSource.counts`. The kernel counts what passed before the filter is full, drops among them."""
        found = []
        for device in self._devices:
            try:
                received, dropped = device.counts()
            except OSError as failed:
                raise _failure("BIOCGSTATS", failed) from failed
            found.append(CaptureCounts(device.name, received, dropped))
        return tuple(found)

    def _wait(self, timeout_s: float) -> None:
        living = [device.fd for device in self._devices if device.name not in self._gone]
        if living:
            select.select(living, (), (), timeout_s)

    def _round(self) -> "Iterator[PacketBatch]":
        for place, device in enumerate(self._devices):
            raw = self._read(device)
            if raw:
                yield from _batches(raw, place, self.interfaces[place].link, self._lost(device))

    def _read(self, device: PacketDevice) -> bytes:
        if device.name in self._gone:
            return b""
        try:
            return device.read()
        except OSError as failed:
            if failed.errno not in (errnos.ENXIO, errnos.ENETDOWN):
                raise NativeError(
                    f"bpf on {device.name}", failed.errno or 0, errnos.text(failed.errno or 0)
                ) from failed
            self._gone.add(device.name)
            self._tally.note(f"interface {device.name} went away while packets were captured")
            return b""

    def _lost(self, device: PacketDevice) -> int:
        """Packets that were dropped since the batch before."""
        _, dropped = device.counts()
        lost = dropped - self._untold[device.name]
        self._untold[device.name] = dropped
        return max(0, lost)


def _failure(call: str, failed: OSError) -> NativeError:
    return NativeError(call, failed.errno or 0, errnos.text(failed.errno or 0))


def _batches(raw: bytes, place: int, link: int, lost: int) -> "Iterator[PacketBatch]":
    """Packets of PKTAP without its headers; of their link types, of which there may be several."""
    batch = batch_of(raw, place, link, lost)
    if link != bpf.DLT_PKTAP:
        yield batch
        return
    for part, _ in unwrapped(batch):
        yield replace(part, link=LINK_TYPES.get(part.link, part.link), lost=lost)
        lost = 0


def _wanted(request: CaptureRequest) -> tuple[str, ...]:
    """Names of interfaces; all that are up when none is named."""
    links = {link.name: link for link in read_links()}
    wanted = tuple(dict.fromkeys(request.interfaces)) or tuple(name for name, link in links.items() if link.flags & UP)
    for name in wanted:
        if name != PKTAP and name not in links:
            raise UsageError(f"there is no interface {name!r}", f"interfaces: {', '.join([*links, PKTAP])}")
        if name != PKTAP and not links[name].flags & UP:
            raise UsageError(f"interface {name} is down", "packets pass only through interfaces that are up")
    if not wanted:
        raise UsageError("no interface is up", LISTING)
    return wanted


def _opened(name: str, request: CaptureRequest, stack: ExitStack, tally: Tally) -> PacketDevice:
    if name == PKTAP:
        name = stack.enter_context(_tap(tally))
        tally.effects.append(f"interface {name} was made, and goes away with the capture")
    each = request.ring_bytes // max(1, len(request.interfaces) or 4) // 2
    device = PacketDevice(name, min(each, 4 << 20))
    stack.callback(device.close)
    return device


@contextmanager
def _tap(tally: Tally) -> Iterator[str]:
    """An interface that shows the packets of all others; who has given root up since cannot take it away."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        name = tried(PKTAP, lambda: bpf.create_interface(ask.fileno(), PKTAP))
        try:
            yield name
        finally:
            try:
                bpf.destroy_interface(ask.fileno(), name)
            except OSError as failed:
                tally.note(f"interface {name} stays ({errnos.text(failed.errno or 0)}): ifconfig {name} destroy")


def _begin(device: PacketDevice, request: CaptureRequest) -> None:
    """A filter for PKTAP sees its header first, which libpcap knows of on macOS."""
    tap = bpf.DLT_PKTAP if device.name.startswith(PKTAP) else None
    device.begin(_program(request, tap or device.link), request.promiscuous, tap)


def _program(request: CaptureRequest, link: int) -> Program:
    snap = min(request.snap_bytes, MOST_SNAP_BYTES)
    if not request.bpf:
        return accept_all(snap)
    from hostscope.platforms.macos.native import pcap

    return pcap.compile_filter(request.bpf, link, snap)


def _shown(device: PacketDevice) -> CaptureInterface:
    index = next((link.number for link in read_links() if link.name == device.name), 0)
    return CaptureInterface(index, device.name, LINK_TYPES.get(device.link, device.link))


def _effects(request: CaptureRequest, devices: list[PacketDevice]) -> list[str]:
    names = ", ".join(device.name for device in devices)
    opened = [f"{len(devices)} packet filter device{'s' * (len(devices) > 1)} on {names}"]
    return [*opened, f"promiscuous mode on {names}"] if request.promiscuous else opened
