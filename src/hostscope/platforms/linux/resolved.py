"""What systemd-resolved asks, link by link. Source: org.freedesktop.resolve1(5)."""

import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hostscope.errors import Gone
from hostscope.model.dns import Resolver
from hostscope.model.text import decode
from hostscope.platforms.linux.parse_resolv import LinkServer, is_loopback, parse_server
from hostscope.platforms.linux.systemd import PROPERTIES

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus

RESOLVED = "org.freedesktop.resolve1"
PATH = "/org/freedesktop/resolve1"
MANAGER, LINK = f"{RESOLVED}.Manager", f"{RESOLVED}.Link"
SOURCE = "systemd-resolved"
DNS_PORT, TLS_PORT = 53, 853
MAX_SERVERS = 1000
_SETTINGS = {"DNSSEC": "dnssec", "LLMNR": "llmnr", "MulticastDNS": "mdns"}
_ON = "yes"

Properties = dict[str, tuple[str, Any]]


def read_resolved(bus: "Bus") -> Iterator[Resolver]:
    """The servers of all links (``DNS=`` of resolved.conf), of each link, and those for when there are none.

    Raises:
        Denied, Unavailable

    Source: DNSEx and its like (systemd 246), DNS before. Cost: one call, and two for each link with servers.
    """
    (host,) = bus.call(PATH, PROPERTIES, "GetAll", "s", (MANAGER,), returns="a{sv}")
    domains = _list(host, "Domains", "a(isb)")
    servers = _servers(host, "DNS")
    places = {index: _place(bus, host, index) for index in sorted({server.index for server in servers})}
    for server in sorted(servers, key=lambda server: server.index):
        if server.index in places:
            yield _resolver(server, places[server.index], domains, fallback=False)
    for server in _servers(host, "FallbackDNS"):
        yield _resolver(server, host, [], fallback=True)


def _place(bus: "Bus", host: Properties, index: int) -> Properties:
    """The settings that servers of a link, or of all of them (0), are used with; a link may end meanwhile."""
    if index == 0:
        return host
    try:
        (path,) = bus.call(PATH, MANAGER, "GetLink", "i", (index,), returns="o")
        (link,) = bus.call(path, PROPERTIES, "GetAll", "s", (LINK,), returns="a{sv}")
    except Gone:
        return {}
    return dict(link)


def _servers(properties: Properties, name: str) -> list[LinkServer]:
    rows = _list(properties, f"{name}Ex", "a(iiayqs)") or _list(properties, name, "a(iiay)")
    return [server for row in rows[:MAX_SERVERS] if (server := parse_server(row)) is not None]


def _list(properties: Properties, name: str, signature: str) -> list[Any]:
    """The value of a list, empty when it is not there or of another type than is documented."""
    kind, value = properties.get(name, ("", None))
    return list(value) if kind == signature else []


def _text(properties: Properties, name: str) -> str | None:
    kind, value = properties.get(name, ("", None))
    return str(value) if kind == "s" and value else None


def _resolver(server: LinkServer, place: Properties, domains: list[Any], fallback: bool) -> Resolver:
    encrypted = _text(place, "DNSOverTLS")
    mine = [(domain, only) for index, domain, only in domains if index == server.index]
    return Resolver(
        address=server.address,
        port=server.port or (TLS_PORT if encrypted == _ON else DNS_PORT),
        source=SOURCE,
        interface=_name(server.index),
        search=tuple(domain for domain, only in mine if not only),
        routes=tuple(domain for domain, only in mine if only),
        options=tuple(_options(place)),
        protocol="dns-over-tls" if encrypted == _ON else "dns",
        server_name=server.server_name,
        stub=is_loopback(server.address),
        fallback=fallback,
        current=not fallback and _current(place) == server.address,
    )


def _options(place: Properties) -> Iterator[str]:
    for name, word in _SETTINGS.items():
        if value := _text(place, name):
            yield f"{word}={value}"
    if (encrypted := _text(place, "DNSOverTLS")) not in (None, "no", _ON):
        yield f"dns-over-tls={encrypted}"
    kind, value = place.get("DefaultRoute", ("", None))
    if kind == "b":
        yield f"default-route={_ON if value else 'no'}"


def _current(place: Properties) -> str | None:
    """The server that is asked at the moment; the host's own value has an interface's index, a link's has none."""
    for name in ("CurrentDNSServerEx", "CurrentDNSServer"):
        server = parse_server(place.get(name, ("", None))[1])
        if server is not None:
            return server.address
    return None


def _name(index: int) -> str | None:
    if index == 0:
        return None
    try:
        return decode(os.fsencode(socket.if_indextoname(index)))
    except OSError:
        return f"index {index}"
