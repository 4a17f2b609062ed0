"""One pass over all descriptors, collected: the records of bpf/sockets.bpf.c, column by column.

Records stay bytes until a column of them is taken, by a strided view: that takes 10 ns a number, where
making a tuple of each record takes 250.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from functools import cached_property
from itertools import compress, count, islice, pairwise
from operator import ne
from typing import Literal, NamedTuple

from hostscope.errors import Unavailable
from hostscope.platforms.linux.socket_facts import CLOSE_WAIT, DGRAM, ESTABLISHED, INET, INET6, TCP

RECORD = struct.Struct("<3Q40s24s16s16sIHH4I5Q4I")
"""struct record of bpf/sockets.bpf.c; `holder` and `shape` as one slice each."""
HOLDER = struct.Struct("<QQ16sII")
SHAPE = struct.Struct("<4H4I")
KEEPS_NAMESPACE = 1
ANYWHERE = bytes(16)
BLOCK = 1024
"""Records that are turned around at once: 200 KB, and as much again of columns."""
LONG = 64
"""Records of one mark and holder that are worth columns of their own."""
_BYTES = RECORD.size
_FD = struct.Struct("<I")


class Field(NamedTuple):
    """Where a field of a record is."""

    offset: int
    width: int


SOCK, INODE, COOKIE, HOLDING, MARKED = Field(0, 8), Field(8, 8), Field(16, 8), Field(24, 40), Field(24, 64)
LOCAL, REMOTE, FD, LOCAL_PORT, REMOTE_PORT = Field(88, 16), Field(104, 16), Field(120, 4), Field(124, 2), Field(126, 2)
BACKLOG, BACKLOG_LIMIT, RECEIVE, SEND = Field(128, 4), Field(132, 4), Field(136, 4), Field(140, 4)
RTT, VARIATION, SENT, ACKED, RECEIVED = Field(144, 8), Field(152, 8), Field(160, 8), Field(168, 8), Field(176, 8)
RETRANSMITS, WINDOW, SEGMENT = Field(184, 4), Field(188, 4), Field(192, 4)
_CODES: dict[int, Literal["Q", "I", "H"]] = {8: "Q", 4: "I", 2: "H"}
"""Machine order, which is the programs' order: they are made for little-endian machines only."""


class Holder(NamedTuple):
    """A process with sockets, as a record has it. Equal bytes mean the same process."""

    start_ns: int
    group: int
    """Address of its set of control groups."""
    name: bytes
    pid: int
    zero: int


class Mark(NamedTuple):
    """What sockets have in common, as a record has it."""

    family: int
    kind: int
    protocol: int
    state: int
    uid: int
    net_ns: int
    interface: int
    flags: int

    @property
    def is_inet(self) -> bool:
        """Whether a record tells more than that there is a socket of this family."""
        return self.family in (INET, INET6)


def read_holder(raw: bytes) -> Holder:
    """The process of a record."""
    return Holder._make(HOLDER.unpack(raw))


_NO_MARK = Mark(*[0] * 8)


def read_mark(raw: bytes) -> Mark:
    """What the sockets of a record have in common."""
    return Mark._make(SHAPE.unpack(raw))


class Alike:
    """Records that have one mark in common."""

    def __init__(self, mark: Mark, raw: bytes | memoryview, holder: bytes | None = None) -> None:
        """`holder`: of all of them, when they have one holder."""
        self.mark = mark
        self.holder = holder
        self._view = memoryview(raw)

    def __len__(self) -> int:
        return len(self._view) // _BYTES

    def numbers(self, field: Field) -> list[int]:
        """A column of numbers."""
        view = self._view.cast(_CODES[field.width])
        return view[field.offset // field.width :: _BYTES // field.width].tolist()

    def slices(self, field: Field) -> list[bytes]:
        """A column as it is. Cost: three times that of numbers."""
        rest = _BYTES - field.offset - field.width
        return [piece for (piece,) in struct.iter_unpack(f"{field.offset}x{field.width}s{rest}x", self._view)]

    def only(self, kept: Iterable[object]) -> "Alike":
        """Those of the records for which `kept` has something true."""
        return Alike(self.mark, b"".join(compress(self.slices(Field(0, _BYTES)), kept)), self.holder)

    def blocks(self) -> "Iterator[Alike]":
        """The same records, few enough at a time for their columns to stay in the processor's cache."""
        pieces = range(0, len(self._view), BLOCK * _BYTES)
        return (Alike(self.mark, self._view[start : start + BLOCK * _BYTES], self.holder) for start in pieces)

    @cached_property
    def holders(self) -> list[bytes]:
        """Of every record."""
        return self.slices(HOLDING) if self.holder is None else [self.holder] * len(self)


class Held(NamedTuple):
    """One descriptor of a socket that has several."""

    holder: bytes
    fd: int


class Counts(NamedTuple):
    """How many sockets of one network namespace have a holder, to be compared with the kernel's own counts."""

    established: int
    protocols: dict[int, int]
    """IPPROTO_* -> number."""


class HeldSockets:
    """One pass: what can be told of it without making a record of every socket."""

    def __init__(self, raw: bytes | memoryview) -> None:
        """Takes all of what the kernel wrote, and refers to it.

        Raises:
            Unavailable: the records make no sense.
        """
        if len(raw) % _BYTES:
            raise Unavailable("the iterator's records make no sense")
        self._view = memoryview(raw)
        self._addresses, self._inodes, self._marks = list[int](), list[int](), list[bytes]()
        for block in Alike(_NO_MARK, raw).blocks():
            self._addresses += block.numbers(SOCK)
            self._inodes += block.numbers(INODE)
            self._marks += block.slices(MARKED)
        self.repeated: dict[int, list[Held]] = {}
        """All who hold a socket that has several records, by its address; as the kernel goes, by ascending pid."""
        self.alike = tuple(self._grouped(self._find_repeated()))
        """Every socket once, by what they have in common. What is no inet socket comes as often as it is held."""

    def _find_repeated(self) -> set[int]:
        """Places of sockets that had a record before."""
        addresses, later = self._addresses, set[int]()
        if len(set(self._inodes)) == len(addresses):  # numbers in a row hash well, aligned addresses do not
            return later
        times = Counter(addresses)
        for place, address in enumerate(addresses):
            if address and times[address] > 1:
                if address in self.repeated:
                    later.add(place)
                self.repeated.setdefault(address, []).append(self._held(place))
        return later

    def _held(self, place: int) -> Held:
        (fd,) = _FD.unpack_from(self._view, place * _BYTES + FD.offset)
        return Held(self._marks[place][: HOLDING.width], fd)

    def _grouped(self, left_out: Set[int]) -> Iterator[Alike]:
        """Records by mark. They come by process: those of one mark and holder stand together, and long runs stay where
        they are; short ones are put together."""
        marks, short = self._marks, dict[bytes, list[memoryview]]()
        changes = compress(count(1), map(ne, marks, islice(marks, 1, None)))
        edges = sorted({0, *changes, *left_out, *(place + 1 for place in left_out), len(marks)})
        for start, end in pairwise(edges):
            if start in left_out:
                continue
            piece, mark = self._view[start * _BYTES : end * _BYTES], marks[start]
            if end - start < LONG:
                short.setdefault(mark[HOLDING.width :], []).append(piece)
            else:
                yield Alike(read_mark(mark[HOLDING.width :]), piece, mark[: HOLDING.width])
        for mark, pieces in short.items():
            yield Alike(read_mark(mark), b"".join(pieces))

    def of_inet(self) -> Iterator[Alike]:
        """Those that records tell of."""
        return (alike for alike in self.alike if alike.mark.is_inet)

    def counts(self) -> dict[int, Counts]:
        """By network namespace. A socket with several holders counts once."""
        found: dict[int, Counts] = {}
        for alike in self.of_inet():
            mark, known = alike.mark, len(alike)
            if mark.kind == DGRAM:  # without a port they are in no table
                known -= alike.numbers(LOCAL_PORT).count(0)
            counts = found.get(mark.net_ns) or Counts(0, {})
            counts.protocols[mark.protocol] = counts.protocols.get(mark.protocol, 0) + known
            established = known if mark.protocol == TCP and mark.state in (ESTABLISHED, CLOSE_WAIT) else 0
            found[mark.net_ns] = counts._replace(established=counts.established + established)
        return found

    def claimed(self, inodes: Set[int]) -> set[tuple[int, int]]:
        """Protocol and inode of the sockets that have one of these inodes."""
        if not inodes:
            return set()
        return {
            (read_mark(mark[HOLDING.width :]).protocol, inode)
            for mark, inode in zip(self._marks, self._inodes, strict=True)
            if inode in inodes
        }

    def holders(self, others: bool) -> dict[int, dict[int, int]]:
        """Inode -> pid -> lowest descriptor: of all sockets, or only of those of other families."""
        found: dict[int, dict[int, int]] = {}
        for place, (address, inode) in enumerate(zip(self._addresses, self._inodes, strict=True)):
            if address and others:
                continue
            holder, fd = self._held(place)
            if not read_mark(self._marks[place][HOLDING.width :]).flags & KEEPS_NAMESPACE:
                pids, pid = found.setdefault(inode, {}), read_holder(holder).pid
                pids[pid] = min(fd, pids.get(pid, fd))
        return found

    def namespaces(self) -> list[tuple[int, int]]:
        """Pid and number of descriptors that keep a namespace, of whatever kind."""
        keepers = (alike for alike in self.alike if alike.mark.flags & KEEPS_NAMESPACE)
        held = (pair for alike in keepers for pair in zip(alike.holders, alike.numbers(FD), strict=True))
        return [(read_holder(holder).pid, fd) for holder, fd in held]
