"""Maps and global variables of loaded programs, as user space reads and writes them."""

import errno
import mmap
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from hostscope.platforms.linux.native import bpf

HASH, ARRAY, PROGRAM_ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH, RING = 1, 2, 3, 5, 6, 9, 10, 27
PER_CPU = frozenset({PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH})
LOCAL_STORAGE = frozenset({24, 28, 29, 32})
"""Values kept in a socket, inode, task or cgroup: the kernel wants their types."""
ANY, ONLY_NEW, ONLY_KNOWN = 0, 1, 2

_PIECE_BYTES, _LEAST_PIECE = 1 << 20, 64
"""What one call reads of a map: so much, but at least so many elements."""
_ENOTSUPP = 524
"""The kernel's own number, which C libraries do not know."""
_NO_BATCH = frozenset({errno.EINVAL, errno.EOPNOTSUPP, _ENOTSUPP})


class Elements(NamedTuple):
    """Several elements of a map. Element `n` is ``keys[n * key_bytes:]``, ``values[n * stride_bytes:]``."""

    number: int
    keys: bytes
    values: bytes


def parse_cpus(text: str) -> int:
    """How many CPUs a list such as ``0-3,8`` names. Pure."""
    ranges = (part.partition("-") for part in text.strip().split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


@cache
def count_possible_cpus() -> int:
    """How many shares a per-CPU value has; gaps in the numbering are left out. It never changes while Linux runs."""
    with open("/sys/devices/system/cpu/possible") as file:
        return parse_cpus(file.read())


class Map:
    """A map of loaded programs. Its descriptor belongs to the programs and is closed with them."""

    def __init__(self, fd: int, name: str, kind: int, key_bytes: int, value_bytes: int, entries: int) -> None:
        self.fd, self.name, self.kind = fd, name, kind
        self.key_bytes, self.value_bytes, self.entries = key_bytes, value_bytes, entries
        self.cpus = count_possible_cpus() if kind in PER_CPU else 1
        """Shares in each value; 1 where all CPUs have one."""
        rounded = (value_bytes + 7) & ~7
        self.stride_bytes = rounded * self.cpus if kind in PER_CPU else value_bytes
        """Bytes of one element in `Elements.values`; of kinds that are per CPU, the share of CPU n begins at
        ``n * (value_bytes rounded up to 8)``."""

    def lookup(self, key: bytes) -> bytes | None:
        """The value of one element, of all CPUs; None when there is none. Cost: one system call."""
        try:
            return bpf.map_lookup(self.fd, self._checked(key), self.stride_bytes)
        except FileNotFoundError:
            return None

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Sets one element, for all CPUs.

        Raises:
            OSError: EEXIST or ENOENT as `flags` demand; E2BIG when the map is full.
        """
        if len(value) != self.stride_bytes:
            raise ValueError(f"{self.name}: a value has {self.stride_bytes} bytes, not {len(value)}")
        bpf.map_update(self.fd, self._checked(key), value, flags)

    def push(self, value: bytes) -> None:
        """Puts an element at the end of a queue. Raises `OSError` (E2BIG) when it is full."""
        self.update(b"", value)

    def delete(self, key: bytes) -> bool:
        """Removes one element; whether it was there."""
        try:
            bpf.map_delete(self.fd, self._checked(key))
        except FileNotFoundError:
            return False
        return True

    def read(self, delete: bool = False) -> Elements:
        """All elements; with `delete`, removes exactly those that it returns (hashes only).

        Elements that programs add or change meanwhile may or may not be seen; none is seen twice.
        Cost: a system call for each MiB, two or three for each element where the kernel cannot batch (before 5.6).
        """
        pieces = list(self.pieces(delete))
        if len(pieces) == 1:
            return pieces[0]
        return Elements(
            sum(piece.number for piece in pieces),
            b"".join(piece.keys for piece in pieces),
            b"".join(piece.values for piece in pieces),
        )

    def pieces(self, delete: bool = False) -> Iterator[Elements]:
        """The same, about a MiB at a time."""
        most = max(_LEAST_PIECE, min(self.entries, _PIECE_BYTES // (self.key_bytes + self.stride_bytes)))
        batch = bpf.MapBatch(self.fd, self.key_bytes, self.stride_bytes, most, delete)
        begun = last = False
        while not last:
            try:
                count, keys, values, last = batch.read()
            except OSError as failed:
                if failed.errno == errno.ENOSPC and batch.most < 2 * self.entries:
                    batch.grow(batch.most * 2)
                    continue
                if begun or failed.errno not in _NO_BATCH:
                    raise
                yield self._read_singly(delete)
                return
            begun = True
            if count:
                yield Elements(count, keys, values)

    def _read_singly(self, delete: bool) -> Elements:
        """An element that goes away under our feet makes the kernel begin again: so the steps are counted, and what
        was seen is not taken again."""
        found: dict[bytes, bytes] = {}
        seen: set[bytes] = set()
        key = None
        for _ in range(2 * self.entries + 1):
            try:
                key = bpf.map_next_key(self.fd, key, self.key_bytes)
            except FileNotFoundError:
                break
            if key not in seen and (value := self.lookup(key)) is not None:
                found[key] = value
            seen.add(key)
        if delete:
            found = {key: value for key, value in found.items() if self.delete(key)}
        return Elements(len(found), b"".join(found), b"".join(found.values()))

    def _checked(self, key: bytes) -> bytes:
        if len(key) != self.key_bytes:
            raise ValueError(f"{self.name}: a key has {self.key_bytes} bytes, not {len(key)}")
        return key


class Variable:
    """One global variable of loaded programs, in memory that they share with us: no system call to read or write."""

    def __init__(self, memory: mmap.mmap, offset: int, size: int) -> None:
        self._memory, self._offset, self.size_bytes = memory, offset, size

    @property
    def raw(self) -> bytes:
        """Its bytes. Raises `ValueError` once the programs are closed."""
        return self._memory[self._offset : self._offset + self.size_bytes]

    @raw.setter
    def raw(self, content: bytes) -> None:
        self._memory[self._offset : self._offset + self.size_bytes] = content

    @property
    def value(self) -> int:
        """As an unsigned number. Up to 8 aligned bytes are read at once, so a counter is never seen half written."""
        return int.from_bytes(self.raw, "little")

    @value.setter
    def value(self, number: int) -> None:
        self.raw = number.to_bytes(self.size_bytes, "little")
