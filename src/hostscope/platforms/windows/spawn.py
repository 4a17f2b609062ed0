"""Starting a program that waits, before its first instruction, until somebody is ready to watch it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.errors import NativeError, UsageError
from hostscope.model.key import ProcessKey
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native import control, handles, jobs, threads
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import SystemRefused

ABANDONED = 1
"""Exit code of a program that was never let run."""
_NOT_FOUND = frozenset({2, 3})


class Spawned:
    """Implements `hostscope.platforms.base_control.Spawned`."""

    begins_with: str | None = None
    """The process is the program from its first instruction on."""

    key: ProcessKey

    def __init__(self, pid: int, process: int, thread: int) -> None:
        """A suspended process; `prepare` comes next, and `close` in the end whatever becomes of it."""
        self._pid = pid
        self._process, self._thread = process, thread
        self._job: int | None = None
        self._released = False

    def prepare(self, boot: Boot) -> None:
        """Ties it to our life, and finds out its key. Raises NativeError."""
        self._job = _job(self._process)
        try:
            self.key = boot.key(self._pid, native.created(self._process))
        except OSError as failed:
            raise translate.error("GetProcessTimes", failed, self._pid) from failed

    def release(self) -> None:
        """Lets the program start; from now on it outlives us."""
        if not self._released:
            self._released = True
            if self._job:
                jobs.limit(self._job, 0)
            try:
                threads.resume(self._thread)
            except OSError as refused:
                raise translate.error("ResumeThread", refused, self.key.pid) from refused

    def wait(self) -> int:
        """Waits for its end; its exit code."""
        while not control.has_ended(self._process, 1.0):
            pass
        return control.exit_code(self._process)

    def close(self) -> None:
        """Ends it if it was not released, and closes its handles."""
        if not self._released and not control.has_ended(self._process):
            control.terminate(self._process, ABANDONED)
        for handle in (self._thread, self._process, self._job):
            if handle:
                handles.close(handle)


@contextmanager
def spawn(boot: Boot, argv: tuple[str, ...], spawned_keys: set[ProcessKey]) -> Iterator[Spawned]:
    """A suspended program; without release it ends with the block, and with us, whatever happens to us.

    Args:
        spawned_keys: gets its key.

    Raises:
        UsageError: no program is named, or there is none of that name.
    """
    if not argv:
        raise UsageError("no command is named")
    made = _create(argv)
    spawned = Spawned(made.dwProcessId, made.hProcess, made.hThread)
    try:
        spawned.prepare(boot)
        spawned_keys.add(spawned.key)
        yield spawned
    finally:
        spawned.close()


def _create(argv: tuple[str, ...]) -> control.PROCESS_INFORMATION:
    try:
        return control.create_suspended(subprocess.list2cmdline(argv))
    except SystemRefused as refused:
        if refused.winerror in _NOT_FOUND:
            raise UsageError(f"there is no program {argv[0]!r}") from refused
        raise NativeError("CreateProcessW", refused.winerror, refused.strerror or "") from refused


def _job(process: int) -> int | None:
    """A job that ends the program with us; None where it cannot be put into one."""
    job = jobs.create()
    if not job:
        return None
    if jobs.limit(job, jobs.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE) and jobs.assign(job, process):
        return job
    handles.close(job)
    return None
