"""Packets of interfaces, by packet sockets and their rings."""

import errno
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from hostscope.errors import Denied, Error, NativeError, Unavailable, UsageError
from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.linux.net_namespaces import ENTER, NetNamespace, find, inside, ours
from hostscope.platforms.linux.packet_filter import DLT_LINUX_SLL2, LINKTYPE_RAW, Program, program_for
from hostscope.platforms.linux.privileges import READ_OTHERS
from hostscope.platforms.linux.rtnetlink import Link, RouteSocket
from hostscope.platforms.linux.translate import REFUSED, error
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.platforms.linux.packet_ring import PacketRing
    from hostscope.wire.batch import PacketBatch

Result = TypeVar("Result")

ANY = "any"
"""All interfaces, those that appear later included, with cooked headers."""
CAPTURING = ("net_raw",)
LISTING = "hostscope interfaces lists all of them"
HINT = "needs root or CAP_NET_RAW; hostscope doctor shows how to grant it"
IFF_UP, IFF_LOOPBACK = 0x1, 0x8
_ETHERNET, _LOOPBACK = 1, 772
LINK_TYPES = {
    _ETHERNET: 1, _LOOPBACK: 1, 519: LINKTYPE_RAW, 768: LINKTYPE_RAW, 769: LINKTYPE_RAW, 776: LINKTYPE_RAW,
    778: LINKTYPE_RAW, 801: 105, 803: 127, 65534: LINKTYPE_RAW,
}  # fmt: skip
"""ARPHRD_* -> LINKTYPE_*; everything else is captured cooked. Tunnels give raw IP, 802.11 with and without radiotap."""
LEAST_RING_BYTES = 1 << 20
GATHER_S = 0.015
"""Packets are collected for so long where few are waiting: many at once cost less each."""
_MANY = 8_000
"""Packets of one round that are enough not to wait."""
_WAIT_MS, _LAST_POLL_MS = 100, 10
LAST_WAIT_S = 0.1
"""After the last packet was let in, until the kernel has handed over the block that holds it."""
MOST_SNAP_BYTES = 262_144


class _Place(Struct, frozen=True):
    """One interface, or all of them, to capture from."""

    shown: CaptureInterface
    program: Program
    loopback: int
    """Index of the loopback interface."""

    @property
    def everywhere(self) -> bool:
        """Whether it is no single interface."""
        return self.shown.index == 0


class Capture:
    """Implements `hostscope.platforms.base_network.Capture`."""

    def __init__(self, privileges: Privileges | None = None) -> None:
        self._privileges = privileges

    @contextmanager
    def open(self, request: CaptureRequest, tally: Tally) -> Iterator[PacketSource]:
        """Starts to capture: one ring for each interface, and one for all of them for ``any``.

        Needs: CAP_NET_RAW, for promiscuous mode too.
        Source: packet(7), TPACKET_V3 (Linux 3.2). Memory: `request.ring_bytes` of the kernel's, over all interfaces.

        Raises:
            UsageError: an interface does not exist or is down, or libpcap rejects the filter.
            Denied: CAP_NET_RAW is missing, for another network namespace CAP_SYS_ADMIN.
            Gone: the process whose namespace was named has ended.
            Unavailable: there is no libpcap for the filter.
        """
        from hostscope.platforms.linux.packet_ring import PacketRing  # brings NumPy along

        opened: list[tuple[_Place, PacketRing]] = []
        with ExitStack() as stack:
            with self._raised(request):
                namespace = namespace_of(request.namespace)
                places = _entered(namespace, lambda: tuple(places_of(request, _links(), namespace.inode)))
                for place in places:
                    ring = _tried(place, inside, namespace, partial(PacketRing, *_size(request, place, len(places))))
                    stack.callback(ring.close)
                    opened.append((place, ring))
                opened = [(place, ring) for place, ring in opened if _starts(place, ring, request, tally)]
                if not opened:
                    raise UsageError("no interface is up any more", LISTING)
                places, rings = tuple(place for place, _ in opened), tuple(ring for _, ring in opened)
            if len(places) * LEAST_RING_BYTES > request.ring_bytes:
                tally.note(f"the rings of {len(places)} interfaces take {len(places)} MiB, the least there is")
            tally.method = "packet-ring"
            tally.effects += _effects(request, places)
            yield PacketRings(rings, tuple(place.shown for place in places), tally)

    def _raised(self, request: CaptureRequest) -> AbstractContextManager[None]:
        names = CAPTURING if request.namespace is None else (*CAPTURING, *ENTER, *READ_OTHERS)
        why = f"capture packets of {', '.join(request.interfaces) or 'all interfaces'}"
        return self._privileges.using(names, why) if self._privileges else nullcontext()


def _size(request: CaptureRequest, place: _Place, places: int) -> tuple[int, int, bool, bool, int]:
    """What a ring is made with; the memory is shared equally."""
    each = max(LEAST_RING_BYTES, request.ring_bytes // places)
    return each, snap_bytes(request), place.shown.link == DLT_LINUX_SLL2, place.everywhere, place.loopback


def namespace_of(wanted: str | None) -> NetNamespace:
    """The network namespace of a process, or of that name (as ``ip netns`` has it); ours for None.

    Raises:
        UsageError: there is no such namespace.
    """
    if wanted is None:
        return ours()
    if wanted.isdecimal():
        path = f"/proc/{wanted}/ns/net"
        try:
            return NetNamespace(os.stat(path).st_ino, path, int(wanted))
        except OSError as failed:
            raise error("stat", failed, int(wanted)) from None
    named = {one.name: one for one in find().found if one.name}
    if wanted not in named:
        raise UsageError(f"there is no network namespace {wanted!r}", _names(named))
    return named[wanted]


def _names(named: Iterable[str]) -> str:
    """What can be given instead."""
    listed = ", ".join(named)
    return f"give a pid, or one of: {listed}" if listed else "give a pid: no namespace here has a name"


class PacketRings:
    """Implements `hostscope.platforms.base_network.PacketSource`."""

    def __init__(self, rings: "tuple[PacketRing, ...]", interfaces: tuple[CaptureInterface, ...], tally: Tally) -> None:
        self.interfaces = interfaces
        self._rings = rings
        self._tally = tally
        self._went_down: list[PacketRing] = []
        self._ready = select.poll()
        for ring in rings:
            self._ready.register(ring.socket, select.POLLIN)

    def batches(self, stop: threading.Event) -> "Iterator[PacketBatch]":
        """See `PacketSource.batches`. What was captured before `stop` was set is given in any case.

        Ends by itself when every interface has gone.

        A batch is up to 3 MiB of one interface's packets in order; where few are waiting they are let gather.
        """
        from hostscope.wire.batch import empty_batch

        while not stop.is_set() and not self._all_gone():
            found = 0
            for batch in self._round():
                found += len(batch)
                yield batch
            if not found:
                yield empty_batch()
                self._note_failures(self._ready.poll(_WAIT_MS))
            if found < _MANY:
                stop.wait(GATHER_S)
        yield from self._last()

    def counts(self) -> tuple[CaptureCounts, ...]:
        """See `PacketSource.counts`."""
        for ring in self._rings:
            ring.count()
        return tuple(
            CaptureCounts(shown.name, ring.received, ring.dropped)
            for shown, ring in zip(self.interfaces, self._rings, strict=True)
        )

    def _round(self) -> "Iterator[PacketBatch]":
        for place, (ring, shown) in enumerate(zip(self._rings, self.interfaces, strict=True)):
            batch = ring.take(place, shown.link)
            if batch is not None:
                yield batch
                ring.release()  # at once, not after the next wait: the kernel may be short of blocks

    def _note_failures(self, events: list[tuple[int, int]]) -> None:
        """An interface that went down is an error of its socket, once; when it comes back its packets do, too."""
        failed = {descriptor for descriptor, event in events if event & select.POLLERR}
        for ring, shown in zip(self._rings, self.interfaces, strict=True):
            if ring.socket.fileno() in failed and ring.failure():
                self._tally.note(f"interface {shown.name} went down while packets were captured")
                self._went_down += [ring] if ring not in self._went_down else []

    def _all_gone(self) -> bool:
        """One that is removed goes down first, and is gone a moment later."""
        return len(self._went_down) == len(self._rings) and all(ring.has_gone() for ring in self._went_down)

    def _last(self) -> "Iterator[PacketBatch]":
        """Nothing more is let in; the kernel hands over a block that is not full after a moment."""
        for ring in self._rings:
            ring.stop()
        end = monotonic() + LAST_WAIT_S
        while True:
            late, found = monotonic() > end, False
            for batch in self._round():
                found = True
                yield batch
            if late and not found:
                return
            if not found:
                self._ready.poll(_LAST_POLL_MS)


def places_of(request: CaptureRequest, links: list[Link], net_ns: int | None) -> Iterator[_Place]:
    """What is captured from, each with its filter; no ring has been made yet.

    Raises:
        UsageError: an interface does not exist or is down, or the filter is wrong.
    """
    named = {link.name: link for link in links} | {name: link for link in links for name in link.aliases}
    loopback = next((link.index for link in links if link.flags & IFF_LOOPBACK), 0)
    wanted = dict.fromkeys(request.interfaces or [link.name for link in links if link.flags & IFF_UP])
    if not wanted:
        raise UsageError("no interface is up", LISTING)
    for name in wanted:
        shown = _shown(name, named, net_ns)
        yield _Place(shown, program_for(request.bpf, shown.link, snap_bytes(request), shown.name), loopback)


def _shown(name: str, named: dict[str, Link], net_ns: int | None) -> CaptureInterface:
    if name == ANY:
        return CaptureInterface(0, ANY, DLT_LINUX_SLL2, net_ns)
    link = named.get(name)
    if link is None:
        raise UsageError(f"there is no interface {name!r}", f"interfaces: {', '.join([*named, ANY])}")
    if not link.flags & IFF_UP:
        raise UsageError(f"interface {link.name} is down", "packets pass only through interfaces that are up")
    return CaptureInterface(link.index, link.name, LINK_TYPES.get(link.hardware, DLT_LINUX_SLL2), net_ns)


def snap_bytes(request: CaptureRequest) -> int:
    """How much of a packet is kept."""
    return min(request.snap_bytes, MOST_SNAP_BYTES)


def _entered(namespace: NetNamespace, step: Callable[[], Result]) -> Result:
    try:
        return inside(namespace, step)
    except OSError as failed:
        if isinstance(failed, Error):
            raise
        if failed.errno in REFUSED and not namespace.ours:
            raise Denied("may not enter that network namespace", "needs root or CAP_SYS_ADMIN") from None
        raise error("rtnetlink", failed) from failed


def _links() -> list[Link]:
    with closing(RouteSocket()) as route:
        return route.links()


def _tried(place: _Place, step: Callable[..., Result], *given: object) -> Result:
    """Takes a step of opening; what the kernel says against it becomes ours."""
    try:
        return step(*given)
    except OSError as failed:
        name = place.shown.name
        if failed.errno in REFUSED:
            raise Denied(f"may not capture packets of {name}", HINT) from None
        if failed.errno in (errno.ENODEV, errno.ENXIO, errno.ENETDOWN):
            raise UsageError(
                f"interface {name} has gone or is down", "hostscope interfaces lists all of them"
            ) from None
        if failed.errno == errno.ENOMEM:
            raise Unavailable(f"no memory for the ring of {name}", "give a smaller --ring-bytes") from None
        raise NativeError(f"packet socket on {name}", failed.errno or 0, failed.strerror or str(failed)) from failed


def _starts(place: _Place, ring: "PacketRing", request: CaptureRequest, tally: Tally) -> bool:
    """Starts a ring; False if its interface, which nobody named, has gone since all were listed."""
    try:
        _tried(place, ring.start, place.shown.index, place.program, request.promiscuous)
    except UsageError as gone:
        if request.interfaces:
            raise
        tally.note(f"{gone.message}: left out")
        return False
    return True


def _effects(request: CaptureRequest, places: tuple[_Place, ...]) -> list[str]:
    names = ", ".join(place.shown.name for place in places)
    opened = [f"{len(places)} packet socket{'s' * (len(places) > 1)} on {names}"]
    if request.bpf:
        opened.append("libpcap opened each of them once more while it compiled the filter")
    real = [place.shown.name for place in places if not place.everywhere]
    return [*opened, f"promiscuous mode on {', '.join(real)}"] if request.promiscuous and real else opened
