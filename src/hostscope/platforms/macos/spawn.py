"""Starting a program that waits, before its first instruction, until somebody is ready to watch it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hostscope.errors import UsageError
from hostscope.model.key import ProcessKey
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.native.spawning import start_suspended
from hostscope.platforms.macos.process_list import read_key
from hostscope.platforms.macos.signalling import CONTINUE, KILL


class Spawned:
    """Implements `hostscope.platforms.base_control.Spawned`."""

    begins_with: str | None = None
    """It is the program from the start."""

    def __init__(self, key: ProcessKey) -> None:
        self.key = key
        self._waits = True

    def release(self) -> None:
        """Lets the program start."""
        if self._waits:
            os.kill(self.key.pid, CONTINUE)
            self._waits = False

    def wait(self) -> int:
        """Waits for its end; its exit code, or 128 and the signal that ended it."""
        try:
            _, status = os.waitpid(self.key.pid, 0)
        except ChildProcessError:
            return 0
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def abandon(self) -> None:
        """Before its release: it ends without having begun."""
        if self._waits:
            self._waits = False
            with suppress(ProcessLookupError):
                os.kill(self.key.pid, KILL)
            with suppress(ChildProcessError):
                os.waitpid(self.key.pid, 0)


@contextmanager
def spawn(boot: Boot, argv: tuple[str, ...]) -> Iterator[Spawned]:
    """A program that waits for `release`; without it, it ends with the block.

    It is our child, so its pid is its until we have waited for it.

    Raises:
        UsageError: no program is named, or it cannot be started.
    """
    if not argv:
        raise UsageError("no command is named")
    sys.stdout.flush()
    try:
        pid = start_suspended([os.fsencode(word) for word in argv], os.environb)
    except OSError as failed:
        raise UsageError(f"cannot start {argv[0]}: {errnos.text(failed.errno or 0)}") from None
    spawned: Spawned | None = None
    try:
        spawned = Spawned(read_key(boot, pid))
        yield spawned
    finally:
        (spawned or Spawned(ProcessKey(boot.boot_id, 0, pid, 0))).abandon()
