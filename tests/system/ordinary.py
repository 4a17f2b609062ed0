"""hostscope as an ordinary user runs it, with whatever capabilities a test gives."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.system.told_child import NOBODY

AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all"]
WITHOUT = [*AS_NOBODY, "--inh-caps=-all"]
"""No capability, and none to be had."""


class Run(NamedTuple):
    """What a command of ours said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document, or the last line of ndjson; an empty one where there is none."""
        for text in (self.out, self.out.rstrip("\n").rpartition("\n")[2]):
            with suppress(ValueError):
                return json.loads(text)
        return {}

    @property
    def coverage(self) -> Any:
        """Of an answer."""
        return self.document.get("coverage", {})


class Ordinary(NamedTuple):
    """How others than root start hostscope."""

    command: list[str]
    environment: dict[str, str]

    def run(self, prefix: list[str], *words: str, timeout: float = 60) -> Run:
        """Runs it to its end behind a command that changes who runs it."""
        done = subprocess.run(
            [*prefix, *self.command, *words],
            env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Run(done.returncode, done.stdout, done.stderr)


def ordinary(folder: Path) -> Ordinary:
    """hostscope by an interpreter that every user can run: this one, or the system's of the same version.

    Skips the test where there is none.

    Args:
        folder: for the audit trail; writable for everybody.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOSTSCOPE_AUDIT": str(folder / "audit.jsonl"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for interpreter in (sys.executable, f"/usr/bin/{version}"):
        found = Ordinary([interpreter, "-m", "hostscope"], environment)
        try:
            if found.run(WITHOUT, "--version").code == 0:
                return found
        except OSError:
            continue
    pytest.skip("no interpreter of this version, or not our files, can be reached by an ordinary user")
