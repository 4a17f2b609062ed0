"""Payload by process and connection, added up from the kernel's network events."""

from collections.abc import Iterable
from heapq import nsmallest

from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts, Flow
from hostscope.platforms.windows.clock import filetime_ns
from hostscope.platforms.windows.etw_processes import People, Person
from hostscope.platforms.windows.parse_etw import (
    ACCEPTED,
    CONNECTED,
    DISCONNECTED,
    DNS_CLIENT,
    KERNEL_NETWORK,
    KERNEL_PROCESS,
    RECEIVED,
    SENT,
    DnsEvent,
    EtwRecord,
    Transfer,
    parse_dns,
    parse_network,
    result_addresses,
)
from hostscope.platforms.windows.parse_etw_process import Started, parse_process_event
from hostscope.platforms.windows.parse_network import address_text

GONE, INBOUND, OUTBOUND = "gone", "inbound", "outbound"
MOST_NAMES = 65_536
_EVICTED_SHARE = 8
"""Of a full table, one in so many goes: the longest idle ones."""

_End = tuple[bytes, int]
_Place = tuple[str, int, Person | None, _End, _End]


class _Sum:
    """What was counted for one connection of one process."""

    __slots__ = ("closed", "direction", "first", "last", "person", "received", "receives", "sends", "sent", "transfer")

    def __init__(self, transfer: Transfer, person: Person | None, filetime: int) -> None:
        self.transfer, self.person, self.first = transfer, person, filetime
        self.sent = self.received = self.sends = self.receives = self.last = 0
        self.direction: str | None = None
        self.closed = False

    def add(self, transfer: Transfer, filetime: int) -> None:
        self.last = filetime
        if transfer.kind == SENT:
            self.sent, self.sends = self.sent + transfer.size, self.sends + 1
        elif transfer.kind == RECEIVED:
            self.received, self.receives = self.received + transfer.size, self.receives + 1
        elif transfer.kind in (CONNECTED, ACCEPTED):
            self.direction = OUTBOUND if transfer.kind == CONNECTED else INBOUND
        self.closed = transfer.kind == DISCONNECTED

    @property
    def counts(self) -> Counts:
        return Counts(self.sent, self.received, self.sends, self.receives)


class EtwFlows:
    """The table; bounded."""

    def __init__(self, people: People, ours: Iterable[bytes], most: int, connections: bool, names: bool) -> None:
        """`ours` are the addresses of this host; `connections` keeps those over which nothing was sent."""
        self._people, self._ours = people, frozenset(ours)
        self._most, self._connections, self._names = max(most, 1), connections, names
        self._sums: dict[_Place, _Sum] = {}
        self._domains: dict[str, str] = {}
        self.evicted = Counts()
        self.unreadable = 0
        """Events whose payload made no sense."""

    def feed(self, record: EtwRecord) -> None:
        """Takes one event."""
        try:
            self._take(record)
        except ValueError:
            self.unreadable += 1

    def _take(self, record: EtwRecord) -> None:
        if record.provider == KERNEL_NETWORK:
            transfer = parse_network(record)
            if transfer is not None:
                self._count(self._turned(transfer), record.filetime)
        elif record.provider == KERNEL_PROCESS:
            event = parse_process_event(record)
            if isinstance(event, Started):
                self._people.started(event)
        elif record.provider == DNS_CLIENT and self._names:
            answer = parse_dns(record)
            if answer is not None:
                self._learn(answer)

    def _turned(self, transfer: Transfer) -> Transfer:
        """Received datagrams may be told from the sender's side: our address says which end is ours."""
        if transfer.local[0] not in self._ours and transfer.remote[0] in self._ours:
            return transfer._replace(local=transfer.remote, remote=transfer.local)
        return transfer

    def _count(self, transfer: Transfer, filetime: int) -> None:
        person = self._people.of(transfer.pid)
        place = transfer.protocol, transfer.pid, person, transfer.local, transfer.remote
        found = self._sums.get(place)
        if found is None:
            if len(self._sums) >= self._most:
                self._evict()
            found = self._sums[place] = _Sum(transfer, person, filetime)
        found.add(transfer, filetime)

    def _evict(self) -> None:
        count = max(1, self._most // _EVICTED_SHARE)
        for place, dropped in nsmallest(count, self._sums.items(), key=lambda item: item[1].last):
            self.evicted += dropped.counts
            del self._sums[place]

    def _learn(self, answer: DnsEvent) -> None:
        name = answer.name.rstrip(".").lower()
        for address in result_addresses(answer.results):
            self._domains.pop(address, None)
            self._domains[address] = name
        while len(self._domains) > MOST_NAMES:
            del self._domains[next(iter(self._domains))]

    def flows(self) -> tuple[Flow, ...]:
        """Everything that was counted."""
        return tuple(
            self._flow(one) for one in list(self._sums.values()) if self._connections or one.sends + one.receives
        )

    def _flow(self, one: _Sum) -> Flow:
        local, remote = _endpoint(one.transfer.local), _endpoint(one.transfer.remote)
        domain = self._domains.get(remote.address)
        return Flow(
            protocol=one.transfer.protocol,
            local=local,
            remote=remote,
            key=one.person.key if one.person else None,
            name=one.person.name if one.person else None,
            unknown=None if one.person else GONE,
            direction=one.direction,
            payload=one.counts,
            first_at_ns=filetime_ns(one.first),
            last_at_ns=filetime_ns(one.last),
            closed=one.closed if one.transfer.protocol == "tcp" else None,
            domain=domain,
            domain_source="dns" if domain else None,
        )


def _endpoint(end: _End) -> Endpoint:
    return Endpoint(address_text(end[0]), end[1])
