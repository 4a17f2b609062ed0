"""Whose packets: the processes at the ends of flows, by the host's sockets.

A flow's socket is looked for in the last two looks at all sockets; where it is not found and the last look is old
enough, there is another one. What came and went between two looks is ``gone``, and said to be.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from time import monotonic
from typing import NamedTuple

from msgspec import Struct

from hostscope.collectors.errors import gap_for
from hostscope.errors import Error
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

LEAST_INTERVAL_S = 0.2
"""Between two looks at all sockets."""
DENIED = "packets of other users' processes carry no process: needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
_SHARE = 8
"""A look that takes long is repeated the less often: at most this part of the time is spent on looking."""
_MOST_PEOPLE = 8192
_ANY = ("0.0.0.0", "::", "*")
_ABOUT_PROCESS = ProcessRequest(fields=frozenset({"argv", "owner", "cgroup"}))
_WITH_SOCKETS = frozenset({"tcp", "udp", "udplite", "sctp"})

Present = Callable[[Process], Process]
"""Masks what of a process must not leave."""


class Owner(Struct, frozen=True):
    """A process at one end of a flow."""

    key: ProcessKey
    name: str
    command: str | None
    """Secrets masked; None when it could not be read."""
    container: str | None


class Question(NamedTuple):
    """A flow, by the ends of one of its packets."""

    protocol: str
    source: Endpoint
    destination: Endpoint


class FlowOwners(NamedTuple):
    """The processes at both ends; on this host mostly at one of them."""

    source: tuple[Owner, ...] = ()
    destination: tuple[Owner, ...] = ()
    unknown: str | None = None
    """Why there is none, as `hostscope.model.traffic.Flow.unknown`; ``denied``: there is one that may not be seen."""


class Owners:
    """Answers for flows; see the module."""

    def __init__(
        self,
        host: Host,
        present: Present,
        tally: Tally,
        net_ns: int | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`net_ns` is where the flows were seen; loopback addresses of other namespaces are not theirs."""
        self._host, self._present, self._tally, self._net_ns, self._clock = host, present, tally, net_ns, clock
        self._looks: tuple[_Look, _Look] = (_Look((), None), _Look((), None))
        self._next_s = 0.0
        self._people: dict[ProcessKey, Owner] = {}
        self._addresses: frozenset[str] | None = None

    def of(self, questions: Sequence[Question]) -> list[FlowOwners]:
        """The owners of each flow. Cost: nothing for known sockets; at most one look at all of them."""
        found = [self._find(question) for question in questions]
        if any(answer.unknown == "gone" for answer in found) and self._clock() >= self._next_s:
            self._look()
            found = [
                self._find(question) if answer.unknown == "gone" else answer
                for question, answer in zip(questions, found, strict=True)
            ]
        return found

    def _look(self) -> None:
        began, own = self._clock(), Tally()
        request = SocketRequest(tcp_details=False)
        try:
            fresh = _Look(self._host.sockets.sweep(request, own), self._net_ns)
        except Error as error:
            self._tally.note(f"packets carry no processes: {error.message}")
            self._next_s = float("inf")
            return
        self._tally.effects += [effect for effect in own.effects if effect not in self._tally.effects]
        self._looks = (fresh, self._looks[0])
        took = self._clock() - began
        self._next_s = self._clock() + max(LEAST_INTERVAL_S, took * (_SHARE - 1))

    def _find(self, question: Question) -> FlowOwners:
        protocol, source, destination = question.protocol, plain(question.source), plain(question.destination)
        for look in self._looks:
            sent = look.holders(protocol, source, destination)
            got = look.holders(protocol, destination, source)
            if sent is not None or got is not None:
                return self._answer(sent, got)
        return FlowOwners(unknown=self._reason(protocol, source.address, destination.address))

    def _answer(self, sent: "_Held | None", got: "_Held | None") -> FlowOwners:
        """Of sockets that were found at one or both ends."""
        source, destination = (() if held is None else self._owners(held.by) for held in (sent, got))
        if source or destination:
            return FlowOwners(source, destination)
        unknown = next(held.why for held in (sent, got) if held is not None)
        if unknown == "denied":
            self._tally.note(DENIED)
        return FlowOwners(unknown=unknown)

    def _reason(self, protocol: str, *addresses: str) -> str:
        if self._addresses is None:
            self._addresses = _own_addresses(self._host, self._tally)
        ours = not self._addresses or not self._addresses.isdisjoint(addresses)
        if not ours and not any(map(_to_many, addresses)):
            return "forwarded"
        return "gone" if protocol in _WITH_SOCKETS else "kernel"

    def _owners(self, holders: Iterable[SocketOwner]) -> tuple[Owner, ...]:
        return tuple(self._people.get(holder.key) or self._meet(holder) for holder in holders)

    def _meet(self, holder: SocketOwner) -> Owner:
        if len(self._people) >= _MOST_PEOPLE:
            self._people.clear()
        owner = self._people[holder.key] = self._described(holder)
        return owner

    def _described(self, holder: SocketOwner) -> Owner:
        try:
            process = self._present(self._host.processes.read(holder.key.pid, _ABOUT_PROCESS))
        except Error as error:
            self._tally.count_gaps((gap_for("command", error),))
            return Owner(holder.key, holder.name, None, None)
        if not process.key.same(holder.key):
            return Owner(holder.key, holder.name, None, None)
        inside = process.container
        command = " ".join(process.argv) if process.argv else None
        return Owner(holder.key, process.name, command, (inside.name or inside.id[:12]) if inside else None)


class _Held(NamedTuple):
    """Who holds a socket, or why nobody does."""

    by: tuple[SocketOwner, ...]
    why: str | None = None


def _held(one: Socket) -> _Held:
    if one.owners is None:
        return _Held((), "denied")
    return _Held(one.owners, "kernel" if one.inode else "gone")


class _Look:
    """All sockets at one moment, by their ends."""

    def __init__(self, sockets: Iterable[Socket], net_ns: int | None) -> None:
        self._connected: dict[tuple[str, Endpoint, Endpoint], _Held] = {}
        self._waiting: dict[tuple[str, Endpoint], _Held] = {}
        for one in sorted(sockets, key=lambda one: one.net_ns == net_ns):  # ours last, so that they win
            self._add(one, net_ns)

    def _add(self, one: Socket, net_ns: int | None) -> None:
        if one.local is None or one.protocol is None:
            return
        local = plain(one.local)
        if net_ns is not None and one.net_ns != net_ns and ip_address(local.address).is_loopback:
            return
        if one.remote is None or not one.remote.port:
            self._waiting[one.protocol, local] = _held(one)
        else:
            self._connected[one.protocol, local, plain(one.remote)] = _held(one)

    def holders(self, protocol: str, local: Endpoint, remote: Endpoint) -> "_Held | None":
        """Of the connected socket, else of one that waits on that address, else of one that waits on all."""
        found = self._connected.get((protocol, local, remote)) or self._waiting.get((protocol, local))
        if found:
            return found
        everywhere = (self._waiting.get((protocol, Endpoint(any_, local.port))) for any_ in _ANY)
        return next((holders for holders in everywhere if holders), None)


def plain(end: Endpoint) -> Endpoint:
    """The end of an IPv4 connection through an IPv6 socket, as the packets have it."""
    if end.address.startswith("::ffff:") and "." in end.address:
        return Endpoint(end.address.removeprefix("::ffff:"), end.port)
    return Endpoint(end.address.partition("%")[0], end.port) if "%" in end.address else end


def _to_many(address: str) -> bool:
    found = ip_address(address)
    return found.is_multicast or found.is_loopback or address == "255.255.255.255"


def _own_addresses(host: Host, tally: Tally) -> frozenset[str]:
    try:
        rows = list(host.interfaces.interfaces(Tally()))
    except Error as error:
        tally.note(f"which addresses are this host's is not known: {error.message}")
        return frozenset()
    own = {address.address for row in rows for address in row.addresses}
    return frozenset(own | {address.broadcast for row in rows for address in row.addresses if address.broadcast})
