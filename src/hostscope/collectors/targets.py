"""What a person calls a process: a pid, a name, ``:PORT`` or a key."""

import os
import re
from collections.abc import Iterator

from msgspec.structs import replace

from hostscope.errors import Gone, Mismatch, UsageError
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.text import decode
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

_KEY = re.compile(r"(\d{1,10})@(\d{1,20})(?:#(\d{1,20}))?")
MORE_SOCKETS = "as root, or an administrator, sockets of all users are seen"
MOST_NAMED = 8
_NAMED_BY = frozenset({"exe", "argv"})


def find_one(host: Host, target: str, request: ProcessRequest) -> Process:
    """The one process that is meant.

    Raises:
        UsageError: several are called so, or it is no target.
        Gone: none is. Denied, Mismatch
    """
    found = find(host, target, request)
    if len(found) > 1:
        named = ", ".join(f"{process.key} {process.name}" for process in found[:MOST_NAMED])
        more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise UsageError(f"{len(found)} processes are meant by {target!r}", f"name one: {named}{more}")
    return found[0]


def find(host: Host, target: str, request: ProcessRequest) -> tuple[Process, ...]:
    """All processes that are meant, at least one.

    Raises:
        UsageError: it is no target.
        Gone: none is meant. Denied, Mismatch
    """
    if target.isascii() and target.isdigit():
        return (host.processes.read(_number(target, 1 << 31, "pid"), request),)
    if target.startswith(":"):
        return _by_port(host, target, request)
    if key := _KEY.fullmatch(target):
        return (_by_key(host, key, request),)
    return _by_name(host, target, request)


def _number(text: str, below: int, noun: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) >= below:
        raise UsageError(f"{text!r} is no {noun}")
    return int(text)


def _by_port(host: Host, target: str, request: ProcessRequest) -> tuple[Process, ...]:
    port = _number(target[1:], 1 << 16, "port")
    pids = host.sockets.owners(port)
    found = tuple(_still_there(host, pids, request))
    if not found:
        raise Gone(f"no process that can be seen has a socket on port {port}", MORE_SOCKETS)
    return found


def _still_there(host: Host, pids: tuple[int, ...], request: ProcessRequest) -> Iterator[Process]:
    for pid in pids:
        try:
            yield host.processes.read(pid, request)
        except Gone:
            continue  # It ended between the two looks; find() raises when nothing is left.


def _by_key(host: Host, key: re.Match[str], request: ProcessRequest) -> Process:
    process = host.processes.read(int(key[1]), request)
    serial = int(key[3]) if key[3] else None
    meant = ProcessKey(process.key.boot_id, process.key.pid_ns, int(key[1]), int(key[2]), serial)
    if not process.key.same(meant):
        raise Mismatch(f"pid {key[1]} is another process now: {process.key} {process.name}")
    return process


def _by_name(host: Host, name: str, request: ProcessRequest) -> tuple[Process, ...]:
    if not name:
        raise UsageError("an empty target", "a target is a pid, a name, :PORT or a key such as 42@1234")
    name = _as_typed(name)
    quick = replace(request, fields=_NAMED_BY, enhanced=False)
    keys = {process.key: None for process in host.processes.sweep(quick, Tally()) if is_called(process, name)}
    again = _still_there(host, tuple(key.pid for key in keys), request)
    found = tuple(process for process in again if process.key in keys)
    if not found:
        raise Gone(f"no process is called {name!r}", _hint(name))
    return found


def _as_typed(name: str) -> str:
    """A name as the host's are: bytes that are no UTF-8 come from a command line as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return decode(os.fsencode(name))
    return name


def _hint(name: str) -> str | None:
    """What somebody wanted who gave an address."""
    from ipaddress import ip_address

    try:
        ip_address(name)
    except ValueError:
        return None
    return f"who talks to an address: hostscope net --filter 'remote_address == \"{name}\"'"


def is_called(process: Process, name: str) -> bool:
    """Whether the name is the process's short name, its executable's, or its first argument's.

    Names of files on Windows are the same in upper and lower case, and have two kinds of slashes.
    """
    slash = "/"
    names = [process.name, process.exe.path if process.exe else "", process.argv[0] if process.argv else ""]
    if process.windows is not None:
        slash = "\\"
        name, *names = (text.replace("/", slash).casefold() for text in (name, *names))
    return any(name in (path, path.rpartition(slash)[2]) for path in names if path)
