"""launchd's jobs as their property lists define them. Source: launchd.plist(5)."""

import os
import plistlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

from hostscope.model.text import decode_str

FOLDERS = {
    "/System/Library/LaunchDaemons": "daemon", "/Library/LaunchDaemons": "daemon",
    "/System/Library/LaunchAgents": "agent", "/Library/LaunchAgents": "agent",
}  # fmt: skip
MOST_FILES, MOST_BYTES = 10_000, 1 << 20


class Defined(NamedTuple):
    """A job's definition."""

    label: str
    path: str
    type: str
    """``daemon`` or ``agent``."""
    program: str | None
    user: str | None
    starts: str
    """``at load``, ``kept alive``, ``at intervals``, ``on demand``."""
    disabled: bool


def parse_job(raw: bytes, path: str, kind: str) -> Defined | None:
    """The definition in a property list, in XML or binary form; None when it is none. Bounded by `raw`."""
    try:
        found: Any = plistlib.loads(raw)
    except (plistlib.InvalidFileException, ExpatError, ValueError, TypeError, KeyError, IndexError, OverflowError,
            RecursionError, AttributeError, MemoryError):  # fmt: skip
        return None
    if not isinstance(found, dict) or not isinstance(label := found.get("Label"), str):
        return None
    return Defined(
        label=decode_str(label),
        path=path,
        type=kind,
        program=_program(found),
        user=decode_str(user) if isinstance(user := found.get("UserName"), str) else None,
        starts=_starts(found),
        disabled=found.get("Disabled") is True,
    )


def _program(found: dict[Any, Any]) -> str | None:
    """``Program``, else the first of ``ProgramArguments``."""
    arguments = found.get("ProgramArguments")
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    program = found.get("Program", first)
    return decode_str(program) if isinstance(program, str) else None


def _starts(found: dict[Any, Any]) -> str:
    if found.get("KeepAlive"):
        return "kept alive"
    if found.get("RunAtLoad") is True:
        return "at load"
    return "at intervals" if "StartInterval" in found or "StartCalendarInterval" in found else "on demand"


def read_jobs(folders: dict[str, str] | None = None) -> Iterator[Defined]:
    """Every definition of the system's folders; what cannot be read is left out.

    Cost: a system call for each file to open, read and close it; there are some seven hundred.
    """
    for folder, kind in (FOLDERS if folders is None else folders).items():
        for path in _files(folder):
            raw = _read(path)
            if raw is not None and (job := parse_job(raw, path, kind)):
                yield job


def _files(folder: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".plist"))
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names[:MOST_FILES]]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    return raw if len(raw) <= MOST_BYTES else None
