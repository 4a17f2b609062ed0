"""Every socket of a Linux host with its owners, by the best of three methods."""

import gc
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from typing import NamedTuple

from hostscope.errors import Error, Unsupported, UsageError
from hostscope.model.container import Container
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Socket, SocketOwner, SocketRequest
from hostscope.model.text import decode
from hostscope.platforms.linux import net_namespaces, socket_files, translate
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.method import LOAD_PROGRAMS
from hostscope.platforms.linux.net_namespaces import Member, NetNamespace
from hostscope.platforms.linux.privileges import READ_OTHERS, Privileges, lacking
from hostscope.platforms.linux.socket_columns import Counts, HeldSockets
from hostscope.platforms.linux.socket_facts import Facts, identity
from hostscope.platforms.linux.socket_holders import Owners, owners_of, walk
from hostscope.platforms.linux.socket_iterator import KeptIterators, SocketIterator
from hostscope.platforms.linux.socket_records import OWNERS_DENIED, OWNERS_UNSEEN, Records
from hostscope.platforms.linux.socket_rows import HeldRows
from hostscope.platforms.linux.socket_sources import Batch, Before, NamespaceSockets, has_gone, is_closed
from hostscope.platforms.posix_accounts import Accounts
from hostscope.platforms.tally import Tally

METHODS = ("iterator", "diag", "proc")
"""Best first."""
EFFECT = "eBPF programs in the kernel, kept for the next sweep while the session lives"
NO_AGE = Gap("age_ns", Reason.UNAVAILABLE, "Linux does not keep when a socket was made")
AT_ONCE = 16384
"""Records that are made before the first of them is given."""
_NO_COUNTS = Counts(0, {})
_NOBODY: dict[int, int] = {}
_INET = frozenset({"inet", "inet6"})


class Sockets:
    """Implements `hostscope.platforms.base_network.Sockets`."""

    def __init__(self, boot: Boot, containers: Containers, privileges: Privileges) -> None:
        self._boot = boot
        self._containers = containers
        self._privileges = privileges
        self._accounts = Accounts()
        self._iterators = KeptIterators()

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """Every socket; `tally` is whole at the end.

        Everything is read when the first row is asked for, with privileges that are given back before it comes:
        directions and owners can only be told when all sockets are known.

        Cost: 2.3 us a socket by the iterator, 16 us by sock_diag; the first time some milliseconds for loading.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported, Denied: the named method cannot be used here; with the first row.
        """
        if request.method is not None and request.method not in METHODS:
            raise UsageError(f"there is no method {request.method!r}", f"methods here: {', '.join(METHODS)}")
        return self._rows(request, tally)

    def _rows(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        names: tuple[str, ...] = READ_OTHERS + net_namespaces.ENTER
        if request.method in (None, "iterator"):
            names += LOAD_PROGRAMS
        with closing(self._sweep(request, tally)) as sweep:
            try:
                with _collection_paused(), self._privileges.using(names, "list sockets and who holds them"):
                    unmade = sweep.collect()
            finally:
                for note in self._privileges.notes:
                    tally.note(note)
            for rows in _made(unmade):
                tally.seen += len(rows)
                yield from rows
        if request.age and tally.seen:
            tally.count_gaps((NO_AGE,))

    def _sweep(self, request: SocketRequest, tally: Tally) -> "_Sweep":
        return _Sweep(request, tally, self._accounts, Owners(self._boot, self._containers), self._iterators)

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids with a socket on this local port (TCP, UDP and their like), listeners first, then by pid.

        Covers every network namespace that can be found. Processes of other users show with CAP_SYS_PTRACE and
        CAP_DAC_READ_SEARCH only.

        Cost: two system calls a process and the tables of each namespace; when the port is in use, one system call
            more for each descriptor of the host.
        """
        request = SocketRequest(tcp_details=False, method="diag")
        tally = Tally()
        with self._privileges.using(READ_OTHERS + net_namespaces.ENTER, f"find the owners of port {port}"):
            ranks = _ranks(self._sweep(request, tally).all_facts(), port)
            held = walk(ranks.keys()).sockets if ranks else {}
        found: dict[int, int] = {}
        for inode, pids in held.items():
            for pid in pids:
                found[pid] = min(ranks[inode], found.get(pid, 1))
        return tuple(sorted(found, key=lambda pid: (found[pid], pid)))


def _made(unmade: Iterator[Iterable[Socket]]) -> Iterator[list[Socket]]:
    """Records, many at a time: each time costs a look for garbage."""
    while True:
        with _collection_paused():
            rows = _some(unmade)
        if not rows:
            return
        yield rows


def _some(unmade: Iterator[Iterable[Socket]]) -> list[Socket]:
    rows: list[Socket] = []
    for block in unmade:
        rows.extend(block)
        if len(rows) >= AT_ONCE:
            break
    return rows


@contextmanager
def _collection_paused() -> Iterator[None]:
    """A sweep makes a hundred thousand objects and no garbage: looking for it would take a sixth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ranks(rows: Iterator[Facts], port: int) -> dict[int, int]:
    """Inode -> 0 for sockets that wait for peers, 1 for the others, of those on a port."""
    return {
        facts.inode: 0 if facts.listens else 1
        for facts in rows
        if facts.local_port == port and facts.inode and facts.has_port
    }


class _Loose(NamedTuple):
    """Sockets that no process was seen to hold."""

    facts: Facts
    from_proc: bool


_Owned = tuple[tuple[SocketOwner, ...] | None, Container | None]


class _Joined(NamedTuple):
    """Sockets, and who holds them by inode."""

    batch: Batch
    owned: Mapping[int, _Owned]


class _Sweep:
    """One sweep."""

    def __init__(
        self, request: SocketRequest, tally: Tally, accounts: Accounts, owners: Owners, iterators: KeptIterators
    ) -> None:
        self._request = request
        self._tally = tally
        self._owners = owners
        self._iterators = iterators
        self._lent = ExitStack()
        self._unseen: Set[int] = frozenset()
        self._namespaces: list[NetNamespace] = []
        self._devices: dict[int | None, dict[int, str] | Gap] = {}
        self._records = Records(request, accounts, self._device_name)

    def collect(self) -> Iterator[Iterable[Socket]]:
        """Reads everything by the method of choice; what it returns only makes records of it, some at a time."""
        if self._request.method in (None, "iterator"):
            try:
                return self._by_iterator()
            except (Error, OSError) as failed:
                if self._request.method == "iterator":
                    raise failed if isinstance(failed, Error) else translate.error("read sockets", failed) from failed
                self._tally.method_reason = f"the iterator cannot be used: {failed}"
        else:
            self._tally.method_reason = "asked for by --method"
        self._tally.method = "proc" if self._request.method == "proc" else "diag"
        self._find_namespaces()
        return self._by_tables()

    def close(self) -> None:
        """Gives back the iterator, whose buffer the records were made of."""
        self._lent.close()

    def all_facts(self) -> Iterator[Facts]:
        """Every socket of every namespace, by sock_diag where that can be, without owners."""
        self._find_namespaces()
        self._tally.method = "diag"
        for batch in self._read_tables(self._namespaces):
            yield from batch.rows

    # Namespaces ---------------------------------------------------------------------------------------------------

    def _find_namespaces(self, members: list[Member] | None = None) -> None:
        if not self._request.all_namespaces:
            self._namespaces = [net_namespaces.ours()]
            return
        found = net_namespaces.find(members)
        self._namespaces = list(found.found)
        found.tell(self._tally)

    def _add_held_namespaces(self, descriptors: Iterator[tuple[int, int]]) -> list[NetNamespace]:
        """Those that nothing but a descriptor leads to."""
        if not self._request.all_namespaces:
            return []
        new = list(net_namespaces.of_descriptors(descriptors, [one.inode for one in self._namespaces]))
        self._namespaces += new
        return new

    def _device_name(self, net_ns: int | None, index: int) -> str | Gap:
        if net_ns not in self._devices:
            self._devices[net_ns] = self._read_devices(net_ns)
        devices = self._devices[net_ns]
        if isinstance(devices, Gap):
            return devices
        return devices.get(index) or Gap("interface", Reason.GONE, f"interface {index} is not there any more")

    def _read_devices(self, net_ns: int | None) -> dict[int, str] | Gap:
        namespace = next((one for one in self._namespaces if one.inode == net_ns), None)
        if namespace is None:
            return Gap("interface", Reason.UNAVAILABLE, "its network namespace was not found")
        try:
            listed = net_namespaces.inside(namespace, socket.if_nameindex)
            return {index: decode(os.fsencode(name)) for index, name in listed}
        except OSError as failed:
            return translate.gap("interface", failed)

    # By the iterator ----------------------------------------------------------------------------------------------

    def _by_iterator(self) -> Iterator[Iterable[Socket]]:
        other_families = bool(self._request.families & {"unix", "packet"})
        with ExitStack() as lent:
            iterator = lent.enter_context(self._iterators.lend(only_inet=not other_families))
            self._find_namespaces(iterator.members())
            before = [(namespace, self._before(namespace)) for namespace in self._namespaces]
            held = iterator.held()
            late = self._add_held_namespaces(iter(held.namespaces()))
            before += [(namespace, self._before(namespace)) for namespace in late]
            loose = self._loose([seen.batches for _, seen in before if seen], held)
            claims = [(one, _NOBODY) for one in loose] + self._claims(iterator, self._after(before, held))
            claims = list({identity(one.facts): (one, pids) for one, pids in claims}.values())
            unheld = [one.facts for one, pids in claims if not pids]
            self._unseen = socket_files.with_files(iterator, self._namespaces, unheld, self._tally)
            self._lent = lent.pop_all()
        self._tally.method = "iterator"
        self._tally.effects.append(EFFECT)
        if iterator.cache_note:  # somebody may have changed it
            self._tally.note(f"eBPF programs: {iterator.cache_note}")
        others = self._other_families(held) if other_families else []
        only = None if self._request.all_namespaces else self._namespaces[0].inode
        rows = HeldRows(held, self._records, self._owners, only)
        return self._told(rows, others, claims)

    def _before(self, namespace: NetNamespace) -> Before | None:
        if not self._request.families & {"inet", "inet6"}:
            return None
        try:
            return self._source(namespace, _INET).before()
        except (OSError, ValueError) as failed:
            self._cannot_look(namespace, failed, "sockets without a process")
            return None

    def _after(self, before: list[tuple[NetNamespace, Before | None]], held: HeldSockets) -> list[_Loose]:
        counts, found = held.counts(), list[list[Batch]]()
        for namespace, seen in before:
            if seen is None:
                continue
            try:
                source = self._source(namespace, _INET)
                found.append(source.after(seen.counted, counts.get(namespace.inode or 0, _NO_COUNTS)))
            except OSError as failed:
                self._cannot_look(namespace, failed, "sockets without a process")
        return self._loose(found, held)

    def _loose(self, found: list[list[Batch]], held: HeldSockets) -> list[_Loose]:
        """Those that the pass did not meet. Sockets of one inode may be several, with MPTCP."""
        rows = [_Loose(facts, batch.from_proc) for batches in found for batch in batches for facts in batch.rows]
        claimed = held.claimed({one.facts.inode for one in rows if one.facts.inode})
        return [one for one in rows if (one.facts.protocol, one.facts.inode) not in claimed]

    def _claims(self, iterator: SocketIterator, loose: list[_Loose]) -> list[tuple[_Loose, dict[int, int]]]:
        """Who holds them after all: what was opened since the pass is found in a second one."""
        strangers = {one.facts.inode for one in loose if one.facts.inode}
        holders: dict[int, dict[int, int]] = {}
        if strangers:
            again = iterator.held_of(strangers)
            HeldRows(again, self._records, self._owners)  # makes their owners known
            holders = again.holders(others=False)
        return [(one, holders.get(one.facts.inode, _NOBODY) if one.facts.inode else _NOBODY) for one in loose]

    def _other_families(self, held: HeldSockets) -> list[_Joined]:
        families = self._request.families & {"unix", "packet"}
        owned = {inode: owners_of(pids, self._owners) for inode, pids in held.holders(others=True).items()}
        return [_Joined(batch, owned) for batch in self._read_tables(self._namespaces, families)]

    def _told(
        self, rows: HeldRows, others: list[_Joined], claims: list[tuple[_Loose, dict[int, int]]]
    ) -> Iterator[Iterable[Socket]]:
        """Everything that takes privileges is read here; the iterator only makes records."""
        rows.note()
        for one, _ in claims:
            self._records.note([one.facts], one.from_proc)
        for joined in others:
            self._records.note(joined.batch.rows, joined.batch.from_proc)
        if self._unseen:
            self._tally.note(socket_files.describe(len(self._unseen)))
        loose = [(one, owners_of(pids, self._owners) if pids else self._nobody(one.facts)) for one, pids in claims]
        unheld = (row for one, owned in loose for row in self._row(one.facts, one.from_proc, *owned))
        return chain(rows.blocks(), [unheld], self._rows_of(others, ()))

    def _nobody(self, facts: Facts) -> _Owned:
        return (None if facts.cookie in self._unseen else ()), None

    # By tables ----------------------------------------------------------------------------------------------------

    def _by_tables(self) -> Iterator[Iterable[Socket]]:
        batches = list(self._read_tables(self._namespaces))
        held = walk()
        batches += self._read_tables(self._add_held_namespaces(iter(held.namespaces)))
        if held.denied:
            self._tally.note(f"the descriptors of {held.denied} processes may not be looked at{lacking(READ_OTHERS)}")
        owned = {inode: owners_of(pids, self._owners) for inode, pids in held.sockets.items()}
        for batch in batches:
            self._records.note(batch.rows, batch.from_proc)
            for facts in batch.rows:
                if facts.inode in owned:
                    self._records.place(facts.net_ns, owned[facts.inode][1])
        return self._rows_of([_Joined(batch, owned) for batch in batches], None if held.denied else ())

    def _rows_of(self, joined: list[_Joined], nobody: tuple[SocketOwner, ...] | None) -> Iterator[Iterable[Socket]]:
        """`nobody` is what stands for the owners of a socket that no process is known to hold."""
        return (self._rows_of_batch(one, nobody) for one in joined)

    def _rows_of_batch(self, joined: _Joined, nobody: tuple[SocketOwner, ...] | None) -> Iterator[Socket]:
        batch, owned = joined
        for facts in batch.rows:
            owners, container = owned.get(facts.inode, (nobody, None)) if facts.inode else ((), None)
            yield from self._row(facts, batch.from_proc, owners, container)

    def _row(
        self, facts: Facts, from_proc: bool, owners: tuple[SocketOwner, ...] | None, container: Container | None
    ) -> Iterator[Socket]:
        shape = self._records.shape_of(facts, from_proc)
        if shape.wanted:
            unseen = OWNERS_UNSEEN if facts.cookie in self._unseen else OWNERS_DENIED
            yield self._records.build(facts, shape, owners, container, unseen)

    def _read_tables(self, namespaces: list[NetNamespace], families: frozenset[str] | None = None) -> Iterator[Batch]:
        for namespace in namespaces:
            source = self._source(namespace, self._request.families if families is None else families)
            try:
                yield from self._read_namespace(source, namespace)
            except OSError as failed:
                self._cannot_look(namespace, failed, "its sockets")

    def _read_namespace(self, source: NamespaceSockets, namespace: NetNamespace) -> list[Batch]:
        if self._tally.method == "proc":
            return source.by_proc()
        try:
            return source.by_diag()
        except OSError as failed:
            if self._request.method == "diag" and namespace.ours:
                raise Unsupported(f"sock_diag cannot be used here: {failed.strerror}") from failed
            if namespace.ours:
                self._tally.method = "proc"
                self._tally.method_reason = f"{self._tally.method_reason}; sock_diag neither: {failed.strerror}"
            elif namespace.pid is not None:
                self._tally.note("network namespaces that may not be entered were read from /proc")
            return source.by_proc()

    def _source(self, namespace: NetNamespace, families: frozenset[str]) -> NamespaceSockets:
        return NamespaceSockets(namespace, families, self._request.tcp_details, self._tally)

    def _cannot_look(self, namespace: NetNamespace, failed: Exception, what: str) -> None:
        if isinstance(failed, OSError) and has_gone(failed):
            self._tally.vanished += 1
            return
        name = namespace.name or namespace.inode or namespace.path
        if isinstance(failed, OSError) and is_closed(failed):
            self._tally.denied += 1
            self._tally.note(f"network namespace {name} may not be entered (CAP_SYS_ADMIN): {what} do not show")
            return
        self._tally.failed += 1
        self._tally.note(f"network namespace {name}: {failed}: {what} do not show")
