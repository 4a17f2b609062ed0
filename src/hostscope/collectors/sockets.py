"""Every socket, with its owners."""

import threading
from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.collectors.reverse_names import ReverseNames
from hostscope.collectors.targets import find as find_processes
from hostscope.collectors.turns import turns
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.key import ProcessKey
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import Socket, SocketRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally

NEVER_AGED = "age_ns"


class Chosen(Struct, frozen=True):
    """Whose sockets are meant: those of any of these processes, and those with one of these ports at either end."""

    keys: frozenset[ProcessKey] = frozenset()
    ports: frozenset[int] = frozenset()

    def has(self, row: Socket) -> bool:
        """Whether this one is."""
        if any(end is not None and end.port in self.ports for end in (row.local, row.remote)):
            return True
        return any(owner.key.same(key) for owner in row.owners or () for key in self.keys)


def collect(host: Host, request: SocketRequest | None = None, chosen: Chosen | None = None) -> Answer[Socket]:
    """Every socket that the request asks for, or those of `chosen`, in no order.

    Raises:
        UsageError, Unsupported, Denied: see `Sockets.sweep`; at the latest with the first row.
    """
    asked, tally = request or SocketRequest(), Tally()
    return Answer(_rows(host, asked, chosen, tally), lambda: _coverage(tally, asked))


def find(host: Host, request: SocketRequest, targets: Collection[str] = (), resolve: bool = False) -> Answer[Socket]:
    """The sockets of targets, or all; with the names of their other ends if `resolve`.

    Raises:
        UsageError: it is no target.
        Gone: a pid, key or name means no process. Denied, Mismatch
    """
    answer = collect(host, request, choose(host, targets) if targets else None)
    return ReverseNames().named(answer) if resolve else answer


def looks(
    host: Host, stop: threading.Event, interval_s: float, request: SocketRequest, targets: Collection[str] = (),
    resolve: bool = False,
) -> Iterator[Answer[Socket]]:  # fmt: skip
    """The same once, and again until `stop` is set. Processes are the same each time; each name is asked for once."""
    chosen, names = choose(host, targets) if targets else None, ReverseNames()
    for _ in turns(stop, interval_s):
        answer = collect(host, request, chosen)
        yield names.named(answer) if resolve else answer


def choose(host: Host, targets: Collection[str]) -> Chosen:
    """What targets mean: a pid, a name, ``:PORT`` or a key.

    Raises:
        UsageError: it is no target.
        Gone: a pid, key or name means no process. Denied, Mismatch
    """
    ports = frozenset(_port(target) for target in targets if target.startswith(":"))
    others = [target for target in targets if not target.startswith(":")]
    request = ProcessRequest(fields=frozenset())
    keys = frozenset(process.key for target in others for process in find_processes(host, target, request))
    return Chosen(keys, ports)


def _port(target: str) -> int:
    text = target[1:]
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or int(text) > 65535:
        raise UsageError(f"{text!r} is no port", "a target is a pid, a name, :PORT or a key such as 42@1234")
    return int(text)


def _coverage(tally: Tally, request: SocketRequest) -> Coverage:
    left_out = [name for name, asked in ((NEVER_AGED, request.age), ("tcp", request.tcp_details)) if not asked]
    return replace(tally.coverage(), not_asked=tuple(left_out))


def _rows(host: Host, request: SocketRequest, chosen: Chosen | None, tally: Tally) -> Iterator[Socket]:
    rows = host.sockets.sweep(request, tally)
    for row in rows if chosen is None else _chosen(rows, chosen, tally):
        tally.rows += 1
        if row.gaps:
            tally.count_gaps(row.gaps)
        yield row


def _chosen(rows: Iterator[Socket], chosen: Chosen, tally: Tally) -> Iterator[Socket]:
    for row in rows:
        if chosen.has(row):
            yield row
        else:
            tally.skipped += 1
