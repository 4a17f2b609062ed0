"""Name resolution: how it is configured, and what was asked."""

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint

RESOLVER_SCHEMA = "hostscope.resolver/1"
DNS_QUERY_SCHEMA = "hostscope.dns_query/1"
RESOLVER_SCORE_SCHEMA = "hostscope.resolver_score/1"


class Resolver(Struct, frozen=True):
    """One server that names are asked of."""

    address: str
    port: int
    source: str
    """``resolv.conf systemd-resolved networkmanager``."""
    interface: str | None = None
    search: tuple[str, ...] = ()
    """Domains that are tried behind short names."""
    routes: tuple[str, ...] = ()
    """Domains that only this server is asked about."""
    options: tuple[str, ...] = ()
    protocol: str = "dns"
    """``dns`` or ``dns-over-tls``."""
    stub: bool = False
    """A resolver on this host that asks others."""
    net_ns: int | None = None
    gaps: tuple[Gap, ...] = ()


class Name(Struct, frozen=True, gc=False):
    """What a remote end is called, and how that was learnt."""

    domain: str
    """Lower case, without the last dot."""
    source: str
    """``dns tls quic http reverse``."""
    alpn: tuple[str, ...] = ()
    """TLS and QUIC: the protocols that the client offered, such as ``h2 http/1.1``."""
    ech: bool = False
    """The client offered an encrypted hello: `domain` may be a provider's public name that hides the real one."""
    aliases: tuple[str, ...] = ()
    """DNS: the CNAMEs between `domain` and the address."""
    others: int = 0
    """DNS: further domains that lead to the same address, of which `domain` is the one asked for last."""
    expired: bool = False
    """DNS: the answer's time to live had passed at the asked moment."""


class DnsAnswer(Struct, frozen=True, gc=False):
    """One record of an answer."""

    name: str
    type: str
    ttl_s: int
    value: str


class DnsQuery(Struct, frozen=True):
    """One question that was seen on the wire, and how it was answered."""

    at_ns: int
    name: str
    type: str
    """``A AAAA MX …``."""
    server: Endpoint
    client: Endpoint
    transport: str
    """``udp tcp``."""
    rcode: str | None
    """``NOERROR NXDOMAIN SERVFAIL …``; None while unanswered."""
    latency_ns: int | None
    answers: tuple[DnsAnswer, ...] = ()
    timed_out: bool = False
    attempts: int = 1
    key: ProcessKey | None = None
    process: str | None = None
    via_stub: bool = False
    """The process asked a stub on this host, which asked the server."""
    gaps: tuple[Gap, ...] = ()


class ResolverScore(Struct, frozen=True):
    """How one server answered."""

    server: str
    queries: int
    answered: int
    failures: int
    """SERVFAIL, REFUSED and the like."""
    nonexistent: int
    """NXDOMAIN: an answer, no failure."""
    timeouts: int
    latency_median_ns: int | None
    latency_p95_ns: int | None
    latency_max_ns: int | None
