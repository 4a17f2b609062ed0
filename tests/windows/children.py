"""Child processes whose truth the tests know, because the children tell it before anybody looks."""

import json
import subprocess
import sys
from contextlib import suppress
from typing import Any

PRELUDE = """
import json, os, sys
def say(**facts):
    print(json.dumps(facts), flush=True)
def wait():
    return sys.stdin.readline().strip()
"""


class Child:
    """A Python that runs `code`, in which `say(**facts)` tells us facts.

    And `wait()` gives what `ask` sent, or an empty string when we `end` it.
    """

    def __init__(self, code: str, *arguments: str, **options: Any) -> None:
        self.command = [sys.executable, "-X", "utf8", "-c", PRELUDE + code, *arguments]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )
        self.told = self.hear()
        """What it said first."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """Its next facts; fails when it ended without a word."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait()} and told nothing"
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ask(self, word: str = "go") -> dict[str, Any]:
        """Gives its `wait()` a word, and hears what it says then."""
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self) -> int:
        """Closes its input, and ends it if that does not; its exit code."""
        assert self.process.stdin and self.process.stdout
        with suppress(OSError):  # it may have ended already
            self.process.stdin.close()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(60)
        finally:
            self.process.stdout.close()
