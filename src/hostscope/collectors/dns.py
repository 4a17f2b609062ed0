"""How names are resolved here, and what is asked: by packets, live or from a file."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext, suppress
from functools import partial
from itertools import chain
from time import time_ns
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec.structs import replace

from hostscope.collectors.attribution import Owners, counting
from hostscope.collectors.reverse_names import ReverseNames
from hostscope.errors import Denied, Unavailable, Unsupported
from hostscope.model.answer import Answer
from hostscope.model.capture import CaptureRequest
from hostscope.model.coverage import Coverage
from hostscope.model.dns import DnsQuery, DnsRequest, Resolver, ResolverScore
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import Endpoint, SocketOwner
from hostscope.platforms.base import Host
from hostscope.platforms.base_network import PacketSource
from hostscope.platforms.tally import Tally
from hostscope.wire.dns import DnsPacket
from hostscope.wire.queries import Exchange, Oddities, Owner, OwnerOf, QueryTable, Written, protocol_of
from hostscope.wire.scores import ScoreBoard
from hostscope.wire.stubs import StubLinks

if TYPE_CHECKING:
    from hostscope.private import Override
    from hostscope.wire.dns_packets import DnsPackets

Named = TypeVar("Named", Resolver, ResolverScore)

TICK_S = 0.1
LAG_NS = 500_000_000
"""Packets come out of the capture so much later at most; what looks unanswered until then may not be."""
_RING_BYTES = 8 << 20
_WAITING = 256
"""Batches of messages that may wait to be matched; the capture's own ring holds what comes then."""
ENCRYPTED = "questions over TLS or HTTPS are encrypted: they cannot be seen, only that there is a connection"
ASKED_NAMES = "servers' addresses were sent to the host's resolvers"
ELSEWHERE = "more network namespaces: what stays inside them is not seen; --namespace looks into one"
_ANYONE = Endpoint("", None)


def collect(host: Host, request: ProcessRequest | None = None) -> Answer[Resolver]:
    """Every configured resolver, in the order in which it is asked; stubs with who listens there."""
    tally = Tally()
    return Answer(_resolvers(host, tally), tally.coverage)


def _resolvers(host: Host, tally: Tally) -> Iterator[Resolver]:
    owners = Owners(host, Tally())
    for resolver in host.resolvers.resolvers(tally):
        row = _with_listener(resolver, owners) if resolver.stub else resolver
        tally.seen += 1
        tally.rows += 1
        tally.count_gaps(row.gaps)
        yield row


def with_names(answer: Answer[Named], address_of: Callable[[Named], str]) -> Answer[Named]:
    """The rows with the names of their servers, which the host's own resolvers are asked for: this sends packets."""

    def rows() -> Iterator[Named]:
        found = list(answer)
        known = ReverseNames().of(map(address_of, found))
        yield from (replace(row, name=known.get(address_of(row))) for row in found)

    def coverage() -> Coverage:
        return replace(answer.coverage, effects=(*answer.coverage.effects, ASKED_NAMES))

    return Answer(rows(), coverage)


def scores(answer: Answer[DnsQuery], board: ScoreBoard) -> Answer[ResolverScore]:
    """The board, once every question was counted; it covers what the questions cover."""

    def rows() -> Iterator[ResolverScore]:
        for _ in answer:
            pass
        yield from board.rows()

    return Answer(rows(), lambda: answer.coverage)


def _with_listener(resolver: Resolver, owners: Owners) -> Resolver:
    """A resolver on this host, and the process behind it."""
    server = Endpoint(resolver.address.partition("%")[0], resolver.port)
    found = owners.owner_of("udp", server, _ANYONE, time_ns())
    if isinstance(found, SocketOwner):
        return replace(resolver, key=found.key, process=found.name)
    return replace(resolver, gaps=(*resolver.gaps, found)) if found else resolver


def observe(
    host: Host, request: DnsRequest, stop: threading.Event, board: ScoreBoard, owner_of: OwnerOf | None = None
) -> Answer[DnsQuery]:
    """Every question that passes until `stop`, when it was answered or timed out; `board` counts along.

    Args:
        owner_of: knows whose socket it is; by default sockets are listed, which is too late for those that closed.

    Raises:
        UsageError: an interface does not exist.
        Denied, Unsupported: packets cannot be captured; with the first row.
    """
    tally = Tally()
    return Answer(_rows(host, request, stop, board, owner_of, tally), tally.coverage)


def _rows(
    host: Host, request: DnsRequest, stop: threading.Event, board: ScoreBoard, owner_of: OwnerOf | None, tally: Tally
) -> Iterator[DnsQuery]:
    """What the host's own resolver tells, encrypted questions too; else what packets do."""
    if not (request.packets or request.interfaces or request.namespace):
        try:
            told = host.resolvers.queries(stop, tally)
            first = next(told, None)
        except (Denied, Unsupported, Unavailable) as failed:
            if not isinstance(failed, Unsupported):  # where no resolver ever tells, packets are no second choice
                tally.method_reason = failed.message
        else:
            yield from _counted(chain([first] if first else [], told), tally)
            return
    yield from _observed(host, request, stop, board, owner_of, tally)


def _counted(rows: Iterable[DnsQuery], tally: Tally) -> Iterator[DnsQuery]:
    for row in rows:
        tally.seen += 1
        tally.rows += 1
        tally.count_gaps(row.gaps)
        yield row


def _observed(
    host: Host, request: DnsRequest, stop: threading.Event, board: ScoreBoard, owner_of: OwnerOf | None, tally: Tally
) -> Iterator[DnsQuery]:
    from hostscope.wire.dns_packets import DnsPackets  # brings NumPy along

    packets = DnsPackets(request.ports, request.multicast)
    capture = CaptureRequest(
        request.interfaces, kernel_filter(request), ring_bytes=_RING_BYTES, namespace=request.namespace
    )
    tally.note(ENCRYPTED)
    with counting(host, tally) as meter, host.capture.open(capture, tally) as source:
        host.privileges.settle("packet-ring")
        owners = Owners(host, tally, _namespace(source), meter)
        if (others := owners.addresses.namespaces() - 1) > 0:
            tally.note(f"{others} {ELSEWHERE}")
        matching = Matching(request, board, tally, Askers(owners, owner_of, meter is not None))
        with closing(_Reader(source, packets, stop)) as reader:
            for batch in reader.batches():
                for packet in batch:
                    yield from matching.feed(packet, time_ns())
                if not batch:
                    yield from matching.tick(time_ns() - LAG_NS, time_ns())
        tally.lost += sum(counts.dropped or 0 for counts in source.counts())
        yield from matching.finish()
        matching.say(packets)


def _namespace(source: PacketSource) -> int | None:
    """Where the packets pass."""
    return next((interface.net_ns for interface in source.interfaces), None)


class Asked(Protocol):
    """Who asks and who answers."""

    def is_local(self, address: str) -> bool:
        """Whether it is an address of the host where the packets were seen."""

    def early(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> Owner:
        """When a question is seen."""

    def late(self, exchange: Exchange) -> None:
        """When its row is made; sets the exchange's owner."""

    def serving(self, exchange: Exchange) -> SocketOwner | Written | None:
        """Who answers at a server's end."""


class Askers:
    """By the hook from outside, else as `Owners` finds it."""

    def __init__(self, owners: Owners, given: OwnerOf | None, counts: bool) -> None:
        self._owners, self._given, self._counts = owners, given, counts

    def is_local(self, address: str) -> bool:
        """See `Asked`."""
        return self._owners.is_local(address)

    def early(self, protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> Owner:
        """See `Asked`. Sockets are listed at once unless somebody will know later."""
        if self._given is not None:
            return self._given(protocol, local, remote, at_ns)
        return None if self._counts else self._owners.owner_of(protocol, local, remote, at_ns)

    def late(self, exchange: Exchange) -> None:
        """See `Asked`."""
        if isinstance(exchange.owner, SocketOwner) or not self._counts or not self.is_local(exchange.client.address):
            exchange.settled = True
            return
        asked = (protocol_of(exchange.transport), exchange.client, exchange.server, exchange.at_ns)
        found = self._owners.owner_of(*asked)
        exchange.owner = exchange.owner if exchange.owner and not isinstance(found, SocketOwner) else found
        exchange.settled = exchange.ended_ns is not None or isinstance(exchange.owner, SocketOwner)

    def serving(self, exchange: Exchange) -> SocketOwner | None:
        """See `Asked`; such sockets stay open."""
        asked = (protocol_of(exchange.transport), exchange.server, exchange.client, exchange.at_ns)
        found = self._owners.listener(*asked)
        return found if isinstance(found, SocketOwner) else None


def read(path: str, request: DnsRequest, board: ScoreBoard, raised: "Override" = nullcontext) -> Answer[DnsQuery]:
    """The same from a capture file, with the processes that its comments name, if any. `raised`: see `open_capture`.

    Raises:
        UsageError: no such file, or not a capture file. Denied: it may not be read. With the first row.
    """
    tally = Tally()
    return Answer(_read(path, request, board, tally, raised), tally.coverage)


def _read(path: str, request: DnsRequest, board: ScoreBoard, tally: Tally, raised: "Override") -> Iterator[DnsQuery]:
    from hostscope.collectors.file_askers import FROM_COMMENTS, FileAskers
    from hostscope.wire.capture_file import open_capture
    from hostscope.wire.dns_packets import DnsPackets

    packets, askers = DnsPackets(request.ports, request.multicast), FileAskers()
    matching = Matching(request, board, tally, askers)
    tally.method = "file"
    with open_capture(path, raised) as capture:
        for batch in capture.batches():
            for packet in packets.feed(batch, partial(capture.comments, batch)):
                askers.hear(packet)
                yield from matching.feed(packet, packet.at_ns)
        if capture.ending is not None:
            tally.failed += 1
            tally.note(f"{path}: {capture.ending.lost_bytes} bytes at the end: {capture.ending.reason}")
    yield from matching.finish()
    matching.say(packets)
    if askers.named:
        tally.note(FROM_COMMENTS)


def kernel_filter(request: DnsRequest) -> str:
    """What the kernel lets through, in libpcap's words. Later fragments have no ports, and are not seen."""
    ports = [*request.ports, *((5353, 5355) if request.multicast else ())]
    return " or ".join(f"port {port}" for port in ports)


class Matching:
    """Messages in, rows out."""

    def __init__(self, request: DnsRequest, board: ScoreBoard, tally: Tally, owners: Asked) -> None:
        self._board, self._tally, self._owners = board, tally, owners
        self._table = QueryTable(int(request.timeout_s * 1e9), owners.early, self._asked)
        self._links = StubLinks(owners.is_local, settle=owners.late)

    def feed(self, packet: DnsPacket, now_ns: int) -> Iterator[DnsQuery]:
        """Takes one message."""
        for exchange in self._table.feed(packet):
            self._links.ended(exchange, now_ns)
        yield from self._counted(self._links.ready(now_ns))

    def tick(self, seen_ns: int, now_ns: int) -> Iterator[DnsQuery]:
        """Nothing came; everything until `seen_ns` was seen."""
        for exchange in self._table.expire(seen_ns):
            self._links.ended(exchange, now_ns)
        yield from self._counted(self._links.ready(now_ns))

    def finish(self) -> Iterator[DnsQuery]:
        """What is left: questions without an answer, those not yet timed out among them."""
        for exchange in self._table.finish():
            self._links.ended(exchange, 0)
        yield from self._counted(self._links.finish())

    def _asked(self, exchange: Exchange) -> None:
        if self._owners.is_local(exchange.server.address):
            exchange.server_owner = self._owners.serving(exchange)
        self._links.asked(exchange)

    def _counted(self, rows: Iterator[DnsQuery]) -> Iterator[DnsQuery]:
        for row in rows:
            self._tally.seen += 1
            self._tally.rows += 1
            self._tally.count_gaps(row.gaps)
            self._board.add(row)
            yield row

    def say(self, packets: "DnsPackets") -> None:
        """Puts what fitted nowhere into the coverage."""
        for line in _lines(self._table.oddities, packets.unreadable, packets.dropped):
            self._tally.note(line)


def _lines(odd: Oddities, unreadable: int, dropped: int) -> Iterator[str]:
    counts = {
        "answers to nothing that was seen being asked": odd.unasked,
        "answers with a wrong identifier, server or question, as forgeries have": odd.mismatched,
        "second answers that differ from the first, as forgeries do": odd.conflicting,
        "answers after the time limit": odd.late,
        "questions reported early, because too many were open": odd.evicted,
        "messages without a question": odd.questionless,
        "packets without a readable message": unreadable,
        "TCP connections that could not be put together": dropped,
    }
    return (f"{what}: {count}" for what, count in counts.items() if count)


Batch = list[DnsPacket]


class _Reader:
    """Reads a capture in a thread of its own, so that time passes for us even when no packets do."""

    def __init__(self, source: PacketSource, packets: "DnsPackets", stop: threading.Event) -> None:
        self._source, self._packets, self._stop = source, packets, stop
        self._found: queue.Queue[Batch | Exception | None] = queue.Queue(_WAITING)
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dns-packets", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self._source.batches(self._stop):
                self._put(list(self._packets.feed(batch)))
            self._put(None)
        except Exception as failed:  # whatever it is, it is raised where the rows are read
            self._put(failed)

    def _put(self, item: Batch | Exception | None) -> None:
        while not self._abandoned.is_set():
            with suppress(queue.Full):
                self._found.put(item, timeout=TICK_S)
                return

    def batches(self) -> Iterator[Batch]:
        """Messages as they come; an empty batch when there are none for a moment."""
        while True:
            try:
                batch = self._found.get(timeout=TICK_S)
            except queue.Empty:
                batch = []
            if batch is None:
                return
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def close(self) -> None:
        """Ends the reading, however far it has come."""
        self._stop.set()
        self._abandoned.set()
        self._thread.join()
