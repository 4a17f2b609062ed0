"""A line that says that something is going on, for who waits: on a terminal, after a moment, never in a pipe."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from hostscope.cli.options import Choices
from hostscope.model.answer import Answer

if TYPE_CHECKING:
    from rich.live import Live

Row = TypeVar("Row")

PATIENCE_S = 0.5
"""Nobody needs to be told of work that takes less."""
_REFRESHES_PER_SECOND = 8


class Progress:
    """Counts rows as they come, and shows the count in a line that vanishes when it ends."""

    def __init__(self, words: str, wanted: bool) -> None:
        self._words = words
        self._rows = 0
        self._began_s = monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True) if wanted else None
        if self._thread:
            self._thread.start()

    def over(self, answer: Answer[Row]) -> Answer[Row]:
        """The answer, its rows counted on their way."""
        return Answer(self._counted(answer), lambda: answer.coverage) if self._thread else answer

    def end(self) -> None:
        """Takes the line away, before anything else is written to the same terminal; may be called again."""
        if self._thread:
            self._ended.set()
            self._thread.join()

    def _counted(self, rows: Answer[Row]) -> Iterator[Row]:
        for row in rows:
            self._rows += 1
            yield row

    def _show(self) -> None:
        if not self._ended.wait(PATIENCE_S):
            with self._live():
                self._ended.wait()

    def _live(self) -> "Live":
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        spinner = Spinner("line")

        def line() -> Any:
            spinner.update(text=self._text())
            return spinner

        return Live(
            console=Console(stderr=True), get_renderable=line, transient=True,
            refresh_per_second=_REFRESHES_PER_SECOND, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def _text(self) -> str:
        count = f" {self._rows:,}" if self._rows else ""
        return f"{self._words}{count}, {monotonic() - self._began_s:.0f} s"


@contextmanager
def progress(words: str, choices: Choices) -> Iterator[Progress]:
    """Shows that `words` (such as ``reading processes``) is going on, until the block ends.

    Args:
        choices: with `quiet` nothing is shown; nor with `verbose`, whose lines go to the same place.
    """
    shown = Progress(words, not choices.quiet and not choices.verbose and _on_terminal())
    try:
        yield shown
    finally:
        shown.end()


def _on_terminal() -> bool:
    """Whether standard error is a terminal that can take a line back."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
