"""What ``launchctl print DOMAIN`` writes, parsed: a last resort. Pure and bounded.

launchd tells its jobs' states by private XPC routines only; launch_msg(3), which was public, has answered for jobs of
its own session only since macOS 10.10. launchctl's manual page says that its output is no interface and may change, so
what is not understood is left out, and every answer that is made of it says so.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from hostscope.model.text import decode

MOST_LINES = 100_000
_SECTION = re.compile(r"^\t(services|disabled services) = \{$")
_SERVICE = re.compile(r"^\t\t\s*(\d+|-)\s+(-?\d+|-|\(\w+\))\s+(\S.*)$")
_DISABLED = re.compile(r'^\t\t"(.+)" => (disabled|enabled|true|false)$')
_NOT_RUNNING = frozenset({"0", "-"})


class Job(NamedTuple):
    """One job of a domain."""

    label: str
    pid: int | None
    status: int | None
    """Exit status of its last run, negative for a signal; None when it has not ended yet."""


class Domain(NamedTuple):
    """A domain of launchd: the system's, or a user's."""

    jobs: tuple[Job, ...]
    disabled: frozenset[str]
    """Labels that may not be started."""


def parse_domain(raw: bytes) -> Domain:
    """The jobs and what is disabled; nothing of what is not understood."""
    jobs: dict[str, Job] = {}
    disabled: set[str] = set()
    for section, line in _lines(raw):
        if section == "services" and (found := _SERVICE.match(line)):
            pid, status, label = found.groups()
            jobs[label] = Job(label, None if pid in _NOT_RUNNING else int(pid[:10]), _status(status))
        elif section != "services" and (found := _DISABLED.match(line)) and found[2] in ("disabled", "true"):
            disabled.add(found[1])
    return Domain(tuple(jobs.values()), frozenset(disabled))


def _lines(raw: bytes) -> Iterator[tuple[str, str]]:
    """The lines of each section that means something, with its name."""
    section = ""
    for line in raw.split(b"\n")[:MOST_LINES]:
        text = decode(line)
        if begins := _SECTION.match(text):
            section = begins[1]
        elif text == "\t}":
            section = ""
        elif section:
            yield section, text


def _status(text: str) -> int | None:
    return int(text[:11]) if text.lstrip("-").isdecimal() else None
