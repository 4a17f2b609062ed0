"""Packets of interfaces, by the Berkeley packet filter's devices."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from hostscope.errors import Error, NativeError, Unsupported, UsageError
from hostscope.model.capture import CaptureCounts, CaptureRequest
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos.interfaces import LOOPBACK, UP, read_links
from hostscope.platforms.macos.native import bpf, errnos, pktap
from hostscope.platforms.macos.owners import Owners
from hostscope.platforms.macos.packet_channels import HEADER_BYTES, Channel, TapChannel
from hostscope.platforms.macos.packet_device import PacketDevice, Program, Result, accept_all, tried
from hostscope.platforms.macos.packet_owners import PacketOwners
from hostscope.platforms.macos.raised import keep_root, raised
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.wire.batch import PacketBatch

PKTAP = "pktap"
"""An interface of the kernel's that shows the packets of all others, and whose each one is."""
ANY = "any"
"""What tcpdump calls it too."""
LISTING = "hostscope interfaces lists all of them"
MOST_SNAP_BYTES = 262_144
WAIT_S, LAST_WAIT_S = 0.1, 0.05
_COUNTER = 0xFFFF_FFFF
"""The kernel's counters have 32 bits."""


class Capture:
    """Implements `hostscope.platforms.base_network.Capture`."""

    def __init__(self, owners: Owners, privileges: Privileges | None = None) -> None:
        self._owners, self._privileges = owners, privileges

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        """Starts to capture: one device for each interface; ``pktap`` makes one of the kernel's own for the time.

        With `CaptureRequest.owners` such a one stands for all interfaces but loopback, where the kernel has it.

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
                channels = self._channels(request, stack, tally)
                for channel in channels:
                    channel.device.begin(_program(request, channel), request.promiscuous)
            tally.method = "bpf"
            tally.effects += _effects(request, [channel.device for channel in channels])
            yield PacketDevices(tuple(channels), tally)

    def _channels(self, request: CaptureRequest, stack: ExitStack, tally: Tally) -> list[Channel | TapChannel]:
        names = _wanted(request)
        tap = self._tap_of(names, request, stack, tally) if request.owners and PKTAP not in names else None
        told = frozenset(one.name for one in tap.interfaces) if tap else frozenset()
        found = [self._opened(name, request, stack, tally) for name in names if name not in told]
        return [*found, tap] if tap else found

    def _tap_of(
        self, names: tuple[str, ...], request: CaptureRequest, stack: ExitStack, tally: Tally
    ) -> TapChannel | None:
        """One for these interfaces but loopback, whose packets would come twice: as they leave, and as they arrive."""
        loops = frozenset(link.name for link in read_links() if link.flags & LOOPBACK)
        only = frozenset(names) - loops
        if not only:
            return None
        with ExitStack() as opened:
            try:
                channel = self._tapped(request, opened, tally, only)
            except Error as failed:
                tally.note(f"packets do not say whose they are (PKTAP): {failed.message}")
                return None
            stack.enter_context(opened.pop_all())
        tally.note("packets say whose they are (PKTAP), but those of loopback")
        return channel

    def _opened(self, name: str, request: CaptureRequest, stack: ExitStack, tally: Tally) -> Channel | TapChannel:
        if name == PKTAP:
            return self._tapped(request, stack, tally)
        device = PacketDevice(name, _buffer_bytes(request))
        stack.callback(device.close)
        return Channel(device, filtered=bool(request.bpf))

    def _tapped(
        self, request: CaptureRequest, stack: ExitStack, tally: Tally, only: frozenset[str] | None = None
    ) -> TapChannel:
        name = stack.enter_context(_tap(self._privileges, tally))
        device = PacketDevice(name, _buffer_bytes(request), tap=True)
        stack.callback(device.close)
        tally.effects.append(f"interface {name} was made, and goes away with the capture")
        keep_root(self._privileges, f"interface {name} is taken away in the end")
        channel = TapChannel(device, PacketOwners(self._owners), min(request.snap_bytes, MOST_SNAP_BYTES), only)
        if request.bpf:
            channel.choose(request.bpf, tally)
        return channel


class PacketDevices:
    """Implements `hostscope.platforms.base_network.PacketSource`."""

    def __init__(self, channels: tuple[Channel | TapChannel, ...], tally: Tally) -> None:
        self._channels, self._tally = channels, tally
        self.interfaces = tuple(one for channel in channels for one in channel.interfaces)
        self._gone: set[str] = set()
        self._untold = dict.fromkeys((channel.device.name for channel in channels), 0)

    def batches(self, stop: threading.Event) -> "Iterator[PacketBatch]":
        """See `PacketSource.batches`. What was captured before `stop` was set is given in any case.

        Ends by itself when every interface has gone.
        """
        from hostscope.wire.batch import empty_batch

        while not stop.is_set() and len(self._gone) < len(self._channels):
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
        """See `PacketSource.counts`; of each interface, in the same order."""
        return tuple(one for channel in self._channels for one in _counted(channel.counts))

    def _wait(self, timeout_s: float) -> None:
        living = [one.device.fd for one in self._channels if one.device.name not in self._gone]
        if living:
            select.select(living, (), (), timeout_s)

    def _round(self) -> "Iterator[PacketBatch]":
        place = 0
        for channel in self._channels:
            raw = self._read(channel.device)
            if raw:
                yield from channel.batches(raw, place, self._lost(channel.device))
            place += len(channel.interfaces)

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
        _, dropped = _counted(device.counts)
        lost = dropped - self._untold[device.name] & _COUNTER
        self._untold[device.name] = dropped
        return lost


def _counted(ask: Callable[[], Result]) -> Result:
    try:
        return ask()
    except OSError as failed:
        raise NativeError("BIOCGSTATS", failed.errno or 0, errnos.text(failed.errno or 0)) from failed


def _wanted(request: CaptureRequest) -> tuple[str, ...]:
    """Names of interfaces; all that are up when none is named, but those that show the packets of others."""
    links = {link.name: link for link in read_links()}
    up = (name for name, link in links.items() if link.flags & UP and link.kind != PKTAP)
    asked = (PKTAP if name == ANY else name for name in request.interfaces)
    wanted = tuple(dict.fromkeys(asked)) or tuple(up)
    for name in wanted:
        if name != PKTAP and name not in links:
            raise UsageError(f"there is no interface {name!r}", f"interfaces: {', '.join([*links, PKTAP])}")
        if name != PKTAP and not links[name].flags & UP:
            raise UsageError(f"interface {name} is down", "packets pass only through interfaces that are up")
    if not wanted:
        raise UsageError("no interface is up", LISTING)
    return wanted


def _buffer_bytes(request: CaptureRequest) -> int:
    """Of a device, of which the kernel has two."""
    return min(request.ring_bytes // max(1, len(request.interfaces) or 4) // 2, 4 << 20)


@contextmanager
def _tap(privileges: Privileges | None, tally: Tally) -> Iterator[str]:
    """An interface that shows the packets of all others; who has no root any more cannot take it away."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        name = tried(PKTAP, lambda: bpf.create_interface(ask.fileno(), PKTAP))
        try:
            tried(name, lambda: pktap.show_every_interface(ask.fileno(), name))
            yield name
        finally:
            try:
                with raised(privileges, f"take interface {name} away"):
                    bpf.destroy_interface(ask.fileno(), name)
            except OSError as failed:
                tally.note(f"interface {name} stays ({errnos.text(failed.errno or 0)}): ifconfig {name} destroy")


def _program(request: CaptureRequest, channel: Channel | TapChannel) -> Program:
    """For the kernel; packets behind PKTAP's headers come to us whole, to be chosen there."""
    snap = min(request.snap_bytes, MOST_SNAP_BYTES)
    if isinstance(channel, TapChannel):
        return accept_all(HEADER_BYTES + (MOST_SNAP_BYTES if request.bpf else snap))
    if not request.bpf:
        return accept_all(snap)
    from hostscope.platforms.macos.native import pcap

    return pcap.compile_filter(request.bpf, channel.device.link, snap)


def _effects(request: CaptureRequest, devices: list[PacketDevice]) -> list[str]:
    names = ", ".join(device.name for device in devices)
    opened = [f"{len(devices)} packet filter device{'s' * (len(devices) > 1)} on {names}"]
    return [*opened, f"promiscuous mode on {names}"] if request.promiscuous else opened
