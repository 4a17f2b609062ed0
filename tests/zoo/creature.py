"""A child process that does what it is told, one step at a time, and says when it is done."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.zoo.build import program

DEADLINE_S = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Polls; for states that only the kernel can report.

    Raises:
        TimeoutError: the condition did not hold in time.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        os.sched_yield()


def kernel_state(pid: int) -> str:
    """The state letter of /proc/PID/stat."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1].decode()


def rests(pid: int) -> bool:
    """Whether every thread sleeps, is stopped, or has ended."""
    stats = (stat.read_bytes() for stat in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(stat.rpartition(b") ")[2][:1].decode() in "STZ" for stat in stats)


class Creature:
    """One child of the zoo (see ``creature.c``); a context, at whose end it is killed and reaped."""

    def __init__(
        self,
        arguments: Sequence[str | bytes] = ("creature",),
        executable: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._child = subprocess.Popen(
            list(arguments),
            executable=executable or program("creature"),
            env={} if environment is None else environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._child.pid
        """The process that serves; changes with `fork`."""
        self._answer("start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin and self._child.stdout
        if self.pid != self._child.pid:
            os.kill(self.pid, signal.SIGKILL)
        self._child.kill()
        self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait(DEADLINE_S)

    def do(self, command: str, *arguments: int | str | bytes | Path) -> int:
        """One step; numbers go as they are, everything else as text.

        Raises:
            OSError: the step failed, with the error number that the child saw.
        """
        words = [str(word) if isinstance(word, int) else os.fsencode(word).hex() for word in arguments]
        assert self._child.stdin
        self._child.stdin.write(" ".join([command, *words]).encode() + b"\n")
        self._child.stdin.flush()
        return self._answer(command)

    def fork(self) -> int:
        """From here on a child of the process serves; gives its pid (as its parent sees it)."""
        self.pid = self.do("fork")
        return self.pid

    def _answer(self, command: str) -> int:
        assert self._child.stdout
        words = self._child.stdout.readline().split()
        if words[:1] == [b"ok"]:
            return int(words[1])
        code = int(words[1]) if words else 0
        raise OSError(code, f"{command}: {os.strerror(code) if code else 'ended'}")
