"""Packets of interfaces, by raw sockets that hear everything (SIO_RCVALL): no driver has to be installed.

What they cannot do, by Microsoft's documentation of raw sockets: they need an administrator; loopback is not heard, nor
are link headers and what is not IP (ARP); IPv6 packets come without their header, which is made up again from what is
known (source, destination, payload); the firewall may take packets away before they are heard; what finds no room in a
socket's buffer is not counted.
"""

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING

from msgspec import Struct

from hostscope.errors import Denied, Error, NativeError, Unsupported, UsageError
from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.adapters import read_adapters
from hostscope.platforms.windows.native import winsock
from hostscope.platforms.windows.parse_network import Adapter, Address
from hostscope.platforms.windows.raw_socket import MOST_PACKET_BYTES, RawSocket

if TYPE_CHECKING:
    from hostscope.wire.batch import Mask, PacketBatch

ANY = "any"
LINKTYPE_RAW = 101
LISTING = "hostscope interfaces lists all of them"
HINT = "needs an administrator: start it from an elevated prompt"
LOST = "packets that found no room in a socket's buffer are not counted by Windows"
MADE_UP = "headers of IPv6 packets are made up: raw sockets do not give them; hop limit 0 marks them"
BATCH_BYTES = 4 << 20
MOST_PACKETS = 16_384
"""In one batch."""
SMALLEST_BUFFER = 1 << 20
WAIT_S = 0.1
_UP, _TYPE_LOOPBACK = 1, 24
_REFUSED = frozenset({winsock.WSAEACCES, 5})
_LACKING = frozenset(
    {
        winsock.WSAEPROTONOSUPPORT, winsock.WSAESOCKTNOSUPPORT, winsock.WSAEOPNOTSUPP, winsock.WSAEAFNOSUPPORT,
        winsock.WSAEINVAL,
    }
)  # fmt: skip

Listen = Callable[[Address, int, int], RawSocket]


class _Ear(Struct, frozen=True):
    """A socket, and of which of the capture's interfaces it is."""

    place: int
    socket: RawSocket


class Capture:
    """Implements `hostscope.platforms.base_network.Capture`."""

    def __init__(self, listen: Listen = RawSocket) -> None:
        self._listen = listen

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        """Starts to capture: one socket for IPv4 and one for IPv6 on each interface, bound to its first address.

        One for every address would hear each packet as often as the interface has addresses.

        Needs: an administrator.
        Source: SIO_RCVALL (Windows 2000; for IPv6 Vista).

        Raises:
            UsageError: an interface does not exist, is down or has no address, or the filter makes no sense.
            Denied: we are no administrator.
            Unsupported: the filter needs libpcap, a namespace is named, or this Windows has no such sockets (Wine).
        """
        from hostscope.platforms.windows.packet_filter import compile_filter  # brings NumPy along

        if request.namespace is not None:
            raise Unsupported("Windows has no network namespaces to capture in")
        test = compile_filter(request.bpf)
        adapters = chosen(request.interfaces, read_adapters())
        with ExitStack() as stack:
            ears = self._ears(request, adapters, tally, stack)
            shown = tuple(CaptureInterface(one.index, one.name, LINKTYPE_RAW) for one in adapters)
            tally.method = "raw-sockets"
            tally.effects += _effects(request, [one.name for one in adapters])
            tally.note(LOST)
            yield RawCapture(ears, shown, test, request.snap_bytes, tally)

    def _ears(
        self, request: CaptureRequest, adapters: Sequence[Adapter], tally: Tally, stack: ExitStack
    ) -> tuple[_Ear, ...]:
        places = [(place, address) for place, one in enumerate(adapters) for address in addresses_of(one)]
        mode = winsock.RCVALL_ON if request.promiscuous else winsock.RCVALL_IPLEVEL
        each = max(SMALLEST_BUFFER, request.ring_bytes // max(len(places), 1))
        ears, first = list[_Ear](), None
        for place, address in places:
            try:
                ear = self._listen(address, mode, each)
            except OSError as failed:
                first = first or refusal(failed)
                tally.note(f"{adapters[place].name}: {address.family} is not captured: {failed.strerror or failed}")
                continue
            stack.callback(ear.close)
            ears.append(_Ear(place, ear))
        if first is not None and (not ears or isinstance(first, Denied)):
            raise first
        if any(ear.socket.address.family == "inet6" for ear in ears):
            tally.note(MADE_UP)
        return tuple(ears)


class RawCapture:
    """Implements `hostscope.platforms.base_network.PacketSource`."""

    def __init__(
        self,
        ears: Sequence[_Ear],
        interfaces: tuple[CaptureInterface, ...],
        test: "Callable[[PacketBatch], Mask]",
        snap_bytes: int,
        tally: Tally,
    ) -> None:
        self.interfaces = interfaces
        self._ears, self._test, self._snap, self._tally = list(ears), test, snap_bytes, tally
        self._buffer = bytearray(BATCH_BYTES + MOST_PACKET_BYTES + 1)
        self._received = [0] * len(interfaces)
        self._left_out = 0
        self._clock_ns = time_ns() - perf_counter_ns()
        """The wall clock ticks 64 times a second before Python 3.13: packets are stamped by the performance counter."""

    def batches(self, stop: threading.Event) -> "Iterator[PacketBatch]":
        """See `PacketSource.batches`. What was heard before `stop` was set is given in any case.

        Ends by itself when no interface can be heard any more. Packets are stamped when they are taken.
        """
        while not stop.is_set() and self._ears:
            yield self._take(WAIT_S)
        while len(rest := self._take(0)):
            yield rest
        self._say()

    def counts(self) -> tuple[CaptureCounts, ...]:
        """See `PacketSource.counts`. Windows does not tell how many found no room; no other buffer is between."""
        return tuple(CaptureCounts(one.name, self._received[place], None) for place, one in enumerate(self.interfaces))

    def _take(self, wait_s: float) -> "PacketBatch":
        taken = _Taken(memoryview(self._buffer), self._snap, self._clock_ns)
        if self._ears:
            ready, _, _ = select.select([ear.socket.socket for ear in self._ears], [], [], wait_s)
            for ear in [one for one in self._ears if one.socket.socket in ready]:
                self._drain(ear, taken)
        batch = taken.batch()
        mask = self._test(batch)
        self._left_out += len(batch) - int(mask.sum())
        kept = batch if mask.all() else batch.take(mask.nonzero()[0])
        for place in kept.interface.tolist():
            self._received[place] += 1
        return kept

    def _drain(self, ear: _Ear, taken: "_Taken") -> None:
        """Everything that waits there, as far as there is room."""
        try:
            while taken.has_room and (size := ear.socket.receive(taken.room)):
                taken.add(size, ear.place)
        except OSError as failed:
            name = self.interfaces[ear.place].name
            self._tally.note(f"interface {name} is not heard any more: {failed.strerror or failed}")
            self._ears.remove(ear)

    def _say(self) -> None:
        unknown = sum(ear.socket.unknown for ear in self._ears)
        if unknown:
            self._tally.note(f"{unknown} IPv6 packets are left out: neither TCP, UDP nor ICMPv6")
        if self._left_out:
            self._tally.note(f"{self._left_out} packets did not pass the filter")


class _Taken:
    """Packets one after the other in a buffer."""

    def __init__(self, buffer: memoryview, snap_bytes: int, clock_ns: int) -> None:
        self._buffer, self._snap, self._clock_ns = buffer, snap_bytes, clock_ns
        self._used = 0
        self._rows: list[tuple[int, int, int, int, int]] = []

    @property
    def has_room(self) -> bool:
        """For one more packet, however large."""
        return self._used <= BATCH_BYTES and len(self._rows) < MOST_PACKETS

    @property
    def room(self) -> memoryview:
        """Where the next one goes."""
        return self._buffer[self._used :]

    def add(self, size: int, place: int) -> None:
        """A packet was put there; what is beyond the snap length is overwritten by the next one."""
        kept = min(size, self._snap)
        self._rows.append((self._used, kept, size, self._clock_ns + perf_counter_ns(), place))
        self._used += kept

    def batch(self) -> "PacketBatch":
        """All of them, over the buffer."""
        import numpy as np

        from hostscope.wire.batch import PacketBatch, empty_batch

        if not self._rows:
            return empty_batch()
        offsets, captured, lengths, at_ns, places = np.array(self._rows, np.int64).T
        return PacketBatch(
            data=np.frombuffer(self._buffer, np.uint8),
            offsets=offsets,
            captured=captured.astype(np.uint32),
            lengths=lengths.astype(np.uint32),
            at_ns=at_ns,
            interface=places.astype(np.uint16),
            link=LINKTYPE_RAW,
        )


def chosen(names: tuple[str, ...], adapters: Sequence[Adapter]) -> list[Adapter]:
    """The adapters to capture from: those that are named, or all that are up and not loopback.

    Raises:
        UsageError: an interface does not exist, is down or has no address.
        Unsupported: loopback is named.
    """
    usable = [one for one in adapters if one.state == _UP and one.type != _TYPE_LOOPBACK and one.addresses]
    if not names or ANY in names:
        if not usable:
            raise UsageError("no interface with an address is up", LISTING)
        return usable
    return [_named(name, adapters) for name in dict.fromkeys(names)]


def _named(name: str, adapters: Sequence[Adapter]) -> Adapter:
    found = next((one for one in adapters if name in (one.name, one.guid, one.description)), None)
    if found is None:
        known = ", ".join([one.name for one in adapters] + [ANY])
        raise UsageError(f"there is no interface {name!r}", f"interfaces: {known}")
    if found.type == _TYPE_LOOPBACK:
        raise Unsupported(f"packets of {name} cannot be captured: raw sockets do not hear loopback")
    if found.state != _UP:
        raise UsageError(f"interface {name} is down", "packets pass only through interfaces that are up")
    if not found.addresses:
        raise UsageError(f"interface {name} has no IP address", "raw sockets hear an interface by its address")
    return found


def addresses_of(adapter: Adapter) -> list[Address]:
    """The address of each family that its socket is bound to: the first, a link-local one only if there is no other."""
    found = []
    for family in ("inet", "inet6"):
        own = [one for one in adapter.addresses if one.family == family]
        own.sort(key=lambda one: one.text.startswith(("169.254.", "fe80:")))
        found += own[:1]
    return found


def refusal(failed: OSError) -> Error:
    """Why there is no raw socket."""
    code = getattr(failed, "winerror", None) or failed.errno or 0
    if code in _REFUSED:
        return Denied("may not capture packets", HINT)
    if code in _LACKING:
        return Unsupported(f"this Windows has no raw sockets that hear everything (error {code})")
    return NativeError("raw socket", code, failed.strerror or str(failed))


def _effects(request: CaptureRequest, names: Sequence[str]) -> list[str]:
    opened = [f"raw sockets on {', '.join(names)}"]
    return [*opened, f"promiscuous mode on {', '.join(names)}"] if request.promiscuous else opened
