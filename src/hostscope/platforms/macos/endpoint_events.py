"""Events of Endpoint Security, by Apple's eslogger: the one public way to them without an entitlement of Apple's."""

import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from hostscope.errors import Denied, Unsupported
from hostscope.model.event import Event, Loss
from hostscope.platforms.event_stream import Happening, Numbering
from hostscope.platforms.macos.parse_eslogger import MOST_LINE_BYTES, NotUnderstoodError, Seen, parse_line
from hostscope.platforms.tally import Tally

ESLOGGER = "/usr/bin/eslogger"
HINT = (
    "needs root, and Full Disk Access for the program that hostscope runs in (System Settings, Privacy & Security; "
    "a terminal or sshd)"
)
SETTLE_S, LOOK_S, END_S = 1.0, 0.2, 2.0
"""eslogger ends within a second when it is refused."""
BLOCK_BYTES = 1 << 16
LIMITS = "eslogger's lines are no interface and may change with a release; its own events are not among them"


class EndpointEvents:
    """A running eslogger."""

    def __init__(self, names: Sequence[str], program: str = ESLOGGER) -> None:
        """Starts it, and waits until it has not been refused.

        Raises:
            Denied, Unsupported: there is no eslogger (before macOS 13).
        """
        self._rest = b""
        self._skipping = False
        self.ended = False
        """It has ended by itself, and all that it wrote was read."""
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads could stop it)
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C"}
        try:
            self._process = subprocess.Popen(
                (program, *names), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._told,
                env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as failed:
            self._told.close()
            raise _unstarted(program, failed) from None
        try:
            self._refused()
        except BaseException:
            self.close()
            raise
        os.set_blocking(self._output, False)

    def _refused(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SETTLE_S)
            self._told.seek(0)
            told = self._told.read(500).decode("utf-8", "replace").strip()
            raise Denied(f"eslogger was refused: {told or f'exit code {self._process.returncode}'}", HINT)

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def lines(self, timeout_s: float) -> Iterator[bytes | None]:
        """Whole lines that have come, waiting for some; None in the place of one that was too long."""
        if not select.select((self._output,), (), (), timeout_s)[0]:
            return
        try:
            block = os.read(self._output, BLOCK_BYTES)
        except BlockingIOError:
            return
        self.ended = not block
        self._rest += block
        *whole, self._rest = self._rest.split(b"\n")
        for line in whole:
            if not self._skipping:
                yield line
            self._skipping = False
        if len(self._rest) > MOST_LINE_BYTES:
            if not self._skipping:
                yield None
            self._rest, self._skipping = b"", True

    def close(self) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._told.close()


def _unstarted(program: str, failed: OSError) -> Denied | Unsupported:
    if isinstance(failed, PermissionError):
        return Denied(f"{program} may not be run", HINT)
    return Unsupported(f"there is no {program}", "macOS 13 and later have it")


def stream(source: EndpointEvents, boot_id: str, stop: threading.Event, tally: Tally) -> Iterator[Event]:
    """Events until `stop`, or until eslogger ends by itself, which is a loss; the first says what is covered."""
    numbering = Numbering(tally.method, tally)
    yield numbering.coverage()
    last: int | None = None
    unread = 0  # lines since then, each a loss of its own: they are no holes
    while not stop.is_set():
        for line in source.lines(LOOK_S):
            seen = _understood(line, boot_id)
            if isinstance(seen, Loss):
                unread += 1
                yield numbering.event(Happening(0, None, seen))
                continue
            if seen.number is not None:
                if last is not None and seen.number > last + 1 + unread:
                    dropped = seen.number - last - 1 - unread
                    yield numbering.event(Happening(0, None, Loss(dropped, "Endpoint Security dropped events")))
                last, unread = seen.number, 0
            yield numbering.event(Happening(seen.at_ns, seen.key, seen.body))
        if source.ended:
            yield numbering.event(Happening(0, None, Loss(1, "eslogger ended; nothing more is seen")))
            return


def _understood(line: bytes | None, boot_id: str) -> Seen | Loss:
    if line is None:
        return Loss(1, "a line of eslogger was too long")
    try:
        return parse_line(line, boot_id)
    except NotUnderstoodError as failed:
        return Loss(1, f"a line of eslogger was not understood: {failed}")
