"""Name resolution: how it is configured, and what was asked."""

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Endpoint, SocketOwner

RESOLVER_SCHEMA = "hostscope.resolver/1"
DNS_QUERY_SCHEMA = "hostscope.dns_query/1"
RESOLVER_SCORE_SCHEMA = "hostscope.resolver_score/1"


class Resolver(Struct, frozen=True):
    """One server that names are asked of."""

    address: str
    port: int
    source: str
    """``resolv.conf systemd-resolved networkmanager``; macOS: ``dnsinfo``."""
    name: str | None = None
    """Of the address; only when reverse look-ups were asked for."""
    interface: str | None = None
    """The link that it was configured for; None for all of them."""
    search: tuple[str, ...] = ()
    """Domains that are tried behind short names."""
    routes: tuple[str, ...] = ()
    """Domains that only this server is asked about."""
    options: tuple[str, ...] = ()
    protocol: str = "dns"
    """``dns``, ``dns-over-tls`` or ``dns-over-https``."""
    server_name: str | None = None
    """What its certificate must say (DNS over TLS), or the template of its address (DNS over HTTPS)."""
    stub: bool = False
    """A resolver on this host, which asks others."""
    key: ProcessKey | None = None
    """The process that listens there, of a stub."""
    process: str | None = None
    fallback: bool = False
    """Asked only when nothing else is configured."""
    current: bool = False
    """The one of its list that is asked at the moment, as systemd-resolved says."""
    priority: int | None = None
    """NetworkManager's, Windows: the adapter's metric; the lowest comes first."""
    path: str | None = None
    """The file that says so."""
    container: str | None = None
    """Whose file it is: name of the container, or the start of its id."""
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
    ttl_s: int | None
    """None where the host's resolver told the answer without it."""
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
    """``udp tcp``; ``mdns llmnr`` for questions to the neighbourhood; ``resolver`` when the host's own resolver told of
    it: which server it asked, if any, and how is not known then."""
    rcode: str | None
    """``NOERROR NXDOMAIN SERVFAIL …``; None while unanswered."""
    latency_ns: int | None
    """From the first attempt to the answer."""
    answers: tuple[DnsAnswer, ...] = ()
    timed_out: bool = False
    attempts: int = 1
    """How often the same question left the same socket."""
    truncated: bool = False
    """The answer did not fit a datagram; the asker will come again over TCP."""
    key: ProcessKey | None = None
    """Who asked; None without a gap when another host did, or of a file, which names processes without their keys."""
    process: str | None = None
    """Its name; of a file, with its pid: ``curl[1234]``."""
    via_stub: bool = False
    """The process asked a stub on this host, which asked the server. By question and time: no packet says so."""
    stub: SocketOwner | None = None
    """With `via_stub`: the resolver on this host that sent the question."""
    gaps: tuple[Gap, ...] = ()


class DnsRequest(Struct, frozen=True):
    """Which questions to watch."""

    interfaces: tuple[str, ...] = ()
    """All that are up when empty."""
    timeout_s: float = 5.0
    """A question without an answer for so long counts as timed out."""
    ports: tuple[int, ...] = (53,)
    """Of servers."""
    multicast: bool = True
    """mDNS (5353) and LLMNR (5355) too."""
    namespace: str | None = None
    """Of this network namespace: a pid, or a name; ours when None."""
    packets: bool = False
    """Watch packets even where the host's own resolver tells of questions: only they name servers."""


class ResolverScore(Struct, frozen=True):
    """How one server answered."""

    server: str
    """Address and port."""
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
    name: str | None = None
    """Of the server's address; only when reverse look-ups were asked for."""
