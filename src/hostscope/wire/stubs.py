"""Processes behind a resolver of this host: which of them a question that it sent on was for.

No packet says so. A question that goes on has the name and type of one that a local resolver was asked and has not
answered yet, and leaves from that resolver's socket where owners are known.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from hostscope.model.dns import DnsQuery
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import SocketOwner
from hostscope.wire.dns import Question
from hostscope.wire.queries import Exchange, Owner, Written

PROCESS = (SocketOwner, Written)
"""Owners that are known."""
HOLD_NS = 300_000_000
"""How long a row waits for what other interfaces saw earlier: each has its packets in order, not all together."""
WINDOW_NS = 2_000_000_000
"""Without owners, a question counts as sent on only so soon after it was asked."""
MAX_QUESTIONS = 8192
_MAX_ASKERS = 64
_MAX_CHAIN = 4
"""Resolvers on this host that ask each other."""


def is_loopback(address: str) -> bool:
    """Whether only this host can have that address."""
    return ip_address(address.partition("%")[0]).is_loopback


class StubLinks:
    """Turns finished exchanges into rows, those of local resolvers with who asked them."""

    def __init__(
        self,
        is_local: Callable[[str], bool] = is_loopback,
        hold_ns: int = HOLD_NS,
        settle: Callable[[Exchange], None] = lambda exchange: None,
    ) -> None:
        """`settle` looks for owners once more, before a row is made: what counts traffic knows ended processes."""
        self._is_local = is_local
        self._settle = settle
        self._hold_ns = hold_ns
        self._asked: OrderedDict[Question, deque[Exchange]] = OrderedDict()
        self._held: deque[tuple[int, Exchange]] = deque()

    def asked(self, exchange: Exchange) -> None:
        """Takes note of a question when it is asked."""
        if not self._is_local(exchange.server.address):
            return
        askers = self._asked.setdefault(exchange.question, deque(maxlen=_MAX_ASKERS))
        askers.append(exchange)
        self._asked.move_to_end(exchange.question)
        if len(self._asked) > MAX_QUESTIONS:
            self._asked.popitem(last=False)

    def ended(self, exchange: Exchange, now_ns: int) -> None:
        """Takes an exchange that has ended; it comes out of `ready` a moment later."""
        self._held.append((now_ns, exchange))

    def ready(self, now_ns: int) -> Iterator[DnsQuery]:
        """Rows that have waited long enough."""
        while self._held and now_ns - self._held[0][0] >= self._hold_ns:
            yield self._row(self._held.popleft()[1])

    def finish(self) -> Iterator[DnsQuery]:
        """All rows that are left."""
        while self._held:
            yield self._row(self._held.popleft()[1])

    def _row(self, exchange: Exchange) -> DnsQuery:
        for each in (exchange, *self._asked.get(exchange.question, ())):
            if not each.settled:
                self._settle(each)
        askers = self._askers(exchange)
        return _linked(exchange, askers) if askers else _plain(exchange)

    def _askers(self, exchange: Exchange) -> list[Owner]:
        """Who asked, each once; empty when no local resolver was asked."""
        found: dict[str, Owner] = {}
        waiting = [exchange]
        for _ in range(_MAX_CHAIN):
            waiting = [asked for each in waiting for asked in self._behind(each)]
            for asked in waiting:
                if not self._behind(asked):
                    found.setdefault(_text(asked), asked.owner)
        return list(found.values())

    def _behind(self, exchange: Exchange) -> list[Exchange]:
        return [asked for asked in self._asked.get(exchange.question, ()) if _sends_on(asked, exchange)]


def _sends_on(asked: Exchange, sent: Exchange) -> bool:
    """Whether the server of `asked` may have sent `sent` to answer it."""
    if asked is sent or asked.at_ns > sent.at_ns or (asked.ended_ns is not None and asked.ended_ns < sent.at_ns):
        return False
    sender, asker = sent.owner, asked.owner
    if isinstance(sender, PROCESS) and asked.server_owner is not None:
        return _same(sender, asked.server_owner)
    if isinstance(sender, PROCESS) and isinstance(asker, PROCESS):
        return not _same(sender, asker) and sent.at_ns - asked.at_ns < WINDOW_NS
    return sent.client != asked.client and sent.server != asked.server and sent.at_ns - asked.at_ns < WINDOW_NS


def _same(one: SocketOwner | Written, other: SocketOwner | Written) -> bool:
    if isinstance(one, SocketOwner) and isinstance(other, SocketOwner):
        return one.key.same(other.key)
    return one == other


def _text(exchange: Exchange) -> str:
    owner = exchange.owner
    if isinstance(owner, Written):
        return owner.name
    return f"{owner.name}({owner.key})" if isinstance(owner, SocketOwner) else f"the owner of {exchange.client}"


def _plain(exchange: Exchange) -> DnsQuery:
    return _query(exchange, exchange.owner, False, None, ())


def _linked(exchange: Exchange, askers: list[Owner]) -> DnsQuery:
    sender, gaps = exchange.owner, tuple[Gap, ...]()
    stub = sender if isinstance(sender, SocketOwner) else None
    if isinstance(sender, Written):
        gaps = (Gap("stub", Reason.UNAVAILABLE, f"the file names {sender.name}, which is no key"),)
    if len(askers) > 1:
        gap = Gap("key", Reason.UNAVAILABLE, f"{len(askers)} processes had asked the stub the same question")
        return _query(exchange, gap, True, stub, gaps)
    return _query(exchange, askers[0], True, stub, gaps)


def _query(
    exchange: Exchange, owner: Owner, via_stub: bool, stub: SocketOwner | None, gaps: tuple[Gap, ...]
) -> DnsQuery:
    if isinstance(owner, Gap):
        gaps = (owner, *gaps)
    if exchange.cut:
        gaps = (*gaps, Gap("answers", Reason.TRUNCATED, "the answer holds more records, or longer ones, than are kept"))
    return DnsQuery(
        at_ns=exchange.at_ns,
        name=exchange.question.name,
        type=exchange.question.type,
        server=exchange.server,
        client=exchange.client,
        transport=exchange.transport,
        rcode=exchange.rcode,
        latency_ns=exchange.latency_ns,
        answers=exchange.answers,
        timed_out=exchange.timed_out,
        attempts=exchange.attempts,
        truncated=exchange.truncated,
        key=owner.key if isinstance(owner, SocketOwner) else None,
        process=owner.name if isinstance(owner, PROCESS) else None,
        via_stub=via_stub,
        stub=stub,
        gaps=gaps,
    )
