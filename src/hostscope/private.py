"""Files that are their owner's alone, also on systems where a mode does not say so."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

Result = TypeVar("Result")
Override = Callable[[], AbstractContextManager[None]]
"""Brings a right to files in spite of their permissions into effect for a block, where we have it."""
READ_FILES = ("dac_read_search",)
"""That of reading them, as Linux calls it; a platform leaves out what it does not have."""

_steps: list[Callable[[str], None]] = []


def close_to_others(path: str) -> None:
    """To be called for each file that was made with mode 0600, before anything is written into it."""
    for step in _steps:
        step(path)


def closed_by(step: Callable[[str], None]) -> None:
    """How this system closes a file, if modes do not; `platforms` says it, because only platforms know."""
    _steps[:] = [step]


def permitted(step: Callable[[], Result], override: Override) -> Result:
    """Takes a step, the second time with our privileges, which commands keep out of effect.

    Raises:
        PermissionError: they do not help, or we have none.
    """
    try:
        return step()
    except PermissionError:
        with override():
            return step()


def refuse_planted(path: str) -> None:
    """Nothing of ours goes into a pipe or folder that somebody laid ready where everybody may, such as in /tmp.

    The rule is that of Linux' fs.protected_fifos, which is off on many hosts.

    Raises:
        OSError: another user put it there; or it cannot be looked at.
    """
    if hasattr(os, "geteuid"):
        path = path.rstrip("/") or "/"
        found, folder = os.lstat(path), os.stat(os.path.dirname(path) or ".")
        if folder.st_mode & stat.S_IWOTH and found.st_uid not in (os.geteuid(), folder.st_uid):
            raise OSError(errno.EACCES, "another user put it there", path)


def open_as_it_is(path: str, flags: int) -> int:
    """Opens a pipe or device to write to it; neither makes nor empties what may stand there by now.

    Raises:
        OSError: another user put it there, or it is a file now.
    """
    refuse_planted(path)
    fd = os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC))
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EEXIST, "it became a file meanwhile", path)
    return fd
