"""Names of addresses, by asking the host's resolvers: this sends packets, so it is done only when asked for."""

import queue
import socket
import threading
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from time import monotonic

from msgspec.structs import replace

from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.socket import Socket

AT_ONCE = 16
PATIENCE_S = 5.0
"""For all names of one answer together; what comes later is there the next time."""
MOST = 1000
"""Addresses that are asked for in one answer."""


class ReverseNames:
    """Asks for each address once."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._names: dict[str, str | None] = {}
        self._asked: set[str] = set()
        self._missing = 0

    def named(self, answer: Answer[Socket]) -> Answer[Socket]:
        """The answer with `Socket.domain` filled; its rows are all read before the first one is given."""
        return Answer(self._rows(answer), lambda: self._noted(answer.coverage))

    def of(self, addresses: Iterable[str]) -> dict[str, str]:
        """The names of those addresses that have one."""
        wanted = list(dict.fromkeys(addresses))
        self._ask([address for address in wanted if address not in self._asked and _is_sensible(address)])
        return {address: name for address in wanted if (name := self._names.get(address))}

    def _rows(self, answer: Answer[Socket]) -> Iterator[Socket]:
        rows = list(answer)
        addresses = dict.fromkeys(row.remote.address for row in rows if row.remote and row.family.startswith("inet"))
        self._ask([address for address in addresses if address not in self._asked and _is_sensible(address)])
        for row in rows:
            name = self._names.get(row.remote.address) if row.remote and row.domain is None else None
            yield replace(row, domain=name) if name else row

    def _ask(self, addresses: list[str]) -> None:
        """Threads, because the C library's look-up cannot be interrupted: those that hang end with the program."""
        wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        for address in addresses[:MOST]:
            wanted.put(address)
            self._asked.add(address)
        workers = [threading.Thread(target=self._work, args=(wanted,), daemon=True) for _ in addresses[:AT_ONCE]]
        _run(workers, self._patience_s)
        self._missing = sum(address not in self._names for address in addresses)

    def _work(self, wanted: "queue.SimpleQueue[str]") -> None:
        while True:
            try:
                address = wanted.get_nowait()
            except queue.Empty:
                return
            self._names[address] = look_up(address)

    def _noted(self, coverage: Coverage) -> Coverage:
        effects = (*coverage.effects, f"{len(self._asked)} addresses were sent to the host's resolvers")
        late = f"{self._missing} addresses were not answered within {self._patience_s:g} s"
        notes = (*coverage.notes, late) if self._missing else coverage.notes
        return replace(coverage, effects=effects if self._asked else coverage.effects, notes=notes)


def _run(workers: Iterable[threading.Thread], patience_s: float) -> None:
    until, started = monotonic() + patience_s, list(workers)
    for worker in started:
        worker.start()
    for worker in started:
        worker.join(max(0.0, until - monotonic()))


def _is_sensible(address: str) -> bool:
    """Not for addresses of this host, or of nobody."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or found.is_multicast)


def look_up(address: str) -> str | None:
    """The name that the host's name service has for an address; None when it has none."""
    try:
        return socket.gethostbyaddr(address)[0]
    except (OSError, UnicodeError):
        return None
