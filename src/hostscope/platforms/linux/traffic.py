"""Traffic by process, counted in the kernel: which method, and why not the better one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hostscope.errors import Denied, HostError, Unsupported, UsageError
from hostscope.model.socket import Socket, SocketRequest
from hostscope.model.traffic import Reading, TrafficRequest
from hostscope.platforms.base_network import Meter, Sockets
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.linux import iterator, net_namespaces, pair_table
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.connects import EFFECT, Connections, WithConnections
from hostscope.platforms.linux.interface_counts import read_links
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.net_namespaces import NetNamespace
from hostscope.platforms.linux.packet_counter import PacketCounter
from hostscope.platforms.linux.packet_counters import PacketCounters
from hostscope.platforms.linux.payload_meter import MISSES, PayloadMeter
from hostscope.platforms.linux.privileges import READ_OTHERS, granting
from hostscope.platforms.linux.privileges import lacking as not_permitted
from hostscope.platforms.linux.program_cache import load_image
from hostscope.platforms.linux.wire_meter import MISSES as WIRE_MISSES
from hostscope.platforms.linux.wire_meter import WireMeter
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.platforms.linux.dns_tap import DnsTap

LOAD_PROGRAMS = ("bpf", "perfmon")
COUNT_PACKETS = ("bpf", "net_raw")
_HINT = "needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_RAW"


class Traffic:
    """Implements `hostscope.platforms.base_network.Traffic`."""

    def __init__(self, boot: Boot, sockets: Sockets, privileges: Privileges | None = None) -> None:
        self._boot, self._sockets, self._privileges = boot, sockets, privileges

    @contextmanager
    def open(self, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
        """See `Traffic.open`: ``accounting`` (Linux 6.3), else ``wire``.

        Needs: CAP_BPF and CAP_PERFMON; ``wire`` besides CAP_NET_RAW, and CAP_SYS_ADMIN for other namespaces.
        """
        methods = self._methods(request.method)
        with ExitStack() as stack:
            for place, (name, make) in enumerate(methods):
                try:
                    meter = make(request, tally, stack)
                    break
                except (Denied, Unsupported) as failed:
                    if place == len(methods) - 1:
                        raise
                    tally.method_reason = f"{name} cannot be used: {failed}"
            tally.method = meter.method
            yield self._named(meter, tally, stack) if request.names else meter

    def _methods(self, asked: str | None) -> "list[tuple[str, _Make]]":
        methods: dict[str, _Make] = {"accounting": self._accounting, "wire": self._wire}
        if asked is None:
            return list(methods.items())
        if asked not in methods:
            raise UsageError(f"there is no method {asked!r}", f"methods here: {', '.join(methods)}, capture, polling")
        return [(asked, methods[asked])]

    def _accounting(self, request: TrafficRequest, tally: Tally, stack: ExitStack) -> Meter:
        meter = self._payload_meter(request, tally, stack)
        tally.note(f"counts {MISSES}")
        return self._with_connections(meter, tally, stack) if request.connections else meter

    def _with_connections(self, meter: Meter, tally: Tally, stack: ExitStack) -> Meter:
        try:
            with self._raised(LOAD_PROGRAMS, "take note of connections"):
                connections = stack.enter_context(Connections(self._boot))
        except (Denied, HostError) as failed:
            tally.note(f"connections over which nothing is sent may have no process: {failed}")
            return meter
        tally.effects.append(EFFECT)
        return WithConnections(meter, connections)

    def _payload_meter(self, request: TrafficRequest, tally: Tally, stack: ExitStack) -> PayloadMeter:
        """Raises: Denied, Unsupported; nothing stays open then."""
        if obstacle := iterator.obstacle():
            raise Unsupported(obstacle)
        found = load_image("traffic")
        with ExitStack() as failed:
            programs = failed.enter_context(Programs(found.image, entries=pair_table.sizes(request.max_flows)))
            with self._raised(LOAD_PROGRAMS, "count what processes send and receive"):
                meter = PayloadMeter(programs, self._boot, request.interfaces)
            stack.push(failed.pop_all())
        if found.note:
            tally.note(f"eBPF programs: {found.note}")
        tally.effects.append("eBPF programs on the tracepoints sock_send_length and sock_recv_length")
        return meter

    def _wire(self, request: TrafficRequest, tally: Tally, stack: ExitStack) -> Meter:
        """Without the tracepoints of Linux 6.3, sockets that are shorter than a look stay without a process."""
        try:
            payload = self._payload_meter(replace(request, interfaces=()), tally, stack)
        except Unsupported as lacking:
            payload = None
            tally.note(f"sockets that live shorter than a second may be missed: {lacking}")
        image = load_image("packets").image

        def opened(namespace: NetNamespace) -> PacketCounter:
            return PacketCounter(image, namespace, request.max_flows)

        read_links(request.interfaces)
        with self._raised(COUNT_PACKETS, "count packets of all interfaces"):
            try:
                ours = opened(net_namespaces.ours())
            except PermissionError as failed:
                missing = not_permitted((*LOAD_PROGRAMS, "net_raw"))
                told = f"packets cannot be counted: {failed.strerror}{missing}"
                raise Denied(told, _HINT + granting(missing)) from failed
        counters = PacketCounters(ours, self._namespaces, opened, self._raised_inside, tally)
        stack.callback(counters.close)
        tally.effects.append("an eBPF filter on a packet socket in each network namespace, which it keeps alive")
        tally.note(f"counts {WIRE_MISSES}")
        return WireMeter(self._boot, counters, payload, self._list_sockets, request.interfaces)

    def _named(self, meter: Meter, tally: Tally, stack: ExitStack) -> Meter:
        """The meter, with names on its flows where we may listen to DNS answers."""
        from hostscope.platforms.linux.dns_tap import DnsTap

        try:
            with self._raised(("net_raw",), "learn names from DNS answers"):
                tap = DnsTap()
        except OSError as failed:
            tally.note(f"no names are learnt from DNS answers: {failed.strerror}")
            return meter
        stack.callback(tap.close)
        tally.effects.append("raw sockets that get UDP datagrams from port 53")
        return _NamedMeter(meter, tap)

    def _namespaces(self) -> tuple[NetNamespace, ...]:
        with self._raised(READ_OTHERS, "find network namespaces"):
            return net_namespaces.find().found

    def _list_sockets(self) -> Iterator[Socket]:
        return self._sockets.sweep(SocketRequest(tcp_details=False), Tally())

    def _raised_inside(self, why: str) -> AbstractContextManager[None]:
        return self._raised((*COUNT_PACKETS, *net_namespaces.ENTER, *READ_OTHERS), why)

    def _raised(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        return self._privileges.using(names, why) if self._privileges else nullcontext()


class _NamedMeter:
    """A meter whose flows get the names that were learnt."""

    def __init__(self, meter: Meter, tap: "DnsTap") -> None:
        self.method, self._meter, self._tap = meter.method, meter, tap

    def read(self) -> Reading:
        reading = self._meter.read()
        return replace(reading, flows=self._tap.named(reading.flows))


_Make = Callable[[TrafficRequest, Tally, ExitStack], Meter]
