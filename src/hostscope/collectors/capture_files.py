"""Capture files: whole blocks appended one after the other, so that a file is valid at any moment.

What a killed process leaves lacks at most the end of the write that was under way; readers say so and give the rest.
"""

import errno
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from time import gmtime, strftime, time_ns
from typing import Protocol

import numpy as np
from msgspec import Struct

from hostscope.errors import Error, UsageError
from hostscope.model.capture import CaptureOutput
from hostscope.private import Override, close_to_others, open_as_it_is, permitted
from hostscope.wire.batch import I64
from hostscope.wire.pcapng_write import Encoded

STANDARD_OUTPUT = "-"
MODE = 0o600
_PIECE_BYTES = 1 << 20
_EFFECTIVE = os.access in os.supports_effective_ids


class Parts(Protocol):
    """What stands around the packets of a file."""

    def head(self) -> bytes:
        """Blocks before the first packet."""

    def tail(self) -> bytes:
        """Blocks after the last one."""


class CaptureFile:
    """One file that is being written, or standard output."""

    def __init__(self, path: str, head: bytes, override: Override) -> None:
        """
        Raises:
            UsageError: it cannot be written.
        """
        self.path = path
        self.bytes = 0
        self.began_ns = time_ns()
        self._override = override
        self._fd = sys.stdout.fileno() if path == STANDARD_OUTPUT else _opened(path, override)
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode) and path != STANDARD_OUTPUT
        self.write(memoryview(head))
        self._head_bytes = self.bytes

    @property
    def fresh(self) -> bool:
        """Whether it has no packets yet."""
        return self.bytes == self._head_bytes

    def write(self, blocks: memoryview) -> None:
        """Appends whole blocks, all of them or none.

        Raises:
            OSError: the disk is full, or nobody reads the pipe any more.
        """
        done = 0
        try:
            while done < len(blocks):
                done += os.write(self._fd, blocks[done : done + _PIECE_BYTES])
        except BaseException:
            if self._regular:
                os.ftruncate(self._fd, self.bytes)
            raise
        self.bytes += len(blocks)

    def close(self) -> None:
        """Closes it; standard output stays open."""
        if self.path != STANDARD_OUTPUT:
            os.close(self._fd)


class CaptureFiles:
    """Writes packets to a file, or to one after the other."""

    def __init__(self, output: CaptureOutput, parts: Parts, override: Override) -> None:
        self.paths: list[str] = []
        self.packets = self.bytes = 0
        self._output, self._parts, self._override = output, parts, override
        self._several = bool(output.rotate_bytes or output.rotate_ns or output.last_ns)
        self._made = 0
        self._file: CaptureFile | None = None

    def begin(self) -> None:
        """Opens the next file.

        Raises:
            UsageError: it cannot be written.
        """
        self._made += 1
        path = numbered(self._output.path, self._made, time_ns()) if self._several else self._output.path
        head = self._parts.head()
        self._file = CaptureFile(path, head, self._override)
        self.bytes += len(head)
        self.paths.append(path)
        while self._output.keep and len(self.paths) > self._output.keep:
            self._forget(self.paths.pop(0))

    def write(self, encoded: Encoded, at_ns: I64) -> None:
        """Appends the packets of a batch; where the limits say so, the rest goes to the next file."""
        first, count = 0, len(at_ns)
        while first < count:
            file = self._file or self._begun()
            last = self._fitting(file, encoded, at_ns, first)
            if last > first:
                blocks = encoded.part(first, last)
                file.write(blocks)
                self.packets += last - first
                self.bytes += len(blocks)
            if last < count:
                self.end()
            first = last

    def end(self) -> None:
        """Completes the file that is open, if one is."""
        file, self._file = self._file, None
        if file is None:
            return
        tail = self._parts.tail()
        try:
            file.write(memoryview(tail))
            self.bytes += len(tail)
        finally:
            file.close()

    def drop(self) -> None:
        """Closes the file that is open as it is: nothing more can be written to it."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begun(self) -> CaptureFile:
        self.begin()
        assert self._file is not None
        return self._file

    def _fitting(self, file: CaptureFile, encoded: Encoded, at_ns: I64, first: int) -> int:
        """Up to which packet the file takes them; at least one where it has none yet."""
        last = len(at_ns)
        if self._output.rotate_bytes:
            room = self._output.rotate_bytes - file.bytes + int(encoded.starts[first])
            last = int(np.searchsorted(encoded.starts, room, "right")) - 1
        if self._output.rotate_ns:
            late = np.flatnonzero(at_ns[first:last] >= file.began_ns + self._output.rotate_ns)
            last = first + int(late[0]) if len(late) else last
        return max(first + file.fresh, min(last, len(at_ns)))

    def _forget(self, path: str) -> None:
        with suppress(FileNotFoundError):
            permitted(partial(os.unlink, path), self._override)


class _Piece(Struct, frozen=True, eq=False):
    encoded: Encoded
    at_ns: I64


class Window:
    """The last packets, in memory: so many seconds, and never more than so many bytes."""

    def __init__(self, last_ns: int, most_bytes: int) -> None:
        self.bytes = self.packets = 0
        self.forgotten = 0
        """Packets that went for want of room."""
        self._last_ns, self._most_bytes = last_ns, most_bytes
        self._pieces: deque[_Piece] = deque()

    def add(self, encoded: Encoded, at_ns: I64) -> None:
        """Keeps the packets of a batch; where there is no room, forgets the oldest."""
        self._pieces.append(_Piece(encoded, at_ns.copy()))
        self.bytes += encoded.data.nbytes + at_ns.nbytes
        self.packets += len(at_ns)
        while self.bytes > self._most_bytes and len(self._pieces) > 1:
            self.forgotten += self._drop()

    def expire(self, now_ns: int) -> None:
        """Forgets what is too old by now."""
        while self._pieces and int(self._pieces[0].at_ns[-1]) < now_ns - self._last_ns:
            self._drop()

    def take(self, now_ns: int) -> Iterator[tuple[Encoded, I64]]:
        """Everything within the time, in order; it is not kept any longer."""
        while self._pieces:
            piece = self._pieces[0]
            late = np.flatnonzero(piece.at_ns >= now_ns - self._last_ns)
            if len(late):
                first = int(late[0])
                yield Encoded(piece.encoded.data, piece.encoded.starts[first:]), piece.at_ns[first:]
            self._drop()

    def _drop(self) -> int:
        piece = self._pieces.popleft()
        self.bytes -= piece.encoded.data.nbytes + piece.at_ns.nbytes
        self.packets -= len(piece.at_ns)
        return len(piece.at_ns)


def numbered(path: str, number: int, at_ns: int) -> str:
    """``a.pcapng`` -> ``a-00001-20260301T120000Z.pcapng``."""
    stem, ending = os.path.splitext(path)
    return f"{stem}-{number:05}-{strftime('%Y%m%dT%H%M%SZ', gmtime(at_ns // 1_000_000_000))}{ending}"


def require_place(path: str, override: Override) -> None:
    """Checks that files can be made beside `path`, long before the first one is.

    Raises:
        UsageError: they cannot.
    """
    folder = os.path.dirname(path) or "."
    with nullcontext() if _is_place(folder) else override():
        if not _is_place(folder):
            raise UsageError(f"cannot write to the directory {folder}", "give --output FILE in another one")


def _is_place(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE)


def _opened(path: str, override: Override) -> int:
    """A new file of ours alone, for which one of that name goes. Pipes and devices are written as they are."""
    try:
        return permitted(partial(_open, path), override)
    except OSError as failed:
        if isinstance(failed, Error):
            raise
        told = "it is a symbolic link: name the file itself" if os.path.islink(path) else failed.strerror
        raise UsageError(f"cannot write {path}: {told}") from None


def _open(path: str) -> int:
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):  # a look before, where opening cannot refuse links
        raise OSError(errno.ELOOP, "a symbolic link")
    flags = os.O_WRONLY
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):  # as far as the system has them
        flags |= getattr(os, name, 0)
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return open_as_it_is(path, flags)
        os.unlink(path)  # whoever made it, or has it open, could read on
    fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
    close_to_others(path)
    return fd
