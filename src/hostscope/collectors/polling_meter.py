"""Traffic without any privilege: what the kernel tells everyone about TCP connections, read again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns, time_ns
from typing import NamedTuple

from hostscope.collectors.errors import refuse_recording
from hostscope.collectors.interface_totals import InterfaceTotals
from hostscope.errors import Error, Unsupported, UsageError
from hostscope.model.socket import Endpoint, Socket, SocketRequest
from hostscope.model.traffic import Counts, Flow, Ledger, Reading, TrafficRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally
from hostscope.wire.ledger import balance

MISSES = (
    "payload of TCP connections only, retransmissions included; UDP is not seen, nor are connections that come and go "
    "between two looks, nor processes of other users without privileges"
)
_ID = tuple[int | None, int | None, Endpoint | None, Endpoint | None]


class _Connection(NamedTuple):
    """A connection as it was last seen."""

    socket: Socket
    before: Counts
    """When it was first seen; nothing for one that began later."""
    now: Counts
    first_at_ns: int
    last_at_ns: int


@contextmanager
def open_polling_meter(host: Host, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
    """Looks once now; later looks tell what was added.

    Raises:
        UsageError: there is no such interface.
        Unsupported: there are connections, and the system measures none of them; or it is a recording.
    """
    refuse_recording(host)
    meter = PollingMeter(host, request)
    if meter.unmeasured and not meter.measured:
        raise Unsupported(f"no connection is measured here: {meter.why}")
    tally.note(f"counts {MISSES}")
    yield meter
    if meter.unmeasured:
        tally.note(f"{meter.unmeasured} connections were not measured at the last look: {meter.why}")


class PollingMeter:
    """Implements `hostscope.platforms.base_network.Meter`."""

    method = "polling"

    def __init__(self, host: Host, request: TrafficRequest) -> None:
        self._host, self._most = host, request.max_flows
        self._connections: dict[_ID, _Connection] = {}
        self._evicted = Counts()
        self.measured = self.unmeasured = 0
        """Connections at the last look, by whether the system told what passed over them."""
        self.why: str | None = None
        self._totals: InterfaceTotals | None
        try:
            self._totals = InterfaceTotals(host, request.interfaces)
        except UsageError:
            raise
        except Error:  # then there is no ledger
            self._totals = None
        self._began_ns = perf_counter_ns()
        self._look(first=True)

    def read(self) -> Reading:
        """See `Meter.read`. Cost: one listing of TCP sockets."""
        seen = self._look(first=False)
        flows = tuple(_flow(one, key not in seen) for key, one in self._connections.items())
        moved = tuple(flow for flow in flows if flow.payload and flow.payload.total_bytes)
        return Reading(time_ns(), perf_counter_ns() - self._began_ns, moved, self._ledger(moved), evicted=self._evicted)

    def _look(self, first: bool) -> set[_ID]:
        request = SocketRequest(tcp_details=True)
        at_ns, seen = time_ns(), set[_ID]()
        self.measured = self.unmeasured = 0
        for socket in self._host.sockets.sweep(request, Tally()):
            if socket.tcp is None or socket.remote is None:
                self._miss(socket)
                continue
            self.measured += 1
            key: _ID = (socket.cookie, socket.net_ns, socket.local, socket.remote)
            seen.add(key)
            counts, known = _counts(socket), self._connections.get(key)
            before = known.before if known else counts if first else Counts()
            moved = known is None or known.now != counts
            first_at_ns = known.first_at_ns if known else at_ns
            last_at_ns = at_ns if moved or known is None else known.last_at_ns
            kept = socket if socket.owners or known is None else known.socket
            self._connections[key] = _Connection(kept, before, counts, first_at_ns, last_at_ns)
        self._forget(seen)
        return seen

    def _miss(self, socket: Socket) -> None:
        gap = next((gap for gap in socket.gaps if gap.field == "tcp"), None)
        if gap is not None:
            self.unmeasured += 1
            self.why = gap.detail or gap.reason

    def _forget(self, seen: set[_ID]) -> None:
        """Drops the oldest connections that have ended when there are too many."""
        ended = (key for key in list(self._connections) if key not in seen)
        for key in ended:
            if len(self._connections) <= self._most:
                return
            dropped = self._connections.pop(key)
            self._evicted += dropped.now - dropped.before

    def _ledger(self, flows: tuple[Flow, ...]) -> Ledger | None:
        if self._totals is None:
            return None
        counted = self._totals.counted(self._totals.read())
        parts = {"attributed": Counts(), "evicted": self._evicted}
        for flow in flows:
            part = flow.unknown or "attributed"
            parts[part] = parts.get(part, Counts()) + (flow.payload or Counts())
        return balance(counted.keys(), counted.values(), parts, estimated=True)


def _counts(socket: Socket) -> Counts:
    """Calls are not known: only bytes."""
    tcp = socket.tcp
    if tcp is None:
        return Counts()
    sent = tcp.sent_bytes if tcp.sent_bytes is not None else tcp.acked_bytes
    return Counts(sent or 0, tcp.received_bytes or 0)


def _flow(connection: _Connection, closed: bool) -> Flow:
    socket = connection.socket
    owner = socket.owners[0] if socket.owners else None
    unknown = None if owner else "denied" if socket.owners is None else "gone"
    return Flow(
        protocol=socket.protocol or "tcp",
        local=socket.local or Endpoint(""),
        remote=socket.remote,
        key=owner.key if owner else None,
        name=owner.name if owner else None,
        unknown=unknown,
        user=socket.user,
        direction=socket.direction,
        net_ns=socket.net_ns,
        cookie=socket.cookie,
        payload=connection.now - connection.before,
        first_at_ns=connection.first_at_ns,
        last_at_ns=connection.last_at_ns,
        closed=closed,
        container=socket.container,
    )
