"""Questions and their answers: who asked whom what, and how long it took. Bounded.

An answer belongs to a question when client, server, identifier, name and type are the same. Whatever comes otherwise
is counted: it may be a forgery, or belong to a question from before.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hostscope.model.dns import DnsAnswer
from hostscope.model.gap import Gap
from hostscope.model.socket import Endpoint, SocketOwner
from hostscope.wire.dns import DnsMessage, DnsPacket, Question

MAX_OPEN = 65_536
"""Unanswered questions; of more the oldest are reported as they are."""
COPY_NS = 5_000_000
"""The same packet within so short a time is a copy on another interface, no second attempt."""
DEFAULT_TIMEOUT_NS = 5_000_000_000
_MULTICAST = ("mdns", "llmnr")
_NOBODY = Endpoint("", None)


class Written(NamedTuple):
    """A process as a capture file names it, such as ``curl[1234]``: which one of that number, it does not say."""

    name: str


Owner = SocketOwner | Written | Gap | None
OwnerOf = Callable[[str, Endpoint, Endpoint, int], Owner]
"""Whose socket that is: protocol, local end, remote end, moment. A gap says why it is not known; None: not ours."""

Key = tuple[str, Endpoint, Endpoint, int, Question]


def nobody(protocol: str, local: Endpoint, remote: Endpoint, at_ns: int) -> None:
    """Knows of no process."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One question, and its answer when there is one."""

    at_ns: int
    question: Question
    client: Endpoint
    server: Endpoint
    transport: str
    owner: Owner = None
    server_owner: SocketOwner | Written | None = None
    """Of a server on this host."""
    last_ns: int = 0
    attempts: int = 1
    ended_ns: int | None = None
    rcode: str | None = None
    answers: tuple[DnsAnswer, ...] = ()
    truncated: bool = False
    cut: bool = False
    timed_out: bool = False
    settled: bool = False
    """Nothing more will be learnt of the owner."""

    @property
    def latency_ns(self) -> int | None:
        """From the first attempt to the answer."""
        return None if self.rcode is None or self.ended_ns is None else self.ended_ns - self.at_ns


@dataclass
class Oddities:
    """Messages that fit no question, by how."""

    unasked: int = 0
    """Answers to questions that were not seen; those from before the start are among them."""
    mismatched: int = 0
    """Answers to a client that waits for one, but with another identifier, server or question: as forgeries have."""
    conflicting: int = 0
    """Second answers that say something else than the first."""
    late: int = 0
    """Answers after the question had timed out."""
    evicted: int = 0
    """Questions that were reported early, because too many were open."""
    questionless: int = 0
    """Messages without a readable question."""


@dataclass
class QueryTable:
    """Matches messages."""

    timeout_ns: int = DEFAULT_TIMEOUT_NS
    owner_of: OwnerOf = nobody
    on_ask: Callable[[Exchange], None] = lambda exchange: None
    """Told of each new question."""
    limit: int = MAX_OPEN
    oddities: Oddities = field(default_factory=Oddities)
    _open: OrderedDict[Key, Exchange] = field(default_factory=OrderedDict)
    _waiting: dict[tuple[str, Endpoint], dict[Key, None]] = field(default_factory=dict)
    """Open questions by transport and client."""
    _done: OrderedDict[Key, Exchange] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._open)

    def feed(self, packet: DnsPacket) -> Iterator[Exchange]:
        """Takes a message; gives what ended by it or before it."""
        yield from self.expire(packet.at_ns)
        message = packet.message
        if message.opcode != "QUERY":
            return
        if message.response:
            yield from self._answered(packet)
        elif not message.questions:
            self.oddities.questionless += 1
        for question in () if message.response else message.questions:
            yield from self._asked(packet, question)

    def expire(self, now_ns: int) -> Iterator[Exchange]:
        """What has waited too long for an answer."""
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if now_ns - oldest.last_ns < self.timeout_ns:
                return
            oldest.timed_out = True
            oldest.ended_ns = oldest.last_ns + self.timeout_ns
            yield self._end(key)

    def finish(self) -> Iterator[Exchange]:
        """What still waits, at the end."""
        while self._open:
            yield self._end(next(iter(self._open)))

    def _asked(self, packet: DnsPacket, question: Question) -> Iterator[Exchange]:
        key = _key(packet.transport, packet.source, packet.destination, packet.message.id, question)
        known = self._open.get(key)
        if known is not None:
            self._repeated(key, known, packet.at_ns)
            return
        if self._is_copy(key, packet.at_ns):
            return
        exchange = Exchange(packet.at_ns, question, packet.source, packet.destination, packet.transport)
        exchange.last_ns = packet.at_ns
        exchange.owner = self.owner_of(protocol_of(packet.transport), packet.source, packet.destination, packet.at_ns)
        self._open[key] = exchange
        self._waiting.setdefault(key[:2], {})[key] = None
        self.on_ask(exchange)
        if len(self._open) > self.limit:
            self.oddities.evicted += 1
            yield self._end(next(iter(self._open)))

    def _repeated(self, key: Key, exchange: Exchange, at_ns: int) -> None:
        if at_ns - exchange.last_ns > COPY_NS:
            exchange.attempts += 1
            exchange.last_ns = at_ns
            self._open.move_to_end(key)

    def _is_copy(self, key: Key, at_ns: int) -> bool:
        """Whether a question that was answered a moment ago is seen once more on its way."""
        done = self._done.get(key)
        return done is not None and at_ns - done.last_ns <= COPY_NS

    def _answered(self, packet: DnsPacket) -> Iterator[Exchange]:
        message = packet.message
        keys = [self._key_of(packet, question) for question in message.questions or _asked_by(message)]
        keys = keys or self._only_key(packet)
        found = [key for key in keys if key in self._open]
        if not found:
            self._count(packet, keys)
        for key in found:
            exchange = self._open[key]
            exchange.ended_ns, exchange.rcode = packet.at_ns, message.rcode
            exchange.answers, exchange.truncated, exchange.cut = message.answers, message.truncated, message.cut
            yield self._end(key)

    def _key_of(self, packet: DnsPacket, question: Question) -> Key:
        return _key(packet.transport, packet.destination, packet.source, packet.message.id, question)

    def _only_key(self, packet: DnsPacket) -> list[Key]:
        """Of an answer without a question, as some failures have: what the client asked that server under that id."""
        wanted = (packet.transport, packet.destination, packet.source, packet.message.id)
        return [key for key in self._waiting.get(wanted[:2], ()) if key[:4] == wanted][:1]

    def _count(self, packet: DnsPacket, keys: list[Key]) -> None:
        done = next((self._done[key] for key in keys if key in self._done), None)
        if done is not None:
            self._count_again(done, packet.message)
        elif packet.transport in _MULTICAST:
            return  # answers that nobody asked for are how these announce things
        elif self._waiting.get((packet.transport, packet.destination)):
            self.oddities.mismatched += 1
        elif not keys:
            self.oddities.questionless += 1
        else:
            self.oddities.unasked += 1

    def _count_again(self, done: Exchange, message: DnsMessage) -> None:
        if done.timed_out:
            self.oddities.late += 1
        elif (done.rcode, done.answers) != (message.rcode, message.answers):
            self.oddities.conflicting += 1

    def _end(self, key: Key) -> Exchange:
        exchange = self._open.pop(key)
        waiting = self._waiting[key[:2]]
        del waiting[key]
        if not waiting:
            del self._waiting[key[:2]]
        self._done[key] = exchange
        self._done.move_to_end(key)
        if len(self._done) > self.limit:
            self._done.popitem(last=False)
        return exchange


def _key(transport: str, client: Endpoint, server: Endpoint, number: int, question: Question) -> Key:
    """Answers over multicast come from whoever knows, and with mDNS go to everybody."""
    if transport == "mdns":
        return transport, _NOBODY, _NOBODY, 0, question
    return transport, client, _NOBODY if transport == "llmnr" else server, number, question


def _asked_by(message: DnsMessage) -> tuple[Question, ...]:
    """The questions that an answer of mDNS, which repeats none, can be for."""
    return tuple(dict.fromkeys(Question(each.name, each.type) for each in message.answers))


def protocol_of(transport: str) -> str:
    """What carries DNS messages of a transport."""
    return "tcp" if transport == "tcp" else "udp"
