"""What filters can say about system calls: facts of the call, and every argument by its name, as it is shown."""

from collections.abc import Callable
from typing import Literal

from hostscope.model.event import Event, SystemCall
from hostscope.render.column import Column
from hostscope.render.layout import Layout

CALL_SCHEMA = "hostscope.syscall/1"
Kind = Literal["int", "text", "duration", "list"]
Value = int | str | tuple[str, ...] | None
ARGUMENTS = (
    "addr", "addrlen", "advice", "argv", "backlog", "behavior", "brk", "buf", "buff", "clone_flags", "cmd", "count",
    "dfd", "envp", "error_code", "family", "fd", "filename", "flag", "flags", "how", "iov", "len", "length", "level",
    "mask", "mode", "msg", "name", "newdfd", "newfd", "newname", "new_addr", "new_len", "nfds", "off", "offset",
    "oldfd", "oldname", "old_len", "option", "optname", "path", "pathname", "pkey", "pos", "prot",
    "protocol", "request", "sig",
    "size", "start", "statbuf", "type", "uaddr", "uid", "gid", "umyaddr", "unshare_flags", "uservaddr", "vec",
    "whence",
)  # fmt: skip


def _fact(name: str, heading: str, kind: Kind, get: Callable[[SystemCall], Value], help_text: str) -> Column[Event]:
    return Column(name, heading, kind, name, None, help_text, lambda event: _of(event, get))


def _of(event: Event, get: Callable[[SystemCall], Value]) -> Value:
    return get(event.body) if isinstance(event.body, SystemCall) else None


def _argument(name: str) -> Column[Event]:
    def get(call: SystemCall) -> str | None:
        return next((argument.text for argument in call.arguments if argument.name == name), None)

    return _fact(name, name.upper(), "text", get, f"argument {name}, as it is shown")


CALLS = Layout(
    "calls",
    CALL_SCHEMA,
    Event,
    (
        _fact("call", "CALL", "text", lambda call: call.call, "name of the call"),
        _fact("result", "RESULT", "int", lambda call: call.result, "as the kernel returned it"),
        _fact("error", "ERROR", "text", lambda call: call.error, "name of the error"),
        _fact("tid", "TID", "int", lambda call: call.tid, "thread"),
        Column("pid", "PID", "int", "key.pid", None, "process", lambda event: event.key.pid if event.key else None),
        _fact("duration", "TOOK", "duration", lambda call: call.duration_ns, "how long it took"),
        _fact("remarks", "REMARKS", "list", lambda call: call.flags, "w-to-x, executable-anonymous, ..."),
        *(_argument(name) for name in ARGUMENTS),
    ),
    ("tid", "call", "result"),
)
