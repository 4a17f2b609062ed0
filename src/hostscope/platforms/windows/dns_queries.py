"""Questions that programs ask Windows' resolver, told by its events: whoever asks, however the servers are asked."""

from collections.abc import Iterator

from msgspec import Struct

from hostscope.model.dns import DnsAnswer, DnsQuery
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint
from hostscope.platforms.windows.clock import TICK_NS, filetime_ns
from hostscope.platforms.windows.etw_processes import People
from hostscope.platforms.windows.parse_etw import (
    DNS_CLIENT,
    KERNEL_PROCESS,
    DnsEvent,
    EtwRecord,
    parse_dns,
    result_addresses,
    result_alias,
)
from hostscope.platforms.windows.parse_etw_process import Started, parse_process_event
from hostscope.wire.dns import type_name

RESOLVER = "resolver"
ERROR_TIMEOUT = 1460
RCODES = {
    0: "NOERROR", 9001: "FORMERR", 9002: "SERVFAIL", 9003: "NXDOMAIN", 9004: "NOTIMP", 9005: "REFUSED",
    9501: "NOERROR",
}  # fmt: skip
"""DNS_ERROR_RCODE_* of winerror.h; 9501 (DNS_INFO_NO_RECORDS) is an answer without records."""
MOST_OPEN = 4096
"""Questions without an answer so far."""
_NO_SERVER = Gap("server", Reason.UNSUPPORTED, "Windows' resolver does not say whom it asked, if anybody")
_NO_CLIENT = Gap("client", Reason.UNSUPPORTED, "Windows' resolver does not say from where it asked")
_NOBODY = Endpoint("", None)


class _Asked(Struct, frozen=True, gc=False):
    """When a question began, and how often it was asked before it ended."""

    filetime: int
    attempts: int


class DnsQuestions:
    """Matches ends of questions with their beginnings."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._open: dict[tuple[int, str, int], _Asked] = {}
        self.unreadable = 0
        """Events whose payload made no sense."""

    def feed(self, record: EtwRecord) -> Iterator[DnsQuery]:
        """Takes one event; a row when it ends a question."""
        try:
            if record.provider == DNS_CLIENT:
                event = parse_dns(record)
                if event is not None:
                    yield from self._take(event, record)
            elif record.provider == KERNEL_PROCESS:
                started = parse_process_event(record)
                if isinstance(started, Started):
                    self._people.started(started)
        except ValueError:
            self.unreadable += 1

    def _take(self, event: DnsEvent, record: EtwRecord) -> Iterator[DnsQuery]:
        place = record.pid, event.name.lower(), event.type
        asked = self._open.pop(place, None)
        if event.status is None:
            self._open[place] = _Asked(asked.filetime if asked else record.filetime, asked.attempts + 1 if asked else 1)
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
            return
        yield self._row(event, event.status, record, asked)

    def _row(self, event: DnsEvent, status: int, record: EtwRecord, asked: _Asked | None) -> DnsQuery:
        person = self._people.of(record.pid)
        nobody = () if person else (Gap("key", Reason.GONE, f"process {record.pid} is not known"),)
        timed_out = status == ERROR_TIMEOUT
        return DnsQuery(
            at_ns=filetime_ns(asked.filetime if asked else record.filetime),
            name=event.name.rstrip(".").lower(),
            type=type_name(event.type),
            server=_NOBODY,
            client=_NOBODY,
            transport=RESOLVER,
            rcode=None if timed_out else RCODES.get(status, f"error {status}"),
            latency_ns=(record.filetime - asked.filetime) * TICK_NS if asked and not timed_out else None,
            answers=tuple(_answers(event)),
            timed_out=timed_out,
            attempts=asked.attempts if asked else 1,
            key=person.key if person else None,
            process=person.name if person else None,
            gaps=(_NO_SERVER, _NO_CLIENT, *nobody),
        )


def _answers(event: DnsEvent) -> Iterator[DnsAnswer]:
    """In the resolver's order: aliases first, each of the name before it."""
    name = event.name.rstrip(".").lower()
    for text in event.results:
        alias = result_alias(text)
        if alias is not None:
            kind, value = alias
            yield DnsAnswer(name, type_name(kind), None, value)
            name = value.rstrip(".").lower() if kind == _CNAME else name
        for address in result_addresses((text,)):
            yield DnsAnswer(name, "AAAA" if ":" in address else "A", None, address)


_CNAME = 5
