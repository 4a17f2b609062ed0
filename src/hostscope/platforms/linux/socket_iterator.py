"""Sockets and who holds them by one read of the kernel's iterator over all descriptors: bpf/sockets.bpf.c.

One pass tells the process, the descriptor and what the kernel knows of the socket, in every network namespace at once.
Sockets that no process holds are not in it; `socket_sources` asks for those.
"""

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import NamedTuple

from hostscope.errors import Unavailable, Unsupported
from hostscope.model.container import Container
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account
from hostscope.model.socket import Endpoint, Socket, SocketOwner, TcpState
from hostscope.platforms.linux import program_cache, translate
from hostscope.platforms.linux.iterator import obstacle
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.net_namespaces import Member
from hostscope.platforms.linux.socket_facts import CLOSED, DGRAM, ESTABLISHED, INET, INET6, STREAM, TCP
from hostscope.platforms.linux.socket_holders import Owners
from hostscope.platforms.linux.socket_records import INBOUND, LISTENING, OUTBOUND, Records, Shape

HELD, HELD_STRANGERS, MEMBERS = "held", "held_strangers", "members"
MOST_STRANGERS = 65536
READ_BYTES = 1 << 16
"""The kernel fills a buffer of 32 KiB between reads and always gives whole records of it."""

RECORD = struct.Struct("<QQQII60sHH16s16s9I4x3Q")
"""struct record of bpf/sockets.bpf.c; `holder` and `shape` as one slice."""
HEAD = struct.Struct("<QQ8xII60sH98x")
"""The same record, only what tells sockets and holders apart."""
_ADDRESS, _INODE, _MARK = struct.Struct("<Q184x"), struct.Struct("<8xQ176x"), struct.Struct("<32x60s100x")
MARK = struct.Struct("<QQ16sII4H3I")
"""That slice: start, control groups, name, pid, 0; family, kind, protocol, state, uid, network namespace, interface."""
MEMBER = struct.Struct("<3I4x")
KEEPS_NAMESPACE = 1
_CLOSE_WAIT = 8
_ANYWHERE = bytes(16)


class Head(NamedTuple):
    """The beginning of a record."""

    address: int
    """Of the kernel's socket; 0 for sockets of other families, and for what is no socket."""
    inode: int
    fd: int
    flags: int
    mark: bytes
    port: int


class SocketIterator:
    """The program in the kernel, until closed."""

    def __init__(self, only_inet: bool) -> None:
        """Loads it.

        Raises:
            Unsupported: the kernel lacks iterators or refuses the program, or we are not in the host's namespaces.
            Denied: CAP_BPF or CAP_PERFMON is missing.
        Needs: CAP_BPF, CAP_PERFMON.
        Cost: 3 ms with cached programs, 60 ms without.
        """
        reason = obstacle()
        if reason:
            raise Unsupported(reason)
        found = program_cache.load_image("sockets")
        self.cache_note = found.note
        """Why the program was not taken from the cache; None when it was."""
        self._programs = Programs(found.image, {"only_inet": int(only_inet)})
        try:
            self._programs.attach(HELD)
        except BaseException:
            self._programs.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """One pass, begun now: chunks of whole records, by ascending pid and descriptor.

        Cost: 0.9 us a socket.
        """
        return self._read(HELD)

    def chunks_of(self, inodes: Iterable[int]) -> Iterator[bytes]:
        """Another pass for a few sockets, at most `MOST_STRANGERS`. Cost: 0.15 us a descriptor of the host."""
        strangers = self._programs.map("strangers")
        for inode in islice(inodes, MOST_STRANGERS):
            strangers.update(inode.to_bytes(8, "little"), b"\1")
        return self._read(HELD_STRANGERS)

    def members(self) -> list[Member]:
        """Processes of every network and mount namespace that has any. Cost: 0.1 us a process."""
        raw = b"".join(self._read(MEMBERS))
        if len(raw) % MEMBER.size:
            raise Unavailable("the iterator's records make no sense")
        return list(map(Member._make, MEMBER.iter_unpack(raw)))

    def _read(self, program: str) -> Iterator[bytes]:
        fd = self._programs.open_pass(program)
        try:
            while chunk := _read_chunk(fd):
                yield chunk
        finally:
            os.close(fd)

    def close(self) -> None:
        """Takes the program out of the kernel."""
        self._programs.close()

    def __enter__(self) -> "SocketIterator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _read_chunk(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError as failed:
        raise translate.error("read the iterator", failed) from failed


class Mark(NamedTuple):
    """Who holds a socket, and what it has in common with others: a mark, read."""

    start_ns: int
    group: int
    """Address of the process's set of control groups."""
    name: bytes
    pid: int
    zero: int
    family: int
    kind: int
    protocol: int
    state: int
    uid: int
    net_ns: int
    interface: int


def read_mark(raw: bytes) -> Mark:
    """The mark of a record."""
    return Mark._make(MARK.unpack(raw))


class Counts(NamedTuple):
    """How many sockets of one network namespace have a holder, to be compared with the kernel's own counts."""

    established: int
    protocols: dict[int, int]
    """IPPROTO_* -> number."""


class HeldSockets:
    """One pass, collected: what can be told of it without making a record of every socket.

    Twenty thousand sockets are 4 MB. They stay as bytes: the loops over them are what a sweep costs.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """Reads it to its end.

        Raises:
            Unavailable: the records make no sense.
        """
        self.raw = b"".join(chunks)
        if len(self.raw) % RECORD.size:
            raise Unavailable("the iterator's records make no sense")
        marks = [mark for (mark,) in _MARK.iter_unpack(self.raw)]
        self._marks = marks
        self.marks = Counter(marks)
        """How many records there are of each mark."""
        self.repeated = self._find_repeated()
        """The heads of sockets with several records, by address; holders by ascending pid, as the kernel goes."""

    @cached_property
    def heads(self) -> list[Head]:
        """Of every record."""
        return list(map(Head._make, HEAD.iter_unpack(self.raw)))

    def _head(self, place: int) -> Head:
        return Head._make(HEAD.unpack_from(self.raw, place * RECORD.size))

    def places(self, marks: Set[bytes]) -> list[int]:
        """Numbers of the records with one of these marks."""
        return [place for place, mark in enumerate(self._marks) if mark in marks]

    def _find_repeated(self) -> dict[int, list[Head]]:
        addresses = [address for (address,) in _ADDRESS.iter_unpack(self.raw)]
        if len(set(addresses)) == len(addresses):
            return {}
        several = {address for address, count in Counter(addresses).items() if count > 1 and address}
        found: dict[int, list[Head]] = {address: [] for address in several}
        for place, address in enumerate(addresses):
            if address in several:
                found[address].append(self._head(place))
        return found

    def counts(self) -> dict[int, Counts]:
        """By network namespace. A socket with several holders counts once."""
        numbers = self.marks.copy()
        for heads in self.repeated.values():
            numbers.subtract(head.mark for head in heads[1:])
        portless = Counter(head[4] for head in self.heads if not head[5])
        found: dict[int, Counts] = {}
        for raw, count in numbers.items():
            mark = read_mark(raw)
            loose = mark.kind == DGRAM  # without a port they are in no table
            known = count - portless[raw] if loose else count
            counts = found.get(mark.net_ns) or Counts(0, {})
            counts.protocols[mark.protocol] = counts.protocols.get(mark.protocol, 0) + known
            established = known if mark.protocol == TCP and mark.state in (ESTABLISHED, _CLOSE_WAIT) else 0
            found[mark.net_ns] = counts._replace(established=counts.established + established)
        return found

    def claimed(self, inodes: Set[int]) -> set[tuple[int, int]]:
        """Protocol and inode of the sockets that have one of these inodes."""
        if not inodes:
            return set()
        places = [place for place, (inode,) in enumerate(_INODE.iter_unpack(self.raw)) if inode in inodes]
        return {(read_mark(self._marks[place]).protocol, self._head(place).inode) for place in places}

    def holders(self, others: bool) -> dict[int, dict[int, int]]:
        """Inode -> pid -> lowest descriptor: of all sockets, or only of those of other families."""
        found: dict[int, dict[int, int]] = {}
        for address, inode, fd, flags, mark, _ in self.heads:
            if not flags & KEEPS_NAMESPACE and not (address and others):
                pids, pid = found.setdefault(inode, {}), read_mark(mark).pid
                pids[pid] = min(fd, pids.get(pid, fd))
        return found

    def namespaces(self) -> list[tuple[int, int]]:
        """Pid and number of descriptors that keep a namespace, of whatever kind."""
        unspecific = {mark for mark in self.marks if not read_mark(mark).family}
        heads = map(self._head, self.places(unspecific))
        return [(read_mark(head.mark).pid, head.fd) for head in heads if head.flags & KEEPS_NAMESPACE]


class _Texts(dict[bytes, str]):
    """Addresses as text, by the sixteen bytes that a record has for them."""

    def __init__(self, family: int) -> None:
        super().__init__()
        self._family, self._width = (socket.AF_INET, 4) if family == INET else (socket.AF_INET6, 16)

    def __missing__(self, raw: bytes) -> str:
        text = self[raw] = socket.inet_ntop(self._family, raw[: self._width])
        return text


class _Kind(NamedTuple):
    """What is made of a mark; flat, because taking it apart by position is what is quick."""

    left_out: bool
    """Not asked for; or a stream that is bound but neither listens nor connects: in no table of the kernel's."""
    ports: bool
    connects: bool
    listens: bool
    stream: bool
    has_tcp: bool
    awaited: Set[tuple[int, bytes]]
    """Where such connections are awaited."""
    texts: _Texts
    key: ProcessKey
    name: str
    container: Container | None
    family: str
    kind: str | None
    protocol: str | None
    state: str | None
    net_ns: int | None
    user: Account | None
    interface: str | None
    gaps: tuple[Gap, ...]
    shape: Shape


class HeldRows:
    """Records of the sockets of one pass."""

    def __init__(self, held: HeldSockets, records: Records, owners: Owners, only: int | None = None) -> None:
        """`only` is the one network namespace that is asked for."""
        self._held = held
        self._records = records
        self._owners = owners
        self._only = only
        self._texts = {family: _Texts(family) for family in (INET, INET6)}
        self._kinds = {raw: self._kind(raw) for raw in held.marks}

    def _kind(self, raw: bytes) -> _Kind:
        mark = read_mark(raw)
        shape = self._records.shape(
            mark.family, mark.kind, mark.protocol, mark.state, mark.uid, mark.net_ns, mark.interface
        )
        owner = self._owners.of_record(mark.pid, mark.start_ns, mark.name, mark.group)
        if mark.family in self._texts:
            self._records.place(shape.net_ns, owner.container)
        stream = mark.kind == STREAM
        silent = stream and mark.state == CLOSED
        foreign = self._only is not None and shape.net_ns != self._only
        return _Kind(
            left_out=silent or foreign or not shape.wanted,
            ports=shape.ports,
            connects=shape.connects,
            listens=shape.listens,
            stream=stream,
            has_tcp=shape.tcp,
            awaited=self._records.listeners.places(shape),
            texts=self._texts.get(mark.family, self._texts[INET]),
            key=owner.key,
            name=owner.name,
            container=owner.container,
            family=shape.family,
            kind=shape.kind,
            protocol=shape.protocol,
            state=shape.state,
            net_ns=shape.net_ns,
            user=shape.user,
            interface=shape.interface,
            gaps=shape.gaps,
            shape=shape,
        )

    def note(self) -> None:
        """Tells who waits where, before any record is made."""
        waiting = {raw for raw, kind in self._kinds.items() if kind.listens}
        for place in self._held.places(waiting):
            row = RECORD.unpack_from(self._held.raw, place * RECORD.size)
            self._records.listeners.add(self._kinds[row[5]].shape, row[6], row[8])

    def sockets(self) -> Iterator[Socket]:
        """Every socket that the request asks for.

        The loop is long because it runs for every socket of the host: each call in it would cost milliseconds.
        """
        kinds, repeated, told = self._kinds, self._held.repeated, set[int]()
        for (
            address, inode, cookie, fd, _, mark, port, remote_port, local, remote, backlog, limit, receive, send, rtt,
            variation, retransmits, window, segment, sent, acked, received,
        ) in RECORD.iter_unpack(self._held.raw):  # fmt: skip
            (
                left_out, ports, connects, listens, stream, has_tcp, awaited, texts, key, name, container, family, kind,
                protocol, state, net_ns, user, interface, gaps, _,
            ) = kinds[mark]  # fmt: skip
            if left_out or not address or (ports and not port):
                continue
            owners: tuple[SocketOwner, ...] = (SocketOwner(key, name, fd),)
            if address in repeated:
                if address in told:
                    continue
                told.add(address)
                owners, container = self._all(repeated[address])
            direction = there = tcp = None
            if remote_port or remote != _ANYWHERE:
                there = Endpoint(texts[remote], remote_port if ports else None)
                if connects:
                    # What was accepted has its listener's backlog limit, because it began as a copy of it
                    # (inet_csk_clone_lock); what connects has 0.
                    inbound = (limit and stream) or (port, local) in awaited or (port, _ANYWHERE) in awaited
                    direction = INBOUND if inbound else OUTBOUND
            elif listens:
                direction = LISTENING
            here = Endpoint(texts[local], port if ports else None)
            if has_tcp:
                smooth, vary = (rtt // 8 * 1000, variation // 4 * 1000) if rtt else (None, None)
                payload = acked if acked < sent else sent  # the kernel counts the SYN as acknowledged
                tcp = TcpState(smooth, vary, retransmits, sent, payload, received, window, segment)
            if stream and listens:
                yield Socket(
                    family, kind, protocol, state, here, there, inode, net_ns, cookie or None, owners, user, interface,
                    direction, backlog, limit, None, None, None, tcp, None, container, None, gaps,
                )  # fmt: skip
            else:
                yield Socket(
                    family, kind, protocol, state, here, there, inode, net_ns, cookie or None, owners, user, interface,
                    direction, None, None, receive, send, None, tcp, None, container, None, gaps,
                )  # fmt: skip

    def _all(self, heads: list[Head]) -> tuple[tuple[SocketOwner, ...], Container | None]:
        """All who hold a socket, each with its lowest descriptor, by ascending pid."""
        lowest: dict[ProcessKey, tuple[_Kind, int]] = {}
        for head in heads:
            kind = self._kinds[head.mark]
            lowest[kind.key] = kind, min(head.fd, lowest.get(kind.key, (kind, head.fd))[1])
        known = sorted(lowest.values(), key=lambda entry: entry[0].key.pid)
        owners = tuple(SocketOwner(kind.key, kind.name, fd) for kind, fd in known)
        return owners, next((kind.container for kind, _ in known if kind.container), None)
