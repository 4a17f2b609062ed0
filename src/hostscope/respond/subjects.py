"""From what a person typed to processes that are pinned: key with serial, record of that very process, identity."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from msgspec.structs import replace

from hostscope.collectors.lineage import find_parents
from hostscope.collectors.targets import find
from hostscope.errors import Gone, Mismatch, UsageError
from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.response import ActRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.platforms.tally import Tally
from hostscope.respond.guard import Subject

FIELDS = frozenset({"state", "exe", "argv", "owner", "session", "cgroup", "namespaces"})
"""What plans show and the guard needs."""
HASH_LENGTH = 64
MARGIN_NS = 20_000_000
"""Two of Linux' clock ticks."""
_BARE_KEY = re.compile(r"\d+@\d+")
_FEW = 8
"""Up to so many processes are read one by one; more, in one sweep."""

Members = Callable[[list[Process], Collection[ProcessKey]], dict[ProcessKey, int]]
"""Of all rows, which belong to what is meant, given those that are known to; with their depth."""


def select(host: Host, control: Control, request: ActRequest, container: Container | None) -> list[Subject]:
    """Everything that the request means now, pinned; parents before their children.

    Raises:
        UsageError: one is no target. Gone: one means no process. Denied, Mismatch
    """
    keys = dict.fromkeys(_named(host, control, request), 0)
    if container is not None:
        keys |= members_of(container)(sweep(host), ())
        if not keys:
            raise Gone(f"no process is in container {container.name or container.id}")
    elif request.tree:
        keys |= descent(sweep(host), keys)
    return list(load(host, control, keys))


def _named(host: Host, control: Control, request: ActRequest) -> Iterator[ProcessKey]:
    for target in request.targets:
        for process in find(host, target, ProcessRequest(fields=frozenset())):
            if _BARE_KEY.fullmatch(target) and _is_newborn(process):
                raise Mismatch(
                    f"{target} may mean two processes: it is younger than a clock tick", "try again, or give its serial"
                )
            yield control.pin(replace(process.key, serial=process.key.serial or _typed_serial(target)))


def _typed_serial(target: str) -> int | None:
    """The serial of a key: rows of a sweep have none, so only the handle of the process can be compared with it."""
    serial = target.partition("#")[2]
    return int(serial) if "@" in target and serial.isascii() and serial.isdigit() else None


def _is_newborn(process: Process) -> bool:
    return process.started_at_ns is not None and time.time_ns() - process.started_at_ns < MARGIN_NS


def sweep(host: Host, fields: frozenset[str] = frozenset({"state", "cgroup"})) -> list[Process]:
    """All processes now."""
    return list(host.processes.sweep(ProcessRequest(fields=fields), Tally()))


def descent(rows: list[Process], known: Collection[ProcessKey]) -> dict[ProcessKey, int]:
    """All descendants of the known ones, parents first, with their depth below them; the known ones themselves not."""
    by_key = {row.key: row for row in rows}
    children: dict[int, list[Process]] = {}
    for child, parent in find_parents(rows).items():
        if parent is not None:
            children.setdefault(parent.key.pid, []).append(by_key[child])
    return dict(_below(rows, known, children))


def _below(
    rows: list[Process], known: Collection[ProcessKey], children: dict[int, list[Process]]
) -> Iterator[tuple[ProcessKey, int]]:
    by_pid = {row.key.pid: row.key for row in rows}
    level = [by_pid[key.pid] for key in known if key.pid in by_pid and by_pid[key.pid].same(key)]
    seen, depth = set(level), 0
    while level:
        depth += 1
        level = [child.key for key in level for child in children.get(key.pid, ()) if child.key not in seen]
        seen.update(level)
        yield from ((key, depth) for key in level)


def members_of(container: Container) -> Members:
    """The processes of one container, the namespace's first one first."""

    def members(rows: list[Process], known: Collection[ProcessKey]) -> dict[ProcessKey, int]:
        return {row.key: 0 for row in rows if row.container and is_same(row.container, container)}

    return members


def is_same(one: Container, other: Container) -> bool:
    """Whether both are one container; names (LXC, runc) count within one runtime only, hashes everywhere."""
    return one.id == other.id and (len(one.id) == HASH_LENGTH or one.runtime == other.runtime)


def load(host: Host, control: Control, keys: dict[ProcessKey, int]) -> Iterator[Subject]:
    """Pinned processes with their records; those that end meanwhile are left out.

    A key is pinned before its record is read and compared afterwards, so the record is that process's.
    """
    pinned = dict(_pinned(control, keys))
    for process in _records(host, pinned):
        key, depth = pinned[process.key.pid]
        try:
            identity = control.identify(replace(process, key=replace(process.key, serial=key.serial)))
        except (Gone, Mismatch):
            continue
        yield Subject(replace(process, key=identity.key), identity, depth)


def _pinned(control: Control, keys: dict[ProcessKey, int]) -> Iterator[tuple[int, tuple[ProcessKey, int]]]:
    for key, depth in keys.items():
        try:
            yield key.pid, (control.pin(key), depth)
        except (Gone, Mismatch):
            continue


def _records(host: Host, pinned: dict[int, tuple[ProcessKey, int]]) -> Iterator[Process]:
    """In the order of `pinned`."""
    request = ProcessRequest(fields=FIELDS)
    if len(pinned) <= _FEW:
        rows: Iterable[Process] = filter(None, (_read(host, pid, request) for pid in pinned))
    else:
        found = {row.key.pid: row for row in host.processes.sweep(request, Tally()) if row.key.pid in pinned}
        rows = (found[pid] for pid in pinned if pid in found)
    return iter(rows)


def _read(host: Host, pid: int, request: ProcessRequest) -> Process | None:
    try:
        return host.processes.read(pid, request)
    except Gone:
        return None


def find_container(host: Host, name: str) -> Container:
    """The one container of that id, beginning of an id (four characters at least), or name.

    Raises:
        Gone: there is none. UsageError: there are several.
    """
    containers = list(host.containers.containers())
    found = [each for each in containers if each.id == name] or [each for each in containers if each.name == name]
    if not found and len(name) >= 4:
        found = [each for each in containers if each.id.startswith(name)]
    if not found:
        raise Gone(f"there is no container {name!r}", "list them: hostscope containers")
    if len(found) > 1:
        named = ", ".join(each.id[:12] for each in found[:8])
        raise UsageError(f"{len(found)} containers are called {name!r}", f"name one by its id: {named}")
    return found[0]
