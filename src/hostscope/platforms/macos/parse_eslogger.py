"""Lines of eslogger (Endpoint Security events as JSON), parsed. Pure and bounded.

Source: eslogger(1) (macOS 13), EndpointSecurity/ESMessage.h, whose structures the lines follow. Its manual page says
that the lines are no interface and may change with a release: what is missing or of another type makes a line that is
not understood, which the caller counts.
"""

import re
from calendar import timegm
from typing import Any, NamedTuple

import msgspec

from hostscope.model.event import (
    Body,
    CredentialChange,
    ModuleLoad,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    PtraceAttach,
)
from hostscope.model.key import ProcessKey
from hostscope.model.text import decode_str

MOST_LINE_BYTES, MOST_ARGUMENTS = 1 << 20, 4096
_TIME = re.compile(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z$")
NAMES = {
    "start": ("fork",), "exec": ("exec",), "exit": ("exit",), "ptrace": ("trace",), "module": ("kextload",),
    "credentials": ("setuid", "seteuid", "setreuid", "setgid", "setegid", "setregid"),
}  # fmt: skip
"""Our kinds of events -> eslogger's names."""
_USERS = {
    "setuid": ("uid", "uid"), "seteuid": ("uid", "euid"), "setreuid": ("uid", "euid"),
    "setgid": ("gid", "gid"), "setegid": ("gid", "egid"), "setregid": ("gid", "egid"),
}  # fmt: skip
"""What changes, and the field that says to what."""
_TOKEN = ("auid", "euid", "egid", "ruid", "rgid", "pid", "asid", "pidversion")
"""An audit token where it is a list (some releases of macOS 26), in the kernel's order; else an object has these."""


class Who(NamedTuple):
    """A process of a line."""

    key: ProcessKey
    name: str
    exe: str | None
    uid: int | None
    """Effective."""
    parent_pid: int


class Seen(NamedTuple):
    """One event."""

    at_ns: int
    number: int | None
    """Counts up with every event of the stream: a hole is a loss."""
    key: ProcessKey
    body: Body


class NotUnderstoodError(ValueError):
    """A line that is not as it should be."""


def parse_line(raw: bytes, boot_id: str) -> Seen:
    """The event of a line.

    Raises:
        NotUnderstoodError: it is no such line, or a field is missing or of another type.
    """
    if len(raw) > MOST_LINE_BYTES:
        raise NotUnderstoodError(f"a line of {len(raw)} bytes")
    try:
        line = msgspec.json.decode(raw)
        return _seen(line, boot_id)
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, IndexError, AttributeError, ValueError) as failed:
        raise NotUnderstoodError(str(failed)[:200]) from None


def _seen(line: Any, boot_id: str) -> Seen:
    ((what, event),) = line["event"].items()
    who = _who(line["process"], boot_id)
    key, body = _body(what, event, who, boot_id)
    number = line.get("global_seq_num")
    return Seen(parse_time(line["time"]), number if type(number) is int else None, key, body)


def _body(what: str, event: Any, who: Who, boot_id: str) -> tuple[ProcessKey, Body]:
    """The record of an event, and whose it is. One that was not asked for has none: it is counted as a loss."""
    if what == "fork":
        child = _who(event["child"], boot_id)
        return child.key, ProcessStart(who.name, who.key, uid=child.uid)
    if what == "exec":
        return _exec(event, who, boot_id)
    if what == "exit":
        return who.key, _exit(event["stat"], who)
    if what == "trace":
        target = _who(event["target"], boot_id).key
        return who.key, PtraceAttach(who.name, target, target.pid)
    if what == "kextload":
        return who.key, ModuleLoad(who.name, decode_str(event["identifier"]))
    if what in _USERS:
        kind, field = _USERS[what]
        return who.key, CredentialChange(who.name, kind, None, str(int(event[field])))
    raise ValueError(f"there is no record of events {decode_str(what)[:40]}")


def _exec(event: Any, who: Who, boot_id: str) -> tuple[ProcessKey, Body]:
    """The process keeps its pid and start; `target` is what it has become."""
    target = _who(event["target"], boot_id)
    arguments = event["args"]
    script = event.get("script")
    kept = tuple(decode_str(word) for word in arguments[:MOST_ARGUMENTS])
    return target.key, ProcessExec(
        name=target.name,
        exe=target.exe,
        argv=kept,
        file=decode_str(script["path"]) if script else None,
        uid=target.uid,
        truncated=len(arguments) > MOST_ARGUMENTS,
    )


def _exit(status: Any, who: Who) -> ProcessExit:
    """`stat` is what wait(2) gives."""
    number = int(status)
    signal = number & 0x7F
    code = None if signal else number >> 8 & 0xFF
    return ProcessExit(who.name, code, signal or None, bool(number & 0x80))


def _who(process: Any, boot_id: str) -> Who:
    token = _token(process["audit_token"])
    start_us = parse_time(process["start_time"]) // 1000
    exe = decode_str(process["executable"]["path"])
    known = exe and not process["executable"].get("path_truncated")
    key = ProcessKey(boot_id, 0, int(token["pid"]), start_us)
    return Who(key, exe.rpartition("/")[2][:16], exe if known else None, int(token["euid"]), int(process["ppid"]))


def _token(raw: Any) -> dict[str, Any]:
    return dict(zip(_TOKEN, raw, strict=True)) if isinstance(raw, list) else raw


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch.

    Raises:
        ValueError
    """
    found = _TIME.match(text)
    if found is None:
        raise ValueError(f"not a time: {text[:40]}")
    *whole, fraction = found.groups()
    return timegm((*map(int, whole), 0, 0, 0)) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
