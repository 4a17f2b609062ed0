"""Records of the sockets of one pass over all descriptors.

Every column is made as a whole, and the records by one `map` over them: no line here runs once for each of twenty
thousand sockets, which is what a sweep would cost.
"""

import socket
from collections.abc import Iterable, Iterator
from itertools import repeat

from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint, Socket, SocketOwner, TcpState
from hostscope.platforms.linux.socket_columns import (
    ACKED,
    ANYWHERE,
    BACKLOG,
    BACKLOG_LIMIT,
    COOKIE,
    FD,
    INODE,
    LOCAL,
    LOCAL_PORT,
    RECEIVE,
    RECEIVED,
    REMOTE,
    REMOTE_PORT,
    RETRANSMITS,
    RTT,
    SEGMENT,
    SEND,
    SENT,
    SOCK,
    VARIATION,
    WINDOW,
    Alike,
    Held,
    HeldSockets,
    read_holder,
)
from hostscope.platforms.linux.socket_facts import CLOSED, INET, STREAM
from hostscope.platforms.linux.socket_holders import Owner, Owners
from hostscope.platforms.linux.socket_records import INBOUND, LISTENING, OUTBOUND, Records, Shape

_TCP_FIELDS = (RTT, VARIATION, RETRANSMITS, SENT, ACKED, RECEIVED, WINDOW, SEGMENT)
"""In the order of `TcpState`."""
_Owned = tuple[tuple[SocketOwner, ...], Container | None]


class _Texts(dict[bytes, str]):
    """Addresses as text, by the sixteen bytes that a record has for them."""

    def __init__(self, family: int) -> None:
        super().__init__()
        self._family, self._width = (socket.AF_INET, 4) if family == INET else (socket.AF_INET6, 16)

    def __missing__(self, raw: bytes) -> str:
        text = self[raw] = socket.inet_ntop(self._family, raw[: self._width])
        return text


class _Holders:
    """The processes of a pass, by the bytes that a record has for them."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self.known: dict[bytes, Owner] = {}
        self.keys: dict[bytes, ProcessKey] = {}
        self.names: dict[bytes, str] = {}
        self.containers: dict[bytes, Container | None] = {}

    def meet(self, raw: bytes) -> Owner:
        """The process. Cost: as `Owners.of_record`, the first time."""
        owner = self.known.get(raw)
        if owner is None:
            holder = read_holder(raw)
            owner = self._owners.of_record(holder.pid, holder.start_ns, holder.name, holder.group)
            self.known[raw], self.keys[raw], self.names[raw], self.containers[raw] = owner, *owner
        return owner

    def columns(self, alike: Alike) -> tuple[Iterable[ProcessKey], Iterable[str], Iterable[Container | None]]:
        """The holder of each record: key, name and container."""
        if alike.holder is not None:
            key, name, container = self.known[alike.holder]
            return repeat(key), repeat(name), repeat(container)
        raw = alike.holders
        return (
            map(self.keys.__getitem__, raw),
            map(self.names.__getitem__, raw),
            map(self.containers.__getitem__, raw),
        )

    def all(self, held: Iterable[Held]) -> _Owned:
        """All who hold a socket, each with its lowest descriptor, by ascending pid."""
        lowest: dict[ProcessKey, tuple[Owner, int]] = {}
        for raw, fd in held:
            owner = self.known[raw]
            lowest[owner.key] = owner, min(fd, lowest.get(owner.key, (owner, fd))[1])
        known = sorted(lowest.values(), key=lambda entry: entry[0].key.pid)
        owners = tuple(SocketOwner(owner.key, owner.name, fd) for owner, fd in known)
        return owners, next((owner.container for owner, _ in known if owner.container), None)


class HeldRows:
    """Records of the sockets of one pass."""

    def __init__(self, held: HeldSockets, records: Records, owners: Owners, only: int | None = None) -> None:
        """`only` is the one network namespace that is asked for."""
        self._held = held
        self._records = records
        self._only = only
        self._texts: dict[int, _Texts] = {}
        self._holders = _Holders(owners)
        self._groups = [(alike, self._meet(alike)) for alike in held.alike]
        self._repeated = {address: self._all(several) for address, several in held.repeated.items()}

    def _meet(self, alike: Alike) -> Shape:
        family, kind, protocol, state, uid, net_ns, interface, _ = alike.mark
        for owner in map(self._holders.meet, {*alike.holders} if alike.holder is None else {alike.holder}):
            if alike.mark.is_inet:
                self._records.place(net_ns, owner.container)
        return self._records.shape(family, kind, protocol, state, uid, net_ns, interface)

    def _all(self, several: list[Held]) -> _Owned:
        for held in several:
            self._holders.meet(held.holder)
        return self._holders.all(several)

    def note(self) -> None:
        """Tells who waits where, before any record is made."""
        for alike, shape in self._groups:
            if shape.listens:
                for port, address in zip(alike.numbers(LOCAL_PORT), alike.slices(LOCAL), strict=True):
                    self._records.listeners.add(shape, port, address)

    def blocks(self) -> Iterator[Iterator[Socket]]:
        """Every socket that the request asks for, some at a time."""
        for alike, shape in self._groups:
            silent = alike.mark.kind == STREAM and alike.mark.state == CLOSED
            foreign = self._only is not None and shape.net_ns != self._only
            if alike.mark.is_inet and shape.wanted and not silent and not foreign:
                yield from (self._block(block, shape) for block in alike.blocks())

    def _block(self, alike: Alike, shape: Shape) -> Iterator[Socket]:
        ports = alike.numbers(LOCAL_PORT)
        shown = alike if all(ports) or not shape.ports else alike.only(ports)
        texts = self._texts.setdefault(alike.mark.family, _Texts(alike.mark.family))
        columns = _Columns(shown, shape, texts, self._records.listeners.addresses(shape))
        return columns.rows(*self._owned(shown))

    def _owned(self, alike: Alike) -> tuple[Iterable[tuple[SocketOwner, ...]], Iterable[Container | None]]:
        """Owners and containers of sockets; most have one owner."""
        keys, names, containers = self._holders.columns(alike)
        owners: Iterable[tuple[SocketOwner, ...]] = zip(map(SocketOwner, keys, names, alike.numbers(FD)), strict=True)
        if not self._repeated:
            return owners, containers
        owned = list(map(self._repeated.get, alike.numbers(SOCK), zip(owners, containers, strict=False)))
        return [owners for owners, _ in owned], [container for _, container in owned]


class _Columns:
    """The columns of sockets of one shape, as records have them."""

    def __init__(self, alike: Alike, shape: Shape, texts: _Texts, awaited: dict[int, set[bytes]]) -> None:
        """`awaited`: where such connections are, by port."""
        self._alike = alike
        self._shape = shape
        self._texts = texts
        self._awaited = awaited
        self._streams = alike.mark.kind == STREAM
        self._locals, self._local_ports = alike.slices(LOCAL), alike.numbers(LOCAL_PORT)

    def rows(
        self, owners: Iterable[tuple[SocketOwner, ...]], containers: Iterable[Container | None]
    ) -> Iterator[Socket]:
        """The records."""
        shape, queues = self._shape, self._queues()
        there = self._there()
        return map(
            Socket, repeat(shape.family), repeat(shape.kind), repeat(shape.protocol), repeat(shape.state),
            self._ends(self._locals, self._local_ports), there, self._alike.numbers(INODE), repeat(shape.net_ns),
            _known(self._alike.numbers(COOKIE)), owners, repeat(shape.user), repeat(shape.interface),
            self._directions(there), *queues, repeat(None), self._tcp(), repeat(None), containers, repeat(None),
            repeat(shape.gaps),
        )  # fmt: skip

    def _ends(self, addresses: list[bytes], ports: list[int]) -> Iterator[Endpoint]:
        return map(Endpoint, map(self._texts.__getitem__, addresses), ports if self._shape.ports else repeat(None))

    def _there(self) -> list[Endpoint | None]:
        """The other ends; None for those that are not connected."""
        addresses, ports = self._alike.slices(REMOTE), self._alike.numbers(REMOTE_PORT)
        ends = self._ends(addresses, ports)
        if all(ports):
            return list(ends)
        return [
            end if port or address != ANYWHERE else None
            for end, port, address in zip(ends, ports, addresses, strict=True)
        ]

    def _directions(self, there: list[Endpoint | None]) -> Iterable[str | None]:
        alone = LISTENING if self._shape.listens else None
        connected = self._connected() if self._shape.connects else repeat(None)
        if all(there):
            return connected
        return [alone if end is None else direction for end, direction in zip(there, connected, strict=False)]

    def _connected(self) -> list[str]:
        """Which way those go that are connected.

        What was accepted has its listener's backlog limit, because it began as a copy of it (inet_csk_clone_lock); what
        connects has 0.
        """
        limits = self._alike.numbers(BACKLOG_LIMIT) if self._streams else repeat(0)
        awaited = self._awaited
        return [
            INBOUND if limit or (port in awaited and not awaited[port].isdisjoint((ANYWHERE, address))) else OUTBOUND
            for limit, port, address in zip(limits, self._local_ports, self._locals, strict=False)
        ]

    def _queues(self) -> tuple[Iterable[int | None], ...]:
        """Backlog, its limit, and what waits to be received and sent."""
        numbers = self._alike.numbers
        if self._streams and self._shape.listens:
            return numbers(BACKLOG), numbers(BACKLOG_LIMIT), repeat(None), repeat(None)
        return repeat(None), repeat(None), numbers(RECEIVE), numbers(SEND)

    def _tcp(self) -> Iterable[TcpState | None]:
        if not self._shape.tcp:
            return repeat(None)
        times, measured, *others = map(self._alike.numbers, _TCP_FIELDS)
        variations: list[int | None] | list[int] = measured
        if not all(times):  # not measured yet
            variations = [variation if time else None for time, variation in zip(times, measured, strict=True)]
        return map(TcpState, _known(times), variations, *others)


def _known(numbers: list[int]) -> list[int | None]:
    """None for 0."""
    return [number or None for number in numbers]
