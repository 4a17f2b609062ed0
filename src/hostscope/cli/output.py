"""Where output goes: a terminal, a pipe, or a file that appears whole or not at all."""

import codecs
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import BinaryIO

from hostscope.errors import Error, UsageError
from hostscope.private import Override, close_to_others, open_as_it_is, permitted
from hostscope.render.table import Style

_DRAWN = {"…": "~", "│": "|", "├": "|", "└": "`", "─": "-"} | dict(zip("▁▂▃▄▅▆▇█", ".:-=+*#@", strict=True))
"""What we draw with, and what is as wide in every encoding."""


def _written_out(error: UnicodeError) -> tuple[str, int]:
    """For encodings without them: our own characters in ASCII, all others as their numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_DRAWN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("hostscope.written_out", _written_out)


class Sink:
    """A place for output."""

    def __init__(self, file: BinaryIO, terminal: bool = False, encoding: str = "utf-8") -> None:
        self.file = file
        self.terminal = terminal
        self._encoding = encoding
        self.before: Callable[[], None] | None = None
        """Called before anything is written to a terminal, to clear what else stands there."""

    def write(self, *pieces: str | bytes) -> None:
        """Writes text in the terminal's encoding (what it lacks is written out), bytes as they are."""
        if self.before and self.terminal:
            self.before()
        for piece in pieces:
            raw = piece.encode(self._encoding, "hostscope.written_out") if isinstance(piece, str) else piece
            self.file.write(raw)

    def write_all(self, pieces: Iterable[str | bytes]) -> None:
        """Writes pieces as they come."""
        for piece in pieces:
            self.write(piece)

    def style(self) -> Style:
        """What the place can show."""
        size = self.size()
        return Style(colour=self.terminal and wants_colour(), width=size[0] if size else None)

    @property
    def redraws(self) -> bool:
        """Whether what stands there can be drawn over."""
        return self.terminal and os.environ.get("TERM") != "dumb"

    def size(self) -> tuple[int, int] | None:
        """Columns and lines of the terminal; None for a file or pipe."""
        if not self.terminal:
            return None
        try:
            size = os.get_terminal_size(self.file.fileno())
        except OSError:
            return None
        return (size.columns, size.lines) if size.columns and size.lines else None


def wants_colour() -> bool:
    """Whether the person wants colour: not with NO_COLOR (https://no-color.org), not on a dumb terminal."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextmanager
def open_output(path: str | None, override: Override = nullcontext) -> Iterator[Sink]:
    """Standard output, or a file.

    A file is written beside its place, readable by its owner only, and takes its name when all went well. What is no
    regular file (a pipe, a device) is written directly. `override` is used only where permissions forbid the file.

    Raises:
        UsageError: it cannot be written.
    """
    if path is None or path == "-":
        sys.stdout.flush()
        yield Sink(sys.stdout.buffer, sys.stdout.isatty(), sys.stdout.encoding or "utf-8")
        sys.stdout.buffer.flush()
    elif _is_special(path, override):
        with _opened(path) as file:
            yield Sink(file)
    else:
        with _new_file(path, override) as file:
            yield Sink(file)


def _is_special(path: str, override: Override) -> bool:
    try:
        mode = permitted(partial(os.stat, path), override).st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(path, error) from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory", "name a file")
    if stat.S_ISREG(mode) and permitted(partial(os.lstat, path), override).st_mode != mode:
        raise UsageError(f"{path} is a symbolic link", "name the file itself")
    return not stat.S_ISREG(mode)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        with open(path, "wb", opener=open_as_it_is) as file:
            yield file
    except OSError as error:
        if isinstance(error, (Error, BrokenPipeError)):
            raise
        raise _unwritable(path, error) from None


@contextmanager
def _new_file(path: str, override: Override) -> Iterator[BinaryIO]:
    from tempfile import mkstemp  # with its imports 3 ms, which most commands do not need

    directory, name = os.path.split(path)
    try:
        handle, beside = permitted(partial(mkstemp, prefix=f".{name}.", dir=directory or "."), override)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with open(handle, "wb") as file:
            close_to_others(beside)
            yield file
        permitted(partial(os.replace, beside, path), override)
    except BaseException as error:
        with suppress(FileNotFoundError):
            permitted(partial(os.unlink, beside), override)
        if isinstance(error, OSError) and not isinstance(error, Error):
            raise _unwritable(path, error) from None
        raise


def _unwritable(path: str, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror or error}")
