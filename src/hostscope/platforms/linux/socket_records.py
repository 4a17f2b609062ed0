"""Facts about sockets as records. What many sockets share (states, users, addresses) is made once for a sweep."""

import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hostscope.model.container import Container
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.model.text import decode
from hostscope.platforms.linux.socket_facts import (
    CLOSED,
    CONNECTING,
    DATAGRAM_STATES,
    DGRAM,
    ESTABLISHED,
    ETHERTYPE_ALL,
    FAMILIES,
    INET,
    INET6,
    KINDS,
    LISTEN,
    NETLINK,
    PACKET,
    PROTOCOLS,
    STREAMS,
    TCP_STATES,
    UNIX,
    UNIX_STATES,
    WITH_PORTS,
    Facts,
)
from hostscope.platforms.linux.socket_tables import NETLINK_FAMILIES
from hostscope.platforms.posix_accounts import Accounts

LISTENING, INBOUND, OUTBOUND = "listening", "inbound", "outbound"
_PTRACE = "needs root or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH to look into every process"
OWNERS_DENIED = Gap("owners", Reason.DENIED, _PTRACE)
OWNERS_UNSEEN = Gap(
    "owners",
    Reason.UNAVAILABLE,
    "a file stands for it, but no process that could be seen has it open: its holder is hidden from us, or it is on "
    "its way from one process to another",
)
_FROM_PROC = "not in /proc/PID/net"
_PROC_CONNECTION = Gap("tcp", Reason.UNSUPPORTED, _FROM_PROC)
_PROC_LISTENER = Gap("backlog_limit", Reason.UNSUPPORTED, _FROM_PROC)
_PROC_INTERFACE = Gap("interface", Reason.UNSUPPORTED, _FROM_PROC)
_PROC_USER = Gap("user", Reason.UNSUPPORTED, _FROM_PROC)
_ANYWHERE = bytes(16)
_NOWHERE = frozenset[bytes]()
_WAITING = frozenset({LISTEN, CLOSED})
_ANY = {INET: bytes(4), INET6: bytes(16)}
_AF = {INET: socket.AF_INET, INET6: socket.AF_INET6}

DeviceNames = Callable[[int | None, int], str | Gap]
"""Network namespace and index -> name, or why it cannot be known."""


class Shape(NamedTuple):
    """What many sockets have in common."""

    family: str
    kind: str | None
    protocol: str | None
    state: str | None
    net_ns: int | None
    user: Account | None
    interface: str | None
    gaps: tuple[Gap, ...]
    ports: bool
    """Whether its protocol has ports."""
    listens: bool
    """Whether its peers come to it, given that it has a port."""
    connects: bool
    """Whether it can have a direction."""
    tcp: bool
    """Whether tcp_info tells of it."""
    wanted: bool
    """Whether the request asks for such sockets."""


class Listeners:
    """Where peers are awaited, for telling who began a connection."""

    def __init__(self) -> None:
        self._places: dict[tuple[int | None, str | None, str], dict[int, set[bytes]]] = {}

    def addresses(self, shape: Shape) -> dict[int, set[bytes]]:
        """Port -> addresses (sixteen bytes, filled up with zeroes) where connections of this kind are awaited: live, it
        grows with `add`."""
        return self._places.setdefault((shape.net_ns, shape.protocol, shape.family), {})

    def add(self, shape: Shape, port: int, address: bytes) -> None:
        """One that waits there."""
        self.addresses(shape).setdefault(port, set()).add(address.ljust(16, b"\0"))

    def await_at(self, shape: Shape, port: int, address: bytes) -> bool:
        """Whether one waits at this address, or at any."""
        return not self.addresses(shape).get(port, _NOWHERE).isdisjoint((_ANYWHERE, address.ljust(16, b"\0")))


class Records:
    """Makes the records of one sweep."""

    def __init__(self, request: SocketRequest, accounts: Accounts, device_names: DeviceNames) -> None:
        self._request = request
        self._accounts = accounts
        self._device_names = device_names
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._addresses: dict[bytes, str] = {}
        self._containers: dict[int | None, set[Container | None]] = {}
        self.listeners = Listeners()
        self.paths: dict[int, Endpoint] = {}
        """Names of UNIX sockets by inode, which their peers are told by."""

    # What is shared -----------------------------------------------------------------------------------------------

    def shape(
        self, family: int, kind: int | None, protocol: int, state: int, uid: int | None, net_ns: int | None,
        interface: int | None, from_proc: bool = False,
    ) -> Shape:  # fmt: skip
        """The shape of sockets with these facts."""
        mark = (family, kind, protocol, state, uid, net_ns, interface, from_proc)
        found = self._shapes.get(mark)
        if found is None:
            device, gaps = self._device(net_ns, interface)
            stream = family in _AF and protocol in STREAMS and kind != 3
            if from_proc:
                gaps = gaps + self._proc_gaps(family, state, uid, stream)
            found = self._shapes[mark] = Shape(
                family=FAMILIES.get(family, str(family)),
                kind=None if kind is None else KINDS.get(kind, str(kind)),
                protocol=_protocol(family, protocol),
                state=_state(family, stream, state),
                net_ns=net_ns,
                user=None if uid is None else self._accounts.user(uid),
                interface=device,
                gaps=gaps,
                ports=family in _AF and protocol in WITH_PORTS and kind != 3,
                listens=_listens(family, kind, stream, state),
                connects=family in _AF and protocol in WITH_PORTS and kind != 3,
                tcp=stream and self._request.tcp_details and state not in (LISTEN, CLOSED),
                wanted=self._is_wanted(FAMILIES.get(family), _state(family, stream, state)),
            )
        return found

    def _is_wanted(self, family: str | None, state: str | None) -> bool:
        return family in self._request.families and (self._request.states is None or state in self._request.states)

    def _device(self, net_ns: int | None, index: int | None) -> tuple[str | None, tuple[Gap, ...]]:
        if not index:
            return None, ()
        name = self._device_names(net_ns, index)
        return (None, (name,)) if isinstance(name, Gap) else (name, ())

    def _proc_gaps(self, family: int, state: int, uid: int | None, stream: bool) -> tuple[Gap, ...]:
        gaps = []
        if family in _AF:
            gaps.append(_PROC_INTERFACE)
        if family == UNIX:
            gaps.append(_PROC_USER)
        if state == LISTEN:
            gaps.append(_PROC_LISTENER)
        elif stream and self._request.tcp_details and uid is not None:
            gaps.append(_PROC_CONNECTION)
        return tuple(gaps)

    def address(self, family: int, packed: bytes) -> str:
        """An IPv4 or IPv6 address as text; IPv4-mapped ones as ``::ffff:192.0.2.1``."""
        found = self._addresses.get(packed)
        if found is None:
            found = self._addresses[packed] = socket.inet_ntop(_AF[family], packed)
        return found

    def place(self, net_ns: int | None, container: Container | None) -> None:
        """Remembers in which container a socket's owner is, so that sockets without one can be told theirs."""
        self._containers.setdefault(net_ns, set()).add(container)

    def container_of(self, net_ns: int | None) -> Container | None:
        """The only container that has sockets in a namespace."""
        found = self._containers.get(net_ns, ())
        return next(iter(found)) if net_ns is not None and len(found) == 1 else None

    # One socket ---------------------------------------------------------------------------------------------------

    def shape_of(self, facts: Facts, from_proc: bool) -> Shape:
        """See `shape`."""
        family, kind, protocol, state, _, _, _, _, _, net_ns, _, uid, interface, *_ = facts
        found = self._shapes.get((family, kind, protocol, state, uid, net_ns, interface, from_proc))
        return found or self.shape(family, kind, protocol, state, uid, net_ns, interface, from_proc)

    def note(self, rows: Iterable[Facts], from_proc: bool) -> None:
        """Looks through all sockets before any is told: who waits where, and what UNIX sockets are called."""
        for facts in rows:
            if facts[12]:
                self.shape_of(facts, from_proc)  # asks for the device's name while that is permitted
            if facts[0] == UNIX:
                if facts.local:
                    self.paths[facts.inode] = _path(facts.local)
            elif facts[3] in _WAITING and facts.listens:
                self.listeners.add(self.shape_of(facts, from_proc), facts.local_port, facts.local)

    def build(
        self,
        facts: Facts,
        shape: Shape,
        owners: tuple[SocketOwner, ...] | None,
        container: Container | None,
        unseen: Gap = OWNERS_DENIED,
    ) -> Socket:
        """The record. `owners` is None where a process that could not be seen may hold it, for the reason `unseen`."""
        (
            _, _, _, _, inode, _, _, _, _, net_ns, cookie, _, _, receive, send, backlog, limit, tcp, peer,
        ) = facts  # fmt: skip
        local, remote = self._ends(facts, shape)
        return Socket(
            shape.family, shape.kind, shape.protocol, shape.state, local, remote, inode or None, net_ns, cookie, owners,
            shape.user, shape.interface, self._direction(facts, shape, remote), backlog, limit, receive, send, None,
            tcp if shape.tcp else None, peer, container if owners else self.container_of(net_ns), None,
            shape.gaps if owners is not None else (*shape.gaps, unseen),
        )  # fmt: skip

    def _ends(self, facts: Facts, shape: Shape) -> tuple[Endpoint | None, Endpoint | None]:
        family, _, _, _, _, local, port, remote, remote_port, *_ = facts
        if family in _AF:
            here = Endpoint(self.address(family, local), port if shape.ports else None)
            if not remote_port and remote == _ANY[family]:
                return here, None
            return here, Endpoint(self.address(family, remote), remote_port if shape.ports else None)
        if family == UNIX:
            return (_path(local) if local else None), self.paths.get(facts.peer) if facts.peer else None
        return (Endpoint("", port) if family == NETLINK else None), None

    def _direction(self, facts: Facts, shape: Shape, remote: Endpoint | None) -> str | None:
        if facts[3] in _WAITING and facts.listens:
            return LISTENING
        if facts[0] == UNIX:
            if facts.kind == DGRAM or facts.state not in (ESTABLISHED, CONNECTING):
                return None
            return INBOUND if facts.local else OUTBOUND if remote else None
        if not shape.connects or remote is None:
            return None
        return INBOUND if self.listeners.await_at(shape, facts[6], facts[5]) else OUTBOUND


def _path(raw: bytes) -> Endpoint:
    return Endpoint("@" + decode(raw[1:]) if raw.startswith(b"\0") else decode(raw))


def _protocol(family: int, protocol: int) -> str | None:
    if family in _AF:
        return PROTOCOLS.get(protocol, str(protocol))
    if family == PACKET:
        return "all" if protocol == ETHERTYPE_ALL else f"0x{protocol:04x}"
    return NETLINK_FAMILIES.get(protocol, str(protocol)) if family == NETLINK else None


def _state(family: int, stream: bool, state: int) -> str | None:
    if family in (PACKET, NETLINK):
        return None
    names = UNIX_STATES if family == UNIX else TCP_STATES if stream else DATAGRAM_STATES
    return names.get(state, f"state {state}")


def _listens(family: int, kind: int | None, stream: bool, state: int) -> bool:
    if family == UNIX or stream:
        return state == LISTEN
    return kind == DGRAM and state == CLOSED and family in _AF
