"""Handles of exactly the process that a key means.

A process handle means one process for good: its pid is not given again while the handle is open. Opening one is by pid,
so the creation time is compared afterwards, through the very handle that then is read or acted on.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from hostscope.errors import Denied, Gone, Mismatch
from hostscope.model.key import ProcessKey
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native import control, handles
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import failed

Value = TypeVar("Value")
DEBUG = ("SeDebugPrivilege",)
"""Opens processes of other users, protected ones excepted."""
LOOK = handles.PROCESS_QUERY_LIMITED_INFORMATION | handles.SYNCHRONIZE
"""What comparing takes, and seeing whether it has ended."""


class Attempt(Protocol):
    """Calls a function, and raises what it raises."""

    def __call__(self, read: Callable[[], Value]) -> Value: ...


@contextmanager
def hold(boot: Boot, privileges: Privileges, key: ProcessKey, access: int, why: str) -> Iterator[int]:
    """A handle of exactly the process that `key` means, with `access` besides looking.

    The debug privilege is raised only for a process that cannot be opened without it, and only while it is opened.

    Raises:
        Gone: it ended, or nothing has its pid. Mismatch: the pid is another process's. Denied
    """
    if key.boot_id != boot.boot_id or key.pid_ns:
        raise Mismatch(f"process {key} was seen in another boot or on another host")
    with _opened(privileges, key.pid, access | LOOK, why) as handle:
        check(handle, boot, key)
        yield handle


@contextmanager
def persisting(privileges: Privileges, why: str) -> Iterator[Attempt]:
    """Gives what calls a function, and calls it again with the debug privilege after the first refusal.

    The privilege then stays enabled to the end of the block, so that reading many threads is one entry of the trail.
    """
    with ExitStack() as raised:
        tried: list[str] = []

        def attempt(read: Callable[[], Value]) -> Value:
            try:
                return read()
            except OSError as failed:
                if tried or getattr(failed, "winerror", None) not in translate.REFUSED:
                    raise
            tried.append(why)
            raised.enter_context(privileges.using(DEBUG, why))
            return read()

        yield attempt


def check(handle: int, boot: Boot, key: ProcessKey) -> None:
    """Compares a handle's process with a key. Raises Gone, Mismatch."""
    try:
        found = boot.key(key.pid, native.created(handle))
        ended = control.has_ended(handle)
    except OSError as failed:
        raise translate.error("GetProcessTimes", failed, key.pid) from failed
    if not found.same(key):
        raise Mismatch(f"process {key.pid} is not the one that was meant: it is {found}, not {key}")
    if ended:
        raise Gone(f"process {key.pid} has ended; somebody still holds a handle of it")


@contextmanager
def _opened(privileges: Privileges, pid: int, access: int, why: str) -> Iterator[int]:
    try:
        handle = _open(pid, access)
    except Denied:
        with privileges.using(DEBUG, why):
            handle = _open(pid, access)
    try:
        yield handle
    finally:
        handles.close(handle)


def _open(pid: int, access: int) -> int:
    handle: int | None = handles.kernel32.OpenProcess(access, False, pid)
    if not handle:
        refused = failed("OpenProcess")
        raise translate.error("OpenProcess", refused, pid) from refused
    return handle
