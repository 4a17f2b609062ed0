"""Traffic by process: what a meter counted, made rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from time import monotonic, perf_counter_ns, sleep
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from hostscope.collectors.flow_targets import Chosen, choose
from hostscope.collectors.meters import OF_PACKETS, open_meter
from hostscope.collectors.people import People
from hostscope.collectors.windows import Histories
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.key import ProcessKey
from hostscope.model.request import ProcessRequest
from hostscope.model.traffic import Counts, Flow, Ledger, ProcessTraffic, Reading, TrafficRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.private import Override


class Written(NamedTuple):
    """A process as a capture file names it."""

    name: str


Owner = ProcessKey | Written | str
"""A process, or a reason why there is none."""
COLLECT_S = 1.0
OBSERVE_S, POLL_S = 1.0, 0.2
MOST_NAMED = 64
"""Remote addresses and domains that a row names."""
WIRE_METHODS = OF_PACKETS | {"file"}


class Look(NamedTuple):
    """What was counted until now."""

    processes: tuple[ProcessTraffic, ...]
    """The one with most traffic first."""
    flows: tuple[Flow, ...]
    """In the same order."""
    ledger: Ledger | None
    elapsed_ns: int


class TrafficWatch:
    """A meter that is open, and the rates since it was last looked at."""

    def __init__(self, host: Host, meter: Meter, tally: Tally, chosen: Chosen | None = None) -> None:
        self._meter, self._tally, self._chosen = meter, tally, chosen
        self._people = People(host)
        self._histories = Histories(perf_counter_ns())
        self._last: dict[Owner, Counts] = {}
        self._last_ns = perf_counter_ns()

    @property
    def measures(self) -> str:
        """Which quantity: ``payload`` or ``wire``."""
        return "wire" if self._meter.method in WIRE_METHODS else "payload"

    @property
    def observe_s(self) -> float:
        """How often to `observe` while nobody looks: polling sees only what there is at that moment."""
        return POLL_S if self._meter.method == "polling" else OBSERVE_S

    def observe(self) -> Reading:
        """Lets the windows know what the counters are; for a look's reading, or in between."""
        reading, now_ns = self._meter.read(), perf_counter_ns()
        if self._chosen:
            reading = replace(reading, flows=tuple(filter(self._chosen.has, reading.flows)))
        totals: dict[Owner, int] = {}
        for flow in reading.flows:
            owner = owner_of(flow)
            totals[owner] = totals.get(owner, 0) + measured(flow).total_bytes
        for owner, total in totals.items():
            self._histories.observe(owner, now_ns, total)
        self._histories.begin(now_ns)
        return reading

    def look(self, people: bool = True) -> Look:
        """Everything counted since the meter was opened; rates are since the last look.

        Args:
            people: find out users, containers, and who has ended.
        """
        reading, now_ns = self.observe(), perf_counter_ns()
        grouped = group(reading.flows)
        seconds = _span_s(reading.flows) if self._meter.method == "file" else (now_ns - self._last_ns) / 1e9
        rows = [self._row(owner, flows, seconds, now_ns) for owner, flows in grouped.items()]
        rows = self._people.describe(rows) if people else rows
        rows.sort(key=lambda row: -measured(row).total_bytes)
        self._last = {owner: _sum(flows) for owner, flows in grouped.items()}
        self._last_ns = now_ns
        self._count(reading, rows)
        flows = sorted(reading.flows, key=lambda flow: -measured(flow).total_bytes)
        return Look(tuple(rows), tuple(flows), reading.ledger, reading.elapsed_ns)

    def coverage(self) -> Coverage:
        """How it was measured, and what was lost."""
        return self._tally.coverage()

    def _row(self, owner: Owner, flows: list[Flow], seconds: float, now_ns: int) -> ProcessTraffic:
        row = process_row(owner, flows)
        grown = measured(row) - self._last.get(owner, Counts())
        recent = self._histories.observe(owner, now_ns, measured(row).total_bytes).windows[1].rates(now_ns)
        return replace(
            row,
            sent_rate=max(0.0, grown.sent_bytes / seconds) if seconds else 0.0,
            received_rate=max(0.0, grown.received_bytes / seconds) if seconds else 0.0,
            recent=recent[-20:],
        )

    def _count(self, reading: Reading, rows: list[ProcessTraffic]) -> None:
        self._tally.rows = len(rows)
        self._tally.seen = len(reading.flows)
        self._tally.lost = reading.lost.total_packets
        if reading.evicted.total_bytes:
            self._tally.note("the table of connections was full: long idle ones were dropped, see the ledger")


@contextmanager
def watch(
    host: Host, request: TrafficRequest, tally: Tally | None = None, targets: tuple[str, ...] = ()
) -> Iterator[TrafficWatch]:
    """Counts traffic while the block runs, by the best method there is or the one that is named.

    Raises:
        UsageError: there is no such method or interface, or it is no target.
        Gone: a pid or key means no process. Denied, Mismatch, Unsupported
    """
    chosen = choose(host, targets) if targets else None
    tally = tally or Tally()
    with open_meter(host, request, tally) as meter:
        yield TrafficWatch(host, meter, tally, chosen)


@contextmanager
def watch_file(
    host: Host, path: str, request: TrafficRequest, targets: tuple[str, ...] = (), raised: "Override" = nullcontext
) -> Iterator[TrafficWatch]:
    """The same for a capture file. `raised`: see `hostscope.wire.capture_file.open_capture`.

    Raises:
        UsageError: no such file, or no capture file. Denied, Unsupported
    """
    from hostscope.collectors.file_meter import FileMeter, read_file

    tally = Tally()
    reading = read_file(path, tally, request.max_flows, request.names is not False, raised)
    yield TrafficWatch(host, FileMeter(reading), tally, choose(host, targets) if targets else None)


def collect(
    host: Host,
    request: ProcessRequest | None = None,
    traffic: TrafficRequest | None = None,
    duration_s: float = COLLECT_S,
) -> Answer[ProcessTraffic]:
    """What each process sent and received in so many seconds."""
    tally = Tally()
    return Answer(_rows(host, traffic or TrafficRequest(), tally, duration_s), tally.coverage)


def _rows(host: Host, request: TrafficRequest, tally: Tally, duration_s: float) -> Iterator[ProcessTraffic]:
    until = monotonic() + duration_s
    with watch(host, request, tally) as watching:
        sleep(max(0.0, until - monotonic()))
        yield from watching.look().processes


def _span_s(flows: Iterable[Flow]) -> float:
    """From the first packet of all to the last one."""
    first = min((flow.first_at_ns for flow in flows if flow.first_at_ns is not None), default=0)
    return (max((flow.last_at_ns for flow in flows if flow.last_at_ns is not None), default=first) - first) / 1e9


def owner_of(flow: Flow) -> Owner:
    """Whose a flow is."""
    if flow.key or flow.unknown:
        return flow.key or flow.unknown or "gone"
    return Written(flow.name) if flow.name else "gone"


def measured(of: Flow | ProcessTraffic) -> Counts:
    """The one quantity that the method measured."""
    return of.wire or of.payload or Counts()


def group(flows: Iterable[Flow]) -> dict[Owner, list[Flow]]:
    """Flows by whose they are."""
    grouped: dict[Owner, list[Flow]] = {}
    for flow in flows:
        grouped.setdefault(owner_of(flow), []).append(flow)
    return grouped


def process_row(owner: Owner, flows: list[Flow]) -> ProcessTraffic:
    """All flows of one owner as a row, without rates."""
    busiest = sorted(flows, key=lambda flow: -measured(flow).total_bytes)
    latest = max(flows, key=lambda flow: flow.first_at_ns or 0)
    return ProcessTraffic(
        key=owner if isinstance(owner, ProcessKey) else None,
        name=f"({owner})" if isinstance(owner, str) else latest.name or "?",
        connections=len(flows),
        payload=_sum_of(flows, lambda flow: flow.payload),
        wire=_sum_of(flows, lambda flow: flow.wire),
        sent_rate=0.0,
        received_rate=0.0,
        unknown=owner if isinstance(owner, str) else None,
        user=None if isinstance(owner, str) else _user(latest),
        domains=_first(flow.domain for flow in busiest),
        addresses=_first(flow.remote.address if flow.remote else None for flow in busiest),
    )


def _user(flow: Flow) -> str | None:
    return flow.user.name or flow.user.id if flow.user else None


def _first(names: Iterable[str | None]) -> tuple[str, ...]:
    """The first different ones."""
    found: dict[str, None] = {}
    for name in names:
        if name:
            found[name] = None
        if len(found) == MOST_NAMED:
            break
    return tuple(found)


def _sum(flows: Iterable[Flow]) -> Counts:
    return sum((measured(flow) for flow in flows), Counts())


def _sum_of(flows: list[Flow], part: Callable[[Flow], Counts | None]) -> Counts | None:
    found = [counts for flow in flows if (counts := part(flow)) is not None]
    return sum(found, Counts()) if found else None


def addresses_of(rows: Iterable[Flow | ProcessTraffic]) -> Iterator[str]:
    """The remote addresses of rows that have no name."""
    for row in rows:
        if isinstance(row, ProcessTraffic):
            yield from row.addresses if not row.domains else ()
        elif row.remote is not None and row.domain is None:
            yield row.remote.address


def with_names(rows: Iterable[Flow | ProcessTraffic], names: Mapping[str, str]) -> list[Flow | ProcessTraffic]:
    """The rows with names that were asked for, where they had none."""
    return [_with_names(row, names) for row in rows]


def _with_names(row: Flow | ProcessTraffic, names: Mapping[str, str]) -> Flow | ProcessTraffic:
    if isinstance(row, ProcessTraffic):
        found = _first(names.get(address) for address in row.addresses)
        return replace(row, domains=found) if found and not row.domains else row
    name = names.get(row.remote.address) if row.remote and row.domain is None else None
    return replace(row, domain=name, domain_source="reverse") if name else row
