"""Whose packets: the processes at the ends of flows.

Four sources, the best first: what the capturing kernel itself wrote beside packets; what counts traffic in the kernel,
which still knows sockets and processes that have ended; listings of all sockets, for those that nobody has used; and a
reason why there is none.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic, time_ns
from typing import NamedTuple

from msgspec import Struct

from hostscope.collectors.errors import gap_for
from hostscope.collectors.held_ends import (
    DENIED,
    ELSEWHERE,
    GONE,
    KERNEL,
    WITH_PORTS,
    CountedEnds,
    Found,
    HeldEnds,
    Places,
    Use,
    is_to_many,
    plain,
    use_of_socket,
)
from hostscope.collectors.host_addresses import Addresses
from hostscope.errors import Denied, Error, HostError
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import Endpoint, SocketOwner, SocketRequest
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally

COUNT_S, LIST_S = 0.1, 0.2
"""Between two readings of the counters, and between two listings of all sockets, at least."""
LAST_S = 0.02
"""The same for those before which a process would be called gone."""
NOTED_NS = 10_000_000
"""What a packet was sent by is in the counters so soon after it was seen: the kernel counts a call when it returns."""
LISTED_NS = 10_000_000_000
"""How long a listing is believed about who waits for packets."""
NEEDS = "needs root (on Linux CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH do, on Windows an administrator)"
DENIED_NOTE = f"packets of other users' processes carry no process: {NEEDS}"
UNCOUNTED = "processes whose sockets close before they are listed are not known"
FORWARDED = "forwarded"
_COUNT_SHARE, _LIST_SHARE = 5, 8
"""What takes long is repeated the less often: at most this part of the time is spent on it; on the last readings of the
counters, which decide whether a process is known at all, at most half."""
_RAW = "raw"
_MOST_PEOPLE = 8192
_MOST_TOLD = 65_536
_ABOUT_PROCESS = ProcessRequest(fields=frozenset({"argv", "owner", "cgroup"}))
_NOBODY = "no process holds the socket any more, or none ever had it"
_NOT_ONE = {
    KERNEL: "the kernel's own socket",
    ELSEWHERE: "several other network namespaces have this address",
}

Present = Callable[[Process], Process]
"""Masks what of a process must not leave."""


class Question(NamedTuple):
    """A flow, by the ends of one of its packets."""

    protocol: str
    source: Endpoint
    destination: Endpoint
    at_ns: int


class Party(NamedTuple):
    """The processes at one end of a flow."""

    owners: tuple[SocketOwner, ...] = ()
    unknown: str | None = None
    """Why there is none, as `hostscope.model.traffic.Flow.unknown` and ``denied``; None where another host is."""
    sockets: int = 1
    """How many sockets have that end; where there are several it is one of their processes."""
    firm: bool = True
    """Looking again can tell no better."""


class FlowOwners(NamedTuple):
    """Both ends; on this host mostly one of them."""

    source: Party
    destination: Party
    passes: bool = False
    """Neither end is on this host."""

    @property
    def firm(self) -> bool:
        """Looking again can tell no better."""
        return self.source.firm and self.destination.firm

    @property
    def unknown(self) -> str | None:
        """Why there is no process at all; None when there is one."""
        if self.source.owners or self.destination.owners:
            return None
        return FORWARDED if self.passes else self.source.unknown or self.destination.unknown

    @property
    def half(self) -> str | None:
        """Why one end of this host has no process while the other one has; the kernel answers for itself."""
        lacks = (self.source.unknown or self.destination.unknown) if self.unknown is None else None
        return None if lacks == KERNEL else lacks


_OTHER_HOST = Party()


@contextmanager
def counting(host: Host, tally: Tally) -> Iterator[Meter | None]:
    """What counts traffic in the kernel while the block runs; None, and a note why, where it cannot."""
    own = Tally()
    with ExitStack() as stack:
        try:
            request = TrafficRequest(method="accounting", names=False, connections=True)
            meter = stack.enter_context(host.traffic.open(request, own))
        except (HostError, Denied) as failed:
            tally.note(f"{UNCOUNTED}: {failed.message}")
            meter = None
        tally.effects += own.effects
        yield meter


class Owners:
    """Answers for flows; see the module."""

    def __init__(
        self,
        host: Host,
        tally: Tally,
        net_ns: int | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`net_ns` is where packets are seen: a loopback address is another one in each network namespace."""
        self.addresses = Addresses(host, tally, net_ns, clock)
        self._tally = tally
        self._net_ns, self._told = net_ns, HeldEnds(net_ns)
        self._counters = _Counters(meter, tally, net_ns, clock)
        self._listings = _Listings(host, tally, net_ns, clock)

    def tell(self, question: Question, owner: SocketOwner, sends: bool) -> None:
        """Takes what the capturing kernel said of a packet: it is this process's, at its source or destination."""
        source, destination = plain(question.source), plain(question.destination)
        local, remote = (source, destination) if sends else (destination, source)
        if self._told.count >= _MOST_TOLD:
            self._told = HeldEnds(self._net_ns)
        at_ns = question.at_ns
        use = Use(question.protocol, local, remote, (owner,), None, self._net_ns, owner.key, at_ns, at_ns)
        self._told.add(owner.key, use)

    def prepare(self) -> None:
        """Lists all sockets, so that those which close now are known later."""
        self._listings.read(0, last=False)

    def hurry(self) -> None:
        """The next questions are the last ones of all: nothing is put off, however long it takes."""
        self._counters.hurry()
        self._listings.hurry()

    def of(self, questions: Sequence[Question], last: bool = False) -> list[FlowOwners]:
        """The owners of each flow, as far as they are known now.

        Args:
            last: nobody will ask again, so that the counters are read once more before anything is called gone.

        Cost: 20 µs a flow; at most one reading of the counters and one listing of all sockets.
        """
        found = [self._find(question) for question in questions]
        for source in (self._counters, self._listings):
            open_ = [place for place, one in enumerate(found) if not one.firm]
            if open_ and source.read(max(questions[place].at_ns for place in open_), last):
                for place in open_:
                    found[place] = self._find(questions[place])
        return found

    def has_counted(self, at_ns: int) -> bool:
        """Whether the counters were read since: what they do not know of that moment they will never know."""
        return self._counters.read_after(at_ns)

    def owner_of(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> SocketOwner | Gap | None:
        """Implements `hostscope.wire.queries.OwnerOf`: one process, or why there is not one to be named."""
        local, remote = plain(local), plain(remote)
        party = self._end(protocol, local, remote, at_ns, sends=True)
        for source in (self._counters, self._listings):
            if not party.firm and source.read(at_ns, True):
                party = self._end(protocol, local, remote, at_ns, sends=True)
        return _only(party)

    def listener(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> SocketOwner | Gap | None:
        """The same for a server's socket, which stays: what was listed a moment ago is believed."""
        party = self._end(protocol, plain(local), plain(remote), at_ns, sends=True)
        return _only(party) if party.owners else self.owner_of(protocol, local, remote, at_ns)

    def is_local(self, address: str) -> bool:
        """Whether it is an address of this host, in any of its network namespaces, as far as they can be seen."""
        return self.addresses.is_local(address)

    def _find(self, question: Question) -> FlowOwners:
        protocol, source, destination = question.protocol, plain(question.source), plain(question.destination)
        sender = self._end(protocol, source, destination, question.at_ns, sends=True)
        receiver = self._end(protocol, destination, source, question.at_ns, sends=False)
        if DENIED in (sender.unknown, receiver.unknown):
            self._tally.note(DENIED_NOTE)
        if not sender == receiver == _OTHER_HOST:
            return FlowOwners(sender, receiver)
        if self.addresses.is_to_many(destination.address):
            return FlowOwners(sender, Party((), GONE if protocol in WITH_PORTS else KERNEL))
        self.addresses.renew()
        return FlowOwners(sender, receiver, passes=True)

    def _end(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int, sends: bool) -> Party:
        """Of one end: of the connected socket, else of one that waits there, else why there is none."""
        places = self.addresses.places(local.address)
        unknown: str | None = None
        for found, firm in self._candidates(protocol, local, remote, at_ns, places, sends):
            if found.by:
                return Party(found.by, None, found.sockets, firm)
            unknown = unknown if unknown not in (None, GONE) else found.unknown
        if unknown in (KERNEL, DENIED, ELSEWHERE):
            return Party((), unknown)
        if self.addresses.is_to_many(local.address) or not self.addresses.is_local(local.address):
            return _OTHER_HOST
        if protocol in WITH_PORTS:
            return Party((), GONE, firm=False)
        return Party((), KERNEL, firm=not sends)

    def _candidates(
        self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int, places: Places, sends: bool
    ) -> "Iterator[tuple[Found, bool]]":
        """What may be, the best first, and whether it is for sure."""
        counted, listings = self._counters.ends, self._listings.looks
        for ends in (self._told, counted, *(look.ends for look in listings)):
            if found := ends.connected(protocol, local, remote, at_ns, places):
                yield found, True
        if not self.addresses.is_local(local.address) and not is_to_many(local.address):
            return
        if protocol in WITH_PORTS:
            yield from self._waiting(protocol, local, at_ns, places)
        if sends:
            for raw in () if protocol in WITH_PORTS else (protocol,), (_RAW,):
                for one in raw:
                    yield from self._waiting(one, Endpoint(local.address), at_ns, places)

    def _waiting(self, protocol: str, local: Endpoint, at_ns: int, places: Places) -> "Iterator[tuple[Found, bool]]":
        if found := self._counters.ends.waiting(protocol, local, at_ns, places):
            yield found, True
        for look in self._listings.looks:
            if found := look.ends.waiting(protocol, local, at_ns, places):
                sure = not self._counters.counts and protocol != "tcp" and at_ns - look.at_ns < LISTED_NS
                yield found, sure


def _only(party: Party) -> SocketOwner | Gap | None:
    if party.sockets > 1 and len(party.owners) > 1:
        return Gap("key", Reason.UNAVAILABLE, f"{party.sockets} sockets have this port")
    if party.owners:
        return party.owners[0]
    if party.unknown is None:
        return None
    if party.unknown == DENIED:
        return Gap("key", Reason.DENIED, NEEDS)
    if party.unknown == GONE:
        return Gap("key", Reason.GONE, _NOBODY)
    return Gap("key", Reason.UNAVAILABLE, _NOT_ONE.get(party.unknown, party.unknown))


class _Counters:
    """What counts traffic in the kernel, if anything does."""

    def __init__(self, meter: Meter | None, tally: Tally, net_ns: int | None, clock: Callable[[], float]) -> None:
        self._meter, self._tally, self._clock = meter, tally, clock
        self._counted = CountedEnds(net_ns)
        self._read_ns, self._next_s, self._last_s = 0, 0.0, 0.0

    @property
    def counts(self) -> bool:
        """Whether anything does."""
        return self._meter is not None

    @property
    def ends(self) -> HeldEnds:
        """What was counted so far."""
        return self._counted.ends

    def hurry(self) -> None:
        """They may be read at once."""
        self._last_s = 0.0

    def read(self, at_ns: int, last: bool) -> bool:
        """Reads them, unless that was done just now, or after what was seen at `at_ns`; whether it did."""
        began = self._clock()
        if self._meter is None or self.read_after(at_ns) or began < (self._last_s if last else self._next_s):
            return False
        self._read_ns = time_ns()
        try:
            self._counted.update(self._meter.read().flows)
        except Error as failed:
            self._tally.note(f"{UNCOUNTED}: {failed.message}")
            self._meter = None
            return False
        took = self._clock() - began
        self._last_s = self._clock() + max(LAST_S, took)
        self._next_s = self._clock() + max(COUNT_S, took * (_COUNT_SHARE - 1))
        return True

    def read_after(self, at_ns: int) -> bool:
        """Whether they were read so late that what was seen at `at_ns` is among them, or nothing counts."""
        return self._meter is None or self._read_ns > at_ns + NOTED_NS


class _Look(NamedTuple):
    """All sockets at one moment."""

    ends: HeldEnds
    at_ns: int


class _Listings:
    """The last two listings of all sockets: what closed between them is still known."""

    def __init__(self, host: Host, tally: Tally, net_ns: int | None, clock: Callable[[], float]) -> None:
        self._host, self._tally, self._net_ns, self._clock = host, tally, net_ns, clock
        self.looks: tuple[_Look, ...] = ()
        self._next_s = self._last_s = 0.0

    def hurry(self) -> None:
        """They may be listed at once, unless that cannot be done at all."""
        self._last_s = 0.0 if self._next_s < float("inf") else self._last_s

    def read(self, at_ns: int, last: bool) -> bool:
        """Lists them, unless that was done just now, or after what was seen at `at_ns`; whether it did."""
        began = self._clock()
        if began < (self._last_s if last else self._next_s) or (self.looks and self.looks[0].at_ns > at_ns):
            return False
        own, listed_ns = Tally(), time_ns()
        try:
            fresh = _Look(self._listed(own), listed_ns)
        except Error as failed:
            self._tally.note(f"packets carry no processes: {failed.message}")
            self._next_s = self._last_s = float("inf")
            return False
        self._tally.effects += [effect for effect in own.effects if effect not in self._tally.effects]
        self.looks = (fresh, *self.looks[:1])
        took = self._clock() - began
        self._last_s = self._clock() + max(LAST_S, took * (_LIST_SHARE - 1))
        self._next_s = self._last_s + LIST_S - LAST_S
        return True

    def _listed(self, tally: Tally) -> HeldEnds:
        ends = HeldEnds(self._net_ns)
        for number, one in enumerate(self._host.sockets.sweep(SocketRequest(tcp_details=False), tally)):
            use = use_of_socket(one)
            if use is not None:
                ends.add(number, use)
        return ends


class Owner(Struct, frozen=True):
    """A process, described."""

    key: ProcessKey
    name: str
    command: str | None
    """Secrets masked; None when it could not be read."""
    container: str | None


class People:
    """Descriptions of processes, each read once."""

    def __init__(self, host: Host, present: Present, tally: Tally) -> None:
        self._host, self._present, self._tally = host, present, tally
        self._met: dict[ProcessKey, Owner] = {}

    def describe(self, holder: SocketOwner) -> Owner:
        """More of it than its name, unless it has ended. Cost: that of reading one process."""
        known = self._met.get(holder.key)
        if known is None:
            if len(self._met) >= _MOST_PEOPLE:
                self._met.clear()
            known = self._met[holder.key] = self._described(holder)
        return known

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
