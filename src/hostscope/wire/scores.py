"""How well each server answers."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from hostscope.model.dns import DnsQuery, ResolverScore

MAX_SERVERS = 1024
"""Those that come later are counted together, as ``others``."""
MAX_LATENCIES = 10_000
"""Of one server, the latest ones: what its median and percentile are of."""
OTHERS = "others"
_NO_FAILURE = frozenset({"NOERROR", "NXDOMAIN"})


@dataclass
class _Score:
    queries: int = 0
    answered: int = 0
    failures: int = 0
    nonexistent: int = 0
    timeouts: int = 0
    max_ns: int | None = None
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))

    def add(self, query: DnsQuery) -> None:
        self.queries += 1
        self.timeouts += query.timed_out
        if query.rcode is None or query.latency_ns is None:
            return
        self.answered += 1
        self.failures += query.rcode not in _NO_FAILURE
        self.nonexistent += query.rcode == "NXDOMAIN"
        self.latencies.append(query.latency_ns)
        self.max_ns = max(self.max_ns or 0, query.latency_ns)

    def row(self, server: str) -> ResolverScore:
        ordered = sorted(self.latencies)
        return ResolverScore(
            server, self.queries, self.answered, self.failures, self.nonexistent, self.timeouts,
            quantile(ordered, 0.5), quantile(ordered, 0.95), self.max_ns,
        )  # fmt: skip


class ScoreBoard:
    """Counts queries by server; questions to the neighbourhood (multicast) have none."""

    def __init__(self) -> None:
        self._scores: dict[str, _Score] = {}

    def add(self, query: DnsQuery) -> None:
        """Counts one."""
        if query.transport in ("mdns", "llmnr"):
            return
        server = str(query.server)
        if server not in self._scores and len(self._scores) >= MAX_SERVERS:
            server = OTHERS
        self._scores.setdefault(server, _Score()).add(query)

    def rows(self) -> Iterator[ResolverScore]:
        """The busiest server first."""
        for server, score in sorted(self._scores.items(), key=lambda each: -each[1].queries):
            yield score.row(server)


def quantile(ordered: list[int], share: float) -> int | None:
    """The smallest value that `share` of all do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]
