"""A recording, opened: its small answers are in memory, its rows are read again whenever they are asked for."""

import gzip
import os
import stat
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any, BinaryIO, TypeVar, cast

from hostscope.errors import UsageError
from hostscope.model.process import Process
from hostscope.platforms.replay import translate
from hostscope.platforms.replay.layout import ROWS, SWEEP, Call, Failure, Header, Line
from hostscope.platforms.replay.parse import (
    MAX_LINE_BYTES,
    parse_answer,
    parse_end,
    parse_header,
    parse_kind,
    parse_line,
)

MAX_KEPT_BYTES = 256 << 20
"""Of answers other than rows, which are kept in memory."""
GZIP_MAGIC = b"\x1f\x8b"

Body = TypeVar("Body")
Place = tuple[str, str | None]
"""Name of a call, and its argument."""


class Recording:
    """What one file holds."""

    def __init__(self, path: str, header: Header, answers: dict[Place, object], cut: str | None, unknown: int) -> None:
        self.path = path
        self.header = header
        self.cut = cut
        """How the file is incomplete; None when it is whole."""
        self.unknown = unknown
        """Lines of kinds that this version does not know."""
        self._answers = answers

    def answer(self, call: Call[Body], of: str | None = None) -> Body:
        """What the host answered.

        Raises:
            Unsupported: the recording has no such answer.
            Error: what the host raised instead.
        """
        place = (call.name, of)
        if place not in self._answers:
            raise translate.not_recorded(call.name)
        found = self._answers[place]
        if isinstance(found, Failure):
            raise translate.error(found)
        return cast(Body, found)

    def has(self, call: Call[Any]) -> bool:
        """Whether there is an answer, or a failure, to a call without an argument."""
        return (call.name, None) in self._answers

    def rows(self) -> Iterator[Process | str]:
        """The recorded processes in their order; for a row that is none, what is wrong with it.

        Raises:
            UsageError: the file cannot be read any more.
        """
        return self.rows_of(SWEEP)

    def rows_of(self, call: Call[Body]) -> Iterator[Body | str]:
        """The recorded rows of a sweep; see `rows`."""
        with closing(read_lines(self.path)) as lines:
            next(lines, None)
            for number, raw in lines:
                try:
                    line = parse_line(raw)
                    if parse_kind(line) is call:
                        yield _parse_row(call, line)
                except ValueError as failed:
                    # A last line without its end was cut off; `cut` tells.
                    if raw.endswith(b"\n"):
                        yield f"{self.path}:{number}: {failed}"


def _parse_row(call: Call[Body], line: Line) -> Body:
    row = parse_answer(call, line)
    if isinstance(row, Failure):
        raise ValueError(f"{row.error}: {row.message}")
    return row


def open_recording(path: str) -> Recording:
    """Reads a recording through, once.

    Raises:
        UsageError: no such file, not a recording, or a damaged line; with ``path:line``.
    """
    scan = _Scan()
    with closing(read_lines(path)) as lines:
        try:
            number, raw = next(lines, (1, b""))
            header = parse_header(raw)
            for number, raw in lines:  # noqa: B007 - named in the error
                scan.add(raw)
        except UsageError:
            raise
        except ValueError as failed:
            raise UsageError(f"{path}:{number}: {failed}", "make one with: hostscope record FILE") from failed
    return Recording(path, header, scan.answers, scan.cut(), scan.unknown)


def read_lines(path: str) -> Generator[tuple[int, bytes], None, None]:
    """Numbered lines of a file, gzipped or not, each at most `MAX_LINE_BYTES` long.

    Ends early, without a word, where a gzip stream was cut off: the end line is missing then.

    Raises:
        UsageError: unreadable, or a line is too long.
    """
    with ExitStack() as stack:
        try:
            file = _open(path, stack)
        except OSError as failed:
            raise UsageError(f"cannot read {path}: {failed.strerror or failed}") from failed
        number = 1
        while line := _read_line(file, path, number):
            yield number, line
            number += 1


def _open(path: str, stack: ExitStack) -> BinaryIO:
    if not stat.S_ISREG(os.stat(path).st_mode):
        # Rows are read again for every sweep: a pipe could not give them twice.
        raise UsageError(f"{path}: not a regular file")
    file = stack.enter_context(open(path, "rb"))  # noqa: SIM115
    if file.peek(2)[:2] == GZIP_MAGIC:
        return cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=file)))
    return file


def _read_line(file: BinaryIO, path: str, number: int) -> bytes:
    try:
        line = file.readline(MAX_LINE_BYTES + 1)
    except EOFError:
        return b""
    except (OSError, zlib.error) as failed:
        raise UsageError(f"{path}:{number}: damaged: {failed}") from failed
    if len(line) > MAX_LINE_BYTES:
        raise UsageError(f"{path}:{number}: longer than {MAX_LINE_BYTES >> 20} MiB")
    return line


class _Scan:
    """One pass over the lines after the header."""

    def __init__(self) -> None:
        self.answers: dict[Place, object] = {}
        self.unknown = 0
        self._lines = 0
        self._promised: int | None = None
        self._kept_bytes = 0

    def add(self, raw: bytes) -> None:
        """Takes one line; one that the file's end cut off counts for nothing.

        Raises:
            ValueError
        """
        if self._promised is not None:
            raise ValueError("there is text after the recording's end")
        try:
            line = parse_line(raw)
        except ValueError:
            if raw.endswith(b"\n"):
                raise
            return
        if line.call == "end":
            self._promised = parse_end(line)
        else:
            self._lines += 1
            self._take(line)

    def _take(self, line: Line) -> None:
        kind = parse_kind(line)
        if kind is None:
            self.unknown += 1
        elif kind.name not in ROWS:
            self._kept_bytes += len(bytes(line.body))
            if self._kept_bytes > MAX_KEPT_BYTES:
                raise ValueError(f"more than {MAX_KEPT_BYTES >> 20} MiB of answers beside the rows")
            self.answers[kind.name, line.of] = parse_answer(kind, line)

    def cut(self) -> str | None:
        """How the recording is incomplete."""
        if self._promised is None:
            return "the recording was cut short: its end is missing"
        if self._promised != self._lines:
            return f"the recording holds {self._lines} of the {self._promised} lines that were written"
        return None
