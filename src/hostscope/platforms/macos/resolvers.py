"""How names are resolved: dnsinfo, which configd fills for every resolver of the system."""

import threading
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from hostscope.errors import Unsupported
from hostscope.model.dns import DnsQuery, Resolver
from hostscope.platforms.macos.interfaces import read_links
from hostscope.platforms.macos.native import dnsinfo
from hostscope.platforms.macos.parse_dnsinfo import SERVICE, Configured, Memory, parse_config
from hostscope.platforms.macos.translate import error
from hostscope.platforms.tally import Tally

SOURCE = "dnsinfo"
DNS_PORT = 53
Configuration = Callable[[], tuple[Configured, ...]]


def read_configuration() -> tuple[Configured, ...]:
    """What dnsinfo says now.

    Raises:
        NativeError, Unsupported
    """
    try:
        with dnsinfo.configuration() as address:
            return parse_config(address, Memory(dnsinfo.fetch, dnsinfo.fetch_text))
    except OSError as failed:
        raise error("dns_configuration_copy", failed) from failed


class Resolvers:
    """Implements `hostscope.platforms.base_network.Resolvers`."""

    def __init__(self, read: Configuration = read_configuration) -> None:
        self._read = read

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        """Every configured server, in the order in which it is asked; then those of interfaces, and of
        single services (of a VPN, for instance).

        What multicast DNS answers for (``local``) has no servers and is left out. /etc/resolv.conf is written for old
        programs only, and is not asked.

        Raises:
            NativeError, Unsupported
        """
        tally.method = SOURCE
        names = {link.number: link.name for link in read_links()}
        for one in self._read():
            for address, port in one.servers:
                tally.seen += 1
                yield _resolver(one, address, port, names)

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        """What mDNSResponder logs of questions hides their names.

        Raises:
            Unsupported: always.
        """
        raise Unsupported("mDNSResponder tells nobody of questions: packets do")


def _resolver(one: Configured, address: str, port: int, names: Mapping[int, str]) -> Resolver:
    options = tuple((one.options or "").split())
    return Resolver(
        address=address,
        port=port or one.port or DNS_PORT,
        source=SOURCE,
        interface=(names.get(one.interface) or str(one.interface)) if one.interface else None,
        search=one.search,
        routes=(one.domain,) if one.domain else (),
        options=(*options, *(["scoped"] if one.scoped else []), *(["service-specific"] if one.flags & SERVICE else [])),
        stub=ip_address(address).is_loopback,
        priority=one.order or None,
    )
