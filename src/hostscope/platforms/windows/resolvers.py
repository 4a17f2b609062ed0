"""How names are resolved on a Windows host: the servers of each adapter, and rules for single domains."""

import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from hostscope.model.dns import DnsQuery, Resolver
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import dns_registry
from hostscope.platforms.windows.adapters import read_adapters
from hostscope.platforms.windows.clock import Boot, read_boot
from hostscope.platforms.windows.dns_queries import DnsQuestions
from hostscope.platforms.windows.etw import Provider, open_session
from hostscope.platforms.windows.etw_meter import METHOD, STARTS
from hostscope.platforms.windows.etw_processes import People
from hostscope.platforms.windows.parse_etw import DNS_CLIENT, QUERY_BEGAN, QUERY_ENDED
from hostscope.platforms.windows.parse_network import Adapter, Address
from hostscope.platforms.windows.process_list import read_processes

ADAPTER, RULE = "adapter", "policy-rule"
PORT = 53
QUESTIONS = Provider(DNS_CLIENT, events=frozenset({QUERY_BEGAN, QUERY_ENDED}))
OWN_RESOLVERS = "programs with a resolver of their own do not show: --interface watches packets instead"
_UP = 1
_PLACEHOLDERS = frozenset(f"fec0:0:0:ffff::{number}" for number in (1, 2, 3))
"""Windows names these site-local addresses where it knows no other server for IPv6."""


class Resolvers:
    """Implements `hostscope.platforms.base_network.Resolvers`."""

    def __init__(self, boot: Callable[[], Boot] = read_boot) -> None:
        self._boot = boot

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        """The servers of rules for single domains, then those of each adapter that is up, lowest metric first.

        Needs: nothing.
        Source: GetAdaptersAddresses; the registry for suffixes, the Name Resolution Policy Table and DNS over HTTPS.
        Cost: one call, and some four looks into the registry for each server.
        """
        tally.method = "adapters, registry"
        yield from _of_rules(tally)
        suffixes = _Suffixes(tally)
        adapters = (one for one in read_adapters() if one.state == _UP)
        for adapter in sorted(adapters, key=lambda one: one.metric):
            for server in adapter.dns_servers:
                yield _of_adapter(adapter, server, suffixes, tally)

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        """See `Resolvers.queries`: what Windows' own resolver is asked, answers from its cache included.

        Programs that bring a resolver of their own, as browsers may, are not seen.

        Needs: an administrator.
        Source: the provider Microsoft-Windows-DNS-Client (Windows 8.1), events 3006 and 3008.
        """
        with open_session((QUESTIONS, STARTS), stop, tally) as session:
            tally.method = METHOD
            tally.note(OWN_RESOLVERS)
            questions = DnsQuestions(People(self._boot(), read_processes))
            for record in session.records():
                yield from questions.feed(record)
            tally.lost += session.lost().total + questions.unreadable


class _Suffixes:
    """What is tried behind short names."""

    def __init__(self, tally: Tally) -> None:
        self._everywhere: tuple[str, ...] | None = None
        self._primary: tuple[str, ...] = ()
        try:
            self._everywhere, self._primary = dns_registry.global_suffixes(), dns_registry.primary_suffix()
        except OSError as failed:
            _say(tally, "search suffixes", failed)

    def of(self, adapter: Adapter) -> tuple[str, ...]:
        """A list for all replaces what connections have; else the host's domain comes first."""
        if self._everywhere is not None:
            return self._everywhere
        own = (adapter.suffix, *adapter.suffixes)
        return tuple(dict.fromkeys(suffix for suffix in (*self._primary, *own) if suffix))


def _of_rules(tally: Tally) -> Iterator[Resolver]:
    try:
        found = dns_registry.rules()
    except OSError as failed:
        return _say(tally, "Name Resolution Policy Table", failed)
    for rule in found:
        for server in rule.servers:
            yield Resolver(
                address=server, port=PORT, source=RULE, routes=rule.names, stub=_is_loopback(server), path=rule.path
            )


def _of_adapter(adapter: Adapter, server: Address, suffixes: _Suffixes, tally: Tally) -> Resolver:
    fixed: bool | None = None
    template: str | None = None
    try:
        fixed = dns_registry.has_fixed_servers(adapter.guid)
        template = dns_registry.https_template(adapter.guid, server.text)
    except OSError as failed:
        _say(tally, f"settings of {adapter.name}", failed)
    return Resolver(
        address=f"{server.text}%{server.scope}" if server.scope else server.text,
        port=server.port or PORT,
        source=ADAPTER,
        interface=adapter.name,
        search=suffixes.of(adapter),
        options=() if fixed is None else ("static",) if fixed else ("dhcp",),
        protocol="dns" if template is None else "dns-over-https",
        server_name=template or None,
        stub=_is_loopback(server.text),
        fallback=server.text in _PLACEHOLDERS,
        priority=adapter.metric,
    )


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def _say(tally: Tally, what: str, failed: OSError) -> None:
    tally.failed += 1
    tally.note(f"{what}: {failed}")
