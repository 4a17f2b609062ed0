"""Sockets and who holds them by one read of the kernel's iterator over all descriptors: bpf/sockets.bpf.c.

One pass tells the process, the descriptor and what the kernel knows of the socket, in every network namespace at once.
Sockets that no process holds are not in it; `socket_sources` asks for those.
"""

import os
import struct
import weakref
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager
from itertools import islice
from types import TracebackType

from hostscope.errors import Unavailable, Unsupported
from hostscope.platforms.linux import program_cache, translate
from hostscope.platforms.linux.iterator import obstacle
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.net_namespaces import Member
from hostscope.platforms.linux.socket_columns import HeldSockets
from hostscope.platforms.linux.socket_facts import TCP, UDP

HELD, HELD_STRANGERS, MEMBERS = "held", "held_strangers", "members"
FILES = {TCP: "tcp_files", UDP: "udp_files"}
"""By protocol."""
MOST_STRANGERS = 65536
READ_BYTES = 1 << 16
"""The kernel fills a buffer of 32 KiB between reads."""
FIRST_BYTES = 1 << 20
"""Of a buffer; what is not written to costs nothing."""
MEMBER = struct.Struct("<3I4x")
ANSWER = struct.Struct("<QI4x")


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
        self.only_inet = only_inet
        self._buffers: dict[str, bytearray] = {}
        self._programs = Programs(found.image, {"only_inet": int(only_inet)})
        try:
            self._programs.attach(HELD)
        except BaseException:
            self._programs.close()
            raise

    def held(self) -> HeldSockets:
        """One pass; what it returns is good until the next one.

        Cost: 0.9 us a socket, half of which the kernel takes for walking descriptors.
        """
        return HeldSockets(self._read(HELD))

    def held_of(self, inodes: Iterable[int]) -> HeldSockets:
        """Another pass for a few sockets, at most `MOST_STRANGERS`. Cost: 0.15 us a descriptor of the host."""
        with self._naming("strangers", islice(inodes, MOST_STRANGERS)):
            return HeldSockets(self._read(HELD_STRANGERS))

    def have_files(self, protocol: int, cookies: Set[int]) -> dict[int, bool]:
        """Whether a file stands for sockets of the network namespace that the calling thread is in, by cookie; at most
        `MOST_STRANGERS`. The kernel's own sockets have none. Those that closed meanwhile are not in it.

        Cost: until the last one is found, 0.1 us a socket of the host; listeners come first.
        """
        asked = set(islice(cookies, MOST_STRANGERS))
        with self._naming("unheld", asked):
            fd, found = self._programs.open_pass(FILES[protocol]), dict[int, bool]()
            try:
                room = memoryview(bytearray(ANSWER.size))  # for one, so that the kernel stops there
                while len(found) < len(asked) and _read_into(fd, room):
                    cookie, has_file = ANSWER.unpack(room)
                    found[cookie] = bool(has_file)
            finally:
                os.close(fd)
        return found

    @contextmanager
    def _naming(self, name: str, numbers: Iterable[int]) -> Iterator[None]:
        """These in a map while the block runs; the next one begins with none."""
        named, keys = self._programs.map(name), [number.to_bytes(8, "little") for number in numbers]
        try:
            for key in keys:
                named.update(key, b"\1")
            yield
        finally:
            for key in keys:
                named.delete(key)

    def members(self) -> list[Member]:
        """Processes of every network and mount namespace that has any. Cost: 0.1 us a process."""
        raw = self._read(MEMBERS)
        if len(raw) % MEMBER.size:
            raise Unavailable("the iterator's records make no sense")
        return list(map(Member._make, MEMBER.iter_unpack(raw)))

    def _read(self, program: str) -> memoryview:
        """All that a program writes, in a buffer that is kept: the kernel need not find new memory for every sweep."""
        fd, size = self._programs.open_pass(program), 0
        buffer = self._buffers.setdefault(program, bytearray(FIRST_BYTES))
        try:
            while count := _read_into(fd, memoryview(buffer)[size:]):
                size += count
                if len(buffer) - size < READ_BYTES:
                    buffer = self._buffers[program] = buffer + bytes(len(buffer))
        finally:
            os.close(fd)
        return memoryview(buffer)[:size]

    def close(self) -> None:
        """Takes the program out of the kernel."""
        self._programs.close()

    def __enter__(self) -> "SocketIterator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _read_into(fd: int, room: memoryview) -> int:
    while True:
        try:
            return os.readv(fd, [room])
        except BlockingIOError:  # a million descriptors in a row were of no use; the next read goes on behind them
            continue
        except OSError as failed:
            raise translate.error("read the iterator", failed) from failed


class KeptIterators:
    """The iterator of the last sweep, kept in the kernel for the next one: loading it takes as long as three thousand
    sockets. It runs only while a sweep reads.

    Several sweeps at once each have their own; the last one to end leaves its iterator.
    """

    def __init__(self) -> None:
        self._kept: list[SocketIterator] = []
        weakref.finalize(self, _close_all, self._kept)

    @contextmanager
    def lend(self, only_inet: bool) -> Iterator[SocketIterator]:
        """One that nobody else reads from; it is kept when the block ends well. Raises: as `SocketIterator`."""
        iterator = self._take(only_inet)
        with ExitStack() as failed:
            failed.push(iterator)
            yield iterator
            failed.pop_all()
        kept, self._kept[:] = self._kept[:], [iterator]
        _close_all(kept)

    def _take(self, only_inet: bool) -> SocketIterator:
        while self._kept:
            iterator = self._kept.pop()
            if iterator.only_inet == only_inet:
                return iterator
            iterator.close()
        return SocketIterator(only_inet)


def _close_all(kept: list[SocketIterator]) -> None:
    while kept:
        kept.pop().close()
