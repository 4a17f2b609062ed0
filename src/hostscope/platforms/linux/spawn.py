"""Starting a program that waits, before its first instruction, until somebody is ready to watch it."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hostscope.errors import UsageError
from hostscope.model.key import ProcessKey
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.parse import parse_stat
from hostscope.platforms.linux.read import read_file
from hostscope.render.sanitise import sanitise

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of a child whose program could not be started, as shells have them."""


class Spawned:
    """Implements `hostscope.platforms.base_control.Spawned`."""

    begins_with: str | None = "execve"

    def __init__(self, key: ProcessKey, gate: int, statuses: dict[int, int]) -> None:
        """`statuses` are of children that a tracer of ours waited for."""
        self.key = key
        self._gate: int | None = gate
        self._statuses = statuses

    def release(self) -> None:
        """Lets the program start."""
        if self._gate is not None:
            os.write(self._gate, b"x")
            self._shut()

    def wait(self) -> int:
        """Waits for its end; its exit code, or 128 and the signal that ended it."""
        status = self._statuses.pop(self.key.pid, None)
        if status is None:
            try:
                _, status = os.waitpid(self.key.pid, 0)
            except ChildProcessError:
                status = self._statuses.pop(self.key.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _shut(self) -> None:
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None

    def abandon(self) -> None:
        """Before its release: it ends without having begun."""
        if self._gate is not None:
            self._shut()
            with suppress(ProcessLookupError):
                os.kill(self.key.pid, signal.SIGKILL)  # it may be stopped by a tracer that failed
            with suppress(ChildProcessError):
                os.waitpid(self.key.pid, 0)


@contextmanager
def spawn(boot: Boot, argv: tuple[str, ...], statuses: dict[int, int]) -> Iterator[Spawned]:
    """A child that waits for `release` and then becomes the program; without release it ends with the block.

    Raises:
        UsageError: no program is named.
    """
    if not argv:
        raise UsageError("no command is named")
    reading, gate = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads: the child does nothing that needs them
        pid = os.fork()
    if pid == 0:
        os.close(gate)
        _become(reading, argv)
    os.close(reading)
    start = parse_stat(read_file(f"/proc/{pid}/stat")).start
    spawned = Spawned(boot.key(pid, start), gate, statuses)
    try:
        yield spawned
    finally:
        spawned.abandon()


def _become(gate: int, argv: tuple[str, ...]) -> None:
    """In the child. Its signals are as a shell would leave them; it ends when nobody opens the gate."""
    code = NOT_FOUND
    try:
        if not os.read(gate, 1):
            os._exit(code)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)
    except OSError as failed:
        code = NOT_FOUND if isinstance(failed, FileNotFoundError) else NOT_EXECUTABLE
        os.write(2, f"hostscope: {sanitise(argv[0])}: {failed.strerror}\n".encode())
    finally:
        os._exit(code)
