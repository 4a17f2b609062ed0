"""What the kernel's tables tell of one network namespace, by sock_diag or by /proc/PID/net."""

import errno
from contextlib import closing
from typing import NamedTuple

from hostscope.platforms.linux.net_namespaces import NetNamespace, inside
from hostscope.platforms.linux.read import read_file
from hostscope.platforms.linux.sock_diag import NOT_ESTABLISHED, ONLY_ESTABLISHED, Tables
from hostscope.platforms.linux.socket_columns import Counts
from hostscope.platforms.linux.socket_facts import MPTCP, UDP, UDP_LITE, Facts, distinct
from hostscope.platforms.linux.socket_tables import TABLES, parse_established, parse_sockstat
from hostscope.platforms.linux.translate import REFUSED, VANISHED
from hostscope.platforms.tally import Tally

ENTERED = "/proc/thread-self/net"
"""The tables of the namespace that the calling thread is in."""
TABLE_LIMIT = 1 << 26
"""Bytes of one table: about 400,000 TCP sockets."""
INET_TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
FEW_TABLES = ("raw", "raw6", "icmp", "icmp6")
"""Tables that are read from /proc in any case: sock_diag has no ping sockets, and most kernels no raw_diag."""
_COUNTED = {UDP: "UDP", UDP_LITE: "UDPLITE"}
"""Names in /proc/net/sockstat."""
FEW_SOCKETS = 1000
"""So many are dumped without counting first."""


class Batch(NamedTuple):
    """Sockets of one namespace."""

    rows: list[Facts]
    from_proc: bool


class Before(NamedTuple):
    """What `NamespaceSockets.before` saw."""

    batches: list[Batch]
    counted: Counts
    """Of what was not dumped, the numbers."""


class NamespaceSockets:
    """The sockets of one network namespace."""

    def __init__(self, namespace: NetNamespace, families: frozenset[str], details: bool, tally: Tally) -> None:
        self._namespace = namespace
        self._families = families
        self._details = details
        self._tally = tally
        self._inet = bool(families & {"inet", "inet6"})

    def by_diag(self) -> list[Batch]:
        """Everything by sock_diag, and by /proc what that lacks.

        Raises:
            OSError: the namespace cannot be entered, or has no sock_diag.
        """
        return inside(self._namespace, self._diag)

    def _diag(self) -> list[Batch]:
        rest = list(FEW_TABLES) if self._inet else []
        with closing(Tables(self._namespace.inode, self._tally)) as tables:
            found = [*tables.tcp(details=self._details)] if self._inet else []
            for protocol in (UDP, UDP_LITE, MPTCP) if self._inet else ():
                found += tables.inet(protocol)
            for family in sorted(self._families & {"unix", "packet"}):
                if not self._dumped(tables, family, found):
                    rest.append(family)
        return [Batch(distinct(found), False), Batch(self._read(rest, ENTERED), True)]

    def _dumped(self, tables: Tables, family: str, found: list[Facts]) -> bool:
        try:
            found += tables.unix() if family == "unix" else tables.packet()
        except OSError as failed:
            self._tally.note(f"{family} sockets were read from /proc: sock_diag says {failed.strerror}")
            return False
        return True

    def by_proc(self) -> list[Batch]:
        """Everything from /proc/PID/net: of a process in the namespace, which takes no privilege, or inside.

        Raises:
            OSError: the namespace has gone, or has no process and may not be entered.
        """
        names = [*(INET_TABLES if self._inet else ()), *sorted(self._families & {"unix", "packet"})]
        if self._namespace.ours or self._namespace.pid is None:
            return inside(self._namespace, lambda: [Batch(self._read(names, ENTERED), True)])
        return [Batch(self._read(names, f"/proc/{self._namespace.pid}/net"), True)]

    def before(self) -> "Before":
        """What to look at before a pass over all descriptors: sockets in it that the pass does not meet have no holder.

        Established connections are left out, for they are many: the kernel's count of them tells whether they must be
        dumped after all.

        Raises:
            OSError: the namespace cannot be entered, or has no sock_diag.
            ValueError: the kernel's counts make no sense.
        """
        return inside(self._namespace, self._before)

    def _before(self) -> "Before":
        counts = parse_sockstat(self._text("sockstat", ENTERED) + self._text("sockstat6", ENTERED))
        left = {protocol: counts.get(name, 0) + counts.get(f"{name}6", 0) for protocol, name in _COUNTED.items()}
        established = parse_established(self._text("snmp", ENTERED))
        with closing(Tables(self._namespace.inode, self._tally)) as tables:
            found = list(tables.tcp(NOT_ESTABLISHED, self._details)) if _has_tcp(counts) else []
            for protocol in [protocol for protocol, count in left.items() if count < FEW_SOCKETS]:
                left.pop(protocol)
                found += tables.inet(protocol)
        rest = self._read(list(FEW_TABLES), ENTERED)
        return Before([Batch(found, False), Batch(rest, True)], Counts(established, left))

    def after(self, counted: Counts, held: Counts) -> list[Batch]:
        """What the kernel counted and the pass did not meet: connections that wait to be accepted, sockets of the
        kernel or on their way between processes; and all that were opened since.

        Raises:
            OSError: the namespace cannot be entered.
        """
        protocols = [number for number, count in counted.protocols.items() if held.protocols.get(number, 0) != count]
        if counted.established == held.established and not protocols:
            return []
        return inside(self._namespace, lambda: self._after(counted.established != held.established, protocols))

    def _after(self, connections: bool, protocols: list[int]) -> list[Batch]:
        with closing(Tables(self._namespace.inode, self._tally)) as tables:
            found = list(tables.tcp(ONLY_ESTABLISHED, self._details)) if connections else []
            for protocol in protocols:
                found += tables.inet(protocol)
        return [Batch(found, False)]

    def _read(self, names: list[str], folder: str) -> list[Facts]:
        return distinct(facts for name in names for facts in self._table(name, folder))

    def _table(self, name: str, folder: str) -> list[Facts]:
        raw = self._text(name, folder)
        if len(raw) >= TABLE_LIMIT:
            self._tally.note(f"the table {name} is longer than {TABLE_LIMIT} bytes: its end was not read")
            self._tally.limited = True
        text = raw[: raw.rfind(b"\n") + 1] if len(raw) >= TABLE_LIMIT else raw
        found: list[Facts] = []
        try:
            found.extend(TABLES[name](text, name, self._namespace.inode))
        except ValueError as nonsense:
            self._tally.failed += 1
            self._tally.note(f"the table {name} makes no sense: {nonsense}")
        return found

    def _text(self, name: str, folder: str) -> bytes:
        """A file of the namespace; empty where the kernel has no such table, such as those of IPv6."""
        try:
            return read_file(f"{folder}/{name}", TABLE_LIMIT)
        except FileNotFoundError:
            return b""


def _has_tcp(counts: dict[str, int]) -> bool:
    """Whether a namespace has any TCP socket, given its sockstat. All namespaces share one hash table, which a dump
    walks for each of them. Connections in time-wait have a count of their own, and those that begin have a listener."""
    return any(counts.get(name, 1) for name in ("TCP", "TCP tw")) or counts.get("TCP6", 0) > 0


def is_closed(failed: OSError) -> bool:
    """Whether a namespace may not be entered."""
    return failed.errno in REFUSED


def has_gone(failed: OSError) -> bool:
    """Whether a namespace ended while it was looked for; EINVAL is what a process without namespaces any more gives."""
    return failed.errno in VANISHED | {errno.EINVAL}
