"""Columns of resolvers, questions and servers' scores, and one line for a question as it passes."""

from hostscope.model import dns
from hostscope.model.dns import DnsQuery, Resolver, ResolverScore
from hostscope.render.column import Column, absent
from hostscope.render.layout import Layout
from hostscope.render.sanitise import sanitise
from hostscope.render.units import render_instant, render_latency

_SHOWN = 4
"""Values of an answer on one line."""


def _process(resolver: Resolver) -> str | None:
    return f"{resolver.process}({resolver.key.pid})" if resolver.process and resolver.key else None


RESOLVERS = Layout(
    "resolvers",
    dns.RESOLVER_SCHEMA,
    Resolver,
    (
        Column("address", "SERVER", "text", "address", None, "address", lambda r: r.address),
        Column("name", "NAME", "text", "name", None, "name of the address (--resolve)", lambda r: r.name),
        Column("port", "PORT", "int", "port", None, "port", lambda r: r.port),
        Column("protocol", "PROTOCOL", "text", "protocol", None, "dns or dns-over-tls", lambda r: r.protocol),
        Column("source", "SOURCE", "text", "source", None, "what says so", lambda r: r.source),
        Column("interface", "INTERFACE", "text", "interface", None, "link it is for; none for all",
               lambda r: r.interface),
        Column("stub", "STUB", "bool", "stub", None, "whether it is a resolver on this host", lambda r: r.stub),
        Column("process", "PROCESS", "text", "key", None, "who listens at a stub's address", _process),
        Column("search", "SEARCH", "list", "search", None, "domains tried behind short names", lambda r: r.search),
        Column("routes", "ROUTES", "list", "routes", None, "domains that only it is asked about", lambda r: r.routes),
        Column("current", "CURRENT", "bool", "current", None, "whether it is the one asked at the moment",
               lambda r: r.current),
        Column("fallback", "FALLBACK", "bool", "fallback", None, "asked only when nothing else is configured",
               lambda r: r.fallback),
        Column("priority", "PRIORITY", "int", "priority", None, "NetworkManager's priority", lambda r: r.priority),
        Column("server_name", "TLS NAME", "text", "server_name", None, "what its certificate must say",
               lambda r: r.server_name),
        Column("options", "OPTIONS", "list", "options", None, "options", lambda r: r.options),
        Column("container", "CONTAINER", "text", "container", None, "container whose file it is",
               lambda r: r.container),
        Column("path", "FILE", "text", "path", None, "the file that says so", lambda r: r.path),
        Column("netns", "NETNS", "int", "net_ns", None, "network namespace", lambda r: r.net_ns),
    ),
    ("address", "port", "protocol", "source", "interface", "container", "process", "search", "routes", "options"),
)  # fmt: skip


def _pid(query: DnsQuery) -> int | None:
    return query.key.pid if query.key else None


def _result(query: DnsQuery) -> str:
    """The code of the answer, or what came instead of one."""
    return query.rcode or ("timeout" if query.timed_out else "waiting")


def _values(query: DnsQuery) -> tuple[str, ...]:
    return tuple(answer.value for answer in query.answers)


def _stub(query: DnsQuery) -> str | None:
    return f"{query.stub.name}({query.stub.key.pid})" if query.stub else None


QUERIES = Layout(
    "questions",
    dns.DNS_QUERY_SCHEMA,
    DnsQuery,
    (
        Column("at", "AT", "instant", "at_ns", None, "when it was asked, UTC", lambda q: q.at_ns),
        Column("pid", "PID", "int", "key", None, "process that asked", _pid),
        Column("process", "PROCESS", "text", "process", None, "its name", lambda q: q.process),
        Column("name", "NAME", "text", "name", None, "what was asked for", lambda q: q.name),
        Column("type", "TYPE", "text", "type", None, "A, AAAA, MX, ...", lambda q: q.type),
        Column("result", "RESULT", "text", "rcode", None, "code of the answer, timeout, or waiting", _result),
        Column("rcode", "RCODE", "text", "rcode", None, "code of the answer", lambda q: q.rcode),
        Column("latency", "LATENCY", "latency", "latency_ns", None, "from the first attempt to the answer",
               lambda q: q.latency_ns),
        Column("answers", "ANSWERS", "list", "answers", None, "values of the answer's records", _values),
        Column("server", "SERVER", "text", "server", None, "who was asked", lambda q: str(q.server)),
        Column("client", "CLIENT", "text", "client", None, "the asking end", lambda q: str(q.client)),
        Column("transport", "OVER", "text", "transport", None, "udp, tcp, mdns, llmnr or resolver",
               lambda q: q.transport),
        Column("attempts", "ATTEMPTS", "int", "attempts", None, "how often it was asked", lambda q: q.attempts),
        Column("timed_out", "TIMEOUT", "bool", "timed_out", None, "no answer in time", lambda q: q.timed_out),
        Column("truncated", "CUT", "bool", "truncated", None, "the answer did not fit a datagram",
               lambda q: q.truncated),
        Column("via_stub", "VIA STUB", "bool", "via_stub", None, "sent on by a resolver of this host",
               lambda q: q.via_stub),
        Column("stub", "STUB", "text", "stub", None, "that resolver", _stub),
    ),
    ("at", "pid", "process", "name", "type", "result", "latency", "server", "via_stub", "answers"),
)  # fmt: skip

SCORES = Layout(
    "servers",
    dns.RESOLVER_SCORE_SCHEMA,
    ResolverScore,
    (
        Column("server", "SERVER", "text", "server", None, "address and port", lambda s: s.server),
        Column("name", "NAME", "text", "name", None, "name of the address (--resolve)", lambda s: s.name),
        Column("queries", "QUERIES", "int", "queries", None, "questions", lambda s: s.queries),
        Column("answered", "ANSWERED", "int", "answered", None, "answers of any kind", lambda s: s.answered),
        Column("failures", "FAILURES", "int", "failures", None, "SERVFAIL, REFUSED and the like",
               lambda s: s.failures),
        Column("nonexistent", "NXDOMAIN", "int", "nonexistent", None, "answers that there is no such name",
               lambda s: s.nonexistent),
        Column("timeouts", "TIMEOUTS", "int", "timeouts", None, "no answer in time", lambda s: s.timeouts),
        Column("median", "MEDIAN", "latency", "latency_median_ns", None, "half of the answers took no longer",
               lambda s: s.latency_median_ns),
        Column("p95", "95 %", "latency", "latency_p95_ns", None, "95 % of the answers took no longer",
               lambda s: s.latency_p95_ns),
        Column("max", "MAX", "latency", "latency_max_ns", None, "the slowest answer", lambda s: s.latency_max_ns),
    ),
    ("server", "queries", "answered", "failures", "nonexistent", "timeouts", "median", "p95", "max"),
)  # fmt: skip


def render_query(query: DnsQuery) -> str:
    """``12:00:01.123  curl(812)  A www.example.com  192.0.2.80  1.2 ms  from 127.0.0.53:53``, one line."""
    instant = f"{render_instant(query.at_ns)[11:19]}.{query.at_ns // 1_000_000 % 1000:03d}"
    parts = [instant, _who(query), f"{query.type} {query.name}", _what(query)]
    latency = [] if query.latency_ns is None else [render_latency(query.latency_ns)]
    return sanitise("  ".join([*parts, *latency, _how(query)])) + "\n"


def _who(query: DnsQuery) -> str:
    if query.key is None:
        return absent(query.gaps, "key")
    return f"{query.process}({query.key.pid})"


def _what(query: DnsQuery) -> str:
    values = _values(query)
    if query.rcode != "NOERROR" or not values:
        return _result(query) if query.rcode != "NOERROR" else "no such record"
    more = f", and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _how(query: DnsQuery) -> str:
    if query.transport == "resolver":
        return "by the host's resolver"
    words = [f"from {query.server}" if query.rcode else f"asked {query.server}"]
    if query.transport != "udp":
        words.append(f"over {query.transport}")
    if query.truncated:
        words.append("(cut: did not fit a datagram)")
    if query.attempts > 1:
        words.append(f"after {query.attempts} attempts")
    if query.via_stub:
        words.append(f"via {_stub(query) or 'a local stub'}")
    return " ".join(words)
