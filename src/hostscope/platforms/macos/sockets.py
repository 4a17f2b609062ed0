"""Sockets and their owners: what each process has open, and what the kernel lists besides."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from hostscope.errors import UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account
from hostscope.model.socket import INET, Socket, SocketOwner, SocketRequest
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos.native import descriptors, errnos, sysctls
from hostscope.platforms.macos.owners import Owners
from hostscope.platforms.macos.parse_fdinfo import parse_socket
from hostscope.platforms.macos.parse_pcblist import Pcb, parse_pcbs
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.macos.socket_facts import (
    Facts,
    Holder,
    direction_of,
    listeners_of,
    of_descriptor,
    of_list,
)
from hostscope.platforms.macos.translate import REFUSED, error
from hostscope.platforms.tally import Tally

METHODS = ("libproc", "pcblist")
"""Best first: what each process has open; the kernel's lists alone, which know no owners."""
LISTS = (("tcp", "stream"), ("udp", "dgram"))
AGE = Gap("age_ns", Reason.UNSUPPORTED, "macOS does not keep when a socket was made")
DENIED = Gap("owners", Reason.DENIED, "held by nobody who could be looked at; needs root")
NOT_HELD = "a list of the kernel tells who used a socket last, not who holds it"
TCP_DETAILS = Gap("tcp", Reason.UNSUPPORTED, "macOS tells other processes' tools only the segment size")
Users = Callable[[int], Account]


class Held(NamedTuple):
    """A socket, and who has it open."""

    facts: Facts
    holders: list[Holder]


class Sockets:
    """Implements `hostscope.platforms.base_network.Sockets`."""

    def __init__(self, owners: Owners, users: Users, privileges: Privileges | None = None) -> None:
        """`owners` lists processes, `users` knows accounts by number."""
        self._owners, self._users, self._privileges = owners, users, privileges

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """Every socket; those of processes that may not be looked at without their owners.

        Needs: root for other users' processes.
        Source: PROC_PIDLISTFDS, PROC_PIDFDSOCKETINFO; sysctl net.inet.{tcp,udp}.pcblist_n.
        Cost: two calls for each process, one for each socket, two for each list.

        Raises:
            UsageError: there is no such method.
            NativeError
        """
        if request.method is not None and request.method not in METHODS:
            raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(METHODS)}")
        return self._rows(request, tally)

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids with a TCP or UDP socket bound to a local port, listeners first, then by pid."""
        ranks: dict[int, int] = {}
        with raised(self._privileges, f"find the owners of port {port}"):
            found = list(self._held(Tally()))
        for held in found:
            facts = held.facts
            if facts.protocol in ("tcp", "udp") and facts.local and facts.local.port == port:
                for holder in held.holders:
                    rank = 0 if facts.listens else 1
                    ranks[holder.key.pid] = min(rank, ranks.get(holder.key.pid, 1))
        return tuple(sorted(ranks, key=lambda pid: (ranks[pid], pid)))

    def _rows(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        tally.method = request.method or METHODS[0]
        with raised(self._privileges, "list sockets and who holds them"):
            rows = list(self._collected(request, tally))
        listeners = listeners_of(facts for facts, _, _ in rows)
        for facts, owners, gap in rows:
            if _wanted(facts, request):
                tally.seen += 1
                yield _record(facts, owners, gap, listeners, request)
        if request.age and tally.seen:
            tally.count_gaps((AGE,))

    def _collected(self, request: SocketRequest, tally: Tally) -> "Iterator[_Row]":
        if request.method != "pcblist":
            yield from self._joined(request, tally)
            return
        tally.method_reason = "asked for by --method"
        for facts in self._listed(tally):
            yield _unheld(facts, Gap("owners", Reason.UNSUPPORTED, NOT_HELD))

    def _joined(self, request: SocketRequest, tally: Tally) -> "Iterator[_Row]":
        """What processes hold, then what only the kernel's lists have."""
        seen: set[tuple[str, int]] = set()
        users = {facts.cookie: facts for facts in self._listed(tally)} if request.families & INET else {}
        held = list(self._held(tally))
        for one in held:
            also = users.get(one.facts.cookie) if one.facts.cookie is not None else None
            facts = one.facts._replace(user=also.user) if also else one.facts
            if facts.cookie is not None:
                seen.add((facts.protocol or "", facts.cookie))
            yield facts, _owners_of(one.holders), None
        for facts in users.values():
            if (facts.protocol or "", facts.cookie) not in seen:
                yield _unheld(facts, DENIED if tally.denied and facts.state != "time-wait" else None)

    def _held(self, tally: Tally) -> Iterable[Held]:
        """Each socket once, with all who have it open."""
        found: dict[object, Held] = {}
        for pid, owner in sorted(self._owners().items()):
            for fd, facts in _sockets_of(pid, tally):
                place = facts.number or (facts.protocol, facts.cookie) if facts.number or facts.cookie else (pid, fd)
                held = found.setdefault(place, Held(facts, []))
                held.holders.append(Holder(owner.key, owner.name, fd))
        return found.values()

    def _listed(self, tally: Tally) -> Iterator[Facts]:
        """The kernel's own lists; one that cannot be read is noted."""
        for protocol, kind in LISTS:
            name = f"net.inet.{protocol}.pcblist_n"
            try:
                pcbs = parse_pcbs(sysctls.read_name(name))
            except OSError as failed:
                tally.note(error(f"sysctl {name}", failed).message)
                tally.hidden = "a list of the kernel's sockets could not be read"
                continue
            except ValueError as failed:
                tally.note(f"sysctl {name}: {failed}")
                tally.hidden = "a list of the kernel's sockets could not be read"
                continue
            yield from map(partial(self._facts, protocol, kind), pcbs)

    def _facts(self, protocol: str, kind: str, pcb: Pcb) -> Facts:
        return of_list(pcb, protocol, kind, None if pcb.uid is None else self._users(pcb.uid))


_Row = tuple[Facts, tuple[SocketOwner, ...] | None, Gap | None]


def _unheld(facts: Facts, gap: Gap | None) -> _Row:
    return facts, None if gap else (), gap


def _sockets_of(pid: int, tally: Tally) -> Iterator[tuple[int, Facts]]:
    """The sockets that a process has open; what it closes meanwhile is left out."""
    try:
        for fd in descriptors.read_sockets(pid):
            try:
                found = parse_socket(descriptors.read_socket(pid, fd))
            except OSError as failed:
                if failed.errno == errnos.ESRCH or failed.errno in REFUSED:
                    raise
                continue  # it was closed, or is another file now
            if found:
                yield fd, of_descriptor(found)
    except OSError as failed:
        if failed.errno in REFUSED:
            tally.denied += 1
        elif failed.errno == errnos.ESRCH:
            tally.vanished += 1
        else:
            tally.failed += 1
            tally.note(error("proc_pidinfo", failed, pid).message)


def _owners_of(holders: Iterable[Holder]) -> tuple[SocketOwner, ...]:
    """One for each process, with its lowest descriptor."""
    lowest: dict[object, SocketOwner] = {}
    for holder in sorted(holders, key=lambda holder: (holder.key, holder.fd)):
        lowest.setdefault(holder.key, SocketOwner(holder.key, holder.name, holder.fd))
    return tuple(lowest.values())


def _wanted(facts: Facts, request: SocketRequest) -> bool:
    return facts.family in request.families and (request.states is None or facts.state in request.states)


def _record(
    facts: Facts,
    owners: tuple[SocketOwner, ...] | None,
    gap: Gap | None,
    listeners: frozenset[tuple[str, str, int]],
    request: SocketRequest,
) -> Socket:
    gaps = [gap] if gap else []
    if request.tcp_details and facts.protocol == "tcp" and facts.state != "listen":
        gaps.append(TCP_DETAILS)
    return Socket(
        family=facts.family,
        kind=facts.kind,
        protocol=facts.protocol,
        state=facts.state,
        local=facts.local,
        remote=facts.remote,
        inode=facts.number or None,
        net_ns=None,
        cookie=facts.cookie,
        owners=owners,
        user=facts.user,
        direction=direction_of(facts, listeners),
        backlog=facts.backlog,
        backlog_limit=facts.backlog_limit,
        receive_queue_bytes=facts.receive_queue,
        send_queue_bytes=facts.send_queue,
        tcp=facts.tcp if request.tcp_details else None,
        peer_inode=facts.peer,
        gaps=tuple(gaps),
    )
