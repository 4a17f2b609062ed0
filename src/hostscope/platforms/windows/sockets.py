"""Every TCP and UDP socket of a Windows host with its owner, by the tables of the network stack."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from time import time_ns

from hostscope.errors import Error, Unsupported, UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import INET, Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import adapters, translate
from hostscope.platforms.windows.clock import Boot, filetime_ns
from hostscope.platforms.windows.connection_stats import ConnectionStats
from hostscope.platforms.windows.native import iphlpapi
from hostscope.platforms.windows.native.iphlpapi import AF_INET, AF_INET6
from hostscope.platforms.windows.parse_network import LISTEN, Entry, address_text, parse_table
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.service_modules import ServiceModules

METHODS = ("owner-module", "owner-pid")
"""Best first: the former tells besides when a socket was made, and for which service of its process."""
LISTENING, INBOUND, OUTBOUND = "listening", "inbound", "outbound"
FAMILIES = {AF_INET: "inet", AF_INET6: "inet6"}
NO_OTHER_FAMILIES = "Windows lists neither UNIX sockets nor sockets that take raw packets"
WITHOUT_HOLDER = frozenset({"time-wait", "closed", "syn-received"})
"""Nobody holds what is left of an ended connection, or one that was not accepted yet."""
_ANYWHERE = frozenset({bytes(4), bytes(16)})
_LINK_LOCAL = (b"\xfe\x80",)
"""fe80::/64: such an address means something on one interface only."""
_NO_PID = Gap("owners", Reason.UNAVAILABLE, "Windows names no process for it")
_NO_STATE = Gap("state", Reason.UNSUPPORTED, "Windows does not tell whether a UDP socket is connected")
_NO_PEER = Gap("remote", Reason.UNSUPPORTED, _NO_STATE.detail)
_NO_AGE = Gap("age_ns", Reason.UNSUPPORTED, "not in the tables of owner-pid")
_UNTOLD_AGE = Gap("age_ns", Reason.UNAVAILABLE, "Windows does not tell when it was made")

_Places = dict[tuple[str, int, int], set[bytes]]
"""Protocol, family and port -> the addresses where connections are awaited."""


class Sockets:
    """Implements `hostscope.platforms.base_network.Sockets`."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """Every TCP and UDP socket of our network compartment; `tally` is whole at the end.

        The owner is the process that made the socket, not everyone who holds a handle of it. Sockets of Windows
        containers are in compartments of their own, and do not show.

        Needs: nothing.
        Source: GetExtendedTcpTable, GetExtendedUdpTable; for `Socket.tcp` GetPerTcpConnectionEStats.
        Cost: four calls, the list of processes and 20 µs a socket; with `tcp_details` up to two calls a connection;
            one for each service.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported: only families were asked for that Windows does not list, or the named method is not there.
        """
        if request.method is not None and request.method not in METHODS:
            raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(METHODS)}")
        if not request.families & INET:
            raise Unsupported(NO_OTHER_FAMILIES)
        return self._rows(request, tally)

    def _rows(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        if request.families - INET:
            tally.note(NO_OTHER_FAMILIES)
        entries = _read(request, tally)
        sweep = _Sweep(request, tally, entries, Owners(self._boot, read_processes()))
        for entry in entries:
            if sweep.wants(entry):
                tally.seen += 1
                yield sweep.record(entry)

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids with a socket on this local port, listeners first, then by pid. Cost: four calls."""
        ranks: dict[int, int] = {}
        for entry in _read(SocketRequest(tcp_details=False), Tally()):
            if entry.local_port == port and entry.pid:
                waits = entry.state in (None, LISTEN)
                ranks[entry.pid] = min(0 if waits else 1, ranks.get(entry.pid, 1))
        return tuple(sorted(ranks, key=lambda pid: (ranks[pid], pid)))


class Owners:
    """Processes by pid, as they were when they were listed: after the tables, so that who was in these is known."""

    def __init__(self, boot: Boot, listed: Iterable[Listed]) -> None:
        self._boot = boot
        self._by_pid = {one.pid: one for one in listed}

    def of(self, entry: Entry, service: str | None = None) -> tuple[SocketOwner, ...] | Gap:
        """Who made it, or why that cannot be said."""
        if not entry.pid:
            return () if entry.state in WITHOUT_HOLDER else _NO_PID
        found = self._by_pid.get(entry.pid)
        if found is None:
            return Gap("owners", Reason.GONE, f"process {entry.pid} has ended")
        if found.created is None:
            return Gap("owners", Reason.UNAVAILABLE, f"when process {entry.pid} began is not known")
        if entry.created and found.created > entry.created:
            return Gap("owners", Reason.GONE, f"it is older than the process that has the pid {entry.pid} now")
        return (SocketOwner(self._boot.key(found.pid, found.created), self.name(entry.pid), None, service),)

    def name(self, pid: int) -> str:
        """As the list of processes has it; the idle process's is empty there."""
        found = self._by_pid.get(pid)
        return found.name if found else ""


class _Sweep:
    """What the records of one sweep have in common."""

    def __init__(self, request: SocketRequest, tally: Tally, entries: list[Entry], owners: Owners) -> None:
        self._request, self._tally, self._owners = request, tally, owners
        self._waiting = _listeners(entries)
        self._stats = ConnectionStats()
        self._services = ServiceModules(tally)
        self._texts: dict[bytes, str] = {}
        self._now_ns = time_ns()

    def wants(self, entry: Entry) -> bool:
        """Whether the request asks for it. A socket of unknown state may be an unconnected one."""
        if FAMILIES[entry.family] not in self._request.families:
            return False
        return self._request.states is None or (entry.state or "unconnected") in self._request.states

    def record(self, entry: Entry) -> Socket:
        """The socket as a record."""
        gaps: list[Gap] = [] if entry.state else [_NO_STATE, _NO_PEER]
        owners = self._owners.of(entry, self._services.of(entry, self._owners.name(entry.pid)))
        stats = self._stats.of(entry) if self._request.tcp_details else None
        age = self._age(entry) if self._request.age else None
        device = self._device(entry.local_scope) if entry.local.startswith(_LINK_LOCAL) else None
        found = [owners, stats, age, device]
        return Socket(
            family=FAMILIES[entry.family],
            kind="stream" if entry.protocol == "tcp" else "dgram",
            protocol=entry.protocol,
            state=entry.state,
            local=self._end(entry.local, entry.local_port),
            remote=None if entry.remote is None else self._end(entry.remote, entry.remote_port),
            inode=None,
            net_ns=None,
            owners=None if isinstance(owners, Gap) else owners,
            interface=None if isinstance(device, Gap) else device,
            direction=self._direction(entry),
            age_ns=None if isinstance(age, Gap) else age,
            tcp=None if isinstance(stats, Gap) else stats,
            gaps=(*gaps, *(one for one in found if isinstance(one, Gap))),
        )

    def _end(self, packed: bytes, port: int) -> Endpoint:
        text = self._texts.get(packed)
        if text is None:
            text = self._texts[packed] = address_text(packed)
        return Endpoint(text, port)

    def _direction(self, entry: Entry) -> str | None:
        """A heuristic: what came to a port where somebody listens now is inbound."""
        if entry.state == LISTEN:
            return LISTENING
        if entry.remote is None:
            return None
        waiting = self._waiting.get((entry.protocol, entry.family, entry.local_port), set())
        return INBOUND if entry.local in waiting or not waiting.isdisjoint(_ANYWHERE) else OUTBOUND

    def _age(self, entry: Entry) -> int | Gap:
        if self._tally.method != METHODS[0]:
            return _NO_AGE
        return max(0, self._now_ns - filetime_ns(entry.created)) if entry.created else _UNTOLD_AGE

    def _device(self, scope: int) -> str | Gap | None:
        if not scope:
            return None
        name = self._names.get(scope)
        return name or Gap("interface", Reason.UNAVAILABLE, f"no adapter has the index {scope}")

    @cached_property
    def _names(self) -> Mapping[int, str]:
        try:
            return {index: one.name for one in adapters.read_adapters() for index in (one.index, one.index6) if index}
        except Error:
            return {}


def _listeners(entries: Iterable[Entry]) -> _Places:
    found: _Places = {}
    for entry in entries:
        if entry.state == LISTEN:
            found.setdefault((entry.protocol, entry.family, entry.local_port), set()).add(entry.local)
    return found


def _read(request: SocketRequest, tally: Tally) -> list[Entry]:
    """All four tables by the method of choice.

    Raises:
        Denied, NativeError, Unsupported
    """
    if request.method != METHODS[1]:
        try:
            found = list(_tables(tally, modules=True))
            tally.method = METHODS[0]
            return found
        except (Error, OSError) as failed:
            if request.method == METHODS[0]:
                raise failed if isinstance(failed, Error) else translate.error("list sockets", failed) from failed
            tally.method_reason = f"{METHODS[0]} cannot be used: {failed}"
    else:
        tally.method_reason = "asked for by --method"
    tally.method = METHODS[1]
    try:
        return list(_tables(tally, modules=False))
    except OSError as failed:
        raise failed if isinstance(failed, Error) else translate.error("list sockets", failed) from failed


def _tables(tally: Tally, modules: bool) -> Iterator[Entry]:
    """Both families in any case: who listens on one may be told by the other's rows."""
    kinds = {
        "tcp": iphlpapi.TCP_TABLE_OWNER_MODULE_ALL if modules else iphlpapi.TCP_TABLE_OWNER_PID_ALL,
        "udp": iphlpapi.UDP_TABLE_OWNER_MODULE if modules else iphlpapi.UDP_TABLE_OWNER_PID,
    }
    for protocol, kind in kinds.items():
        for family in (AF_INET, AF_INET6):
            table = parse_table(iphlpapi.socket_table(protocol, family, kind), protocol, family, modules)
            if table.missing:
                tally.failed += 1
                tally.note(f"{table.missing} {protocol} sockets are not in the table that says it has them")
            yield from table.rows
