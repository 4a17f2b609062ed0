"""What NetworkManager configured. Source: org.freedesktop.NetworkManager.DnsManager (1.6)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hostscope.model.dns import Resolver
from hostscope.platforms.linux.parse_resolv import ConfiguredServers, is_address, is_loopback, parse_configuration
from hostscope.platforms.linux.systemd import PROPERTIES

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus

NETWORK_MANAGER = "org.freedesktop.NetworkManager"
PATH = "/org/freedesktop/NetworkManager/DnsManager"
INTERFACE = f"{NETWORK_MANAGER}.DnsManager"
SOURCE = "networkmanager"
MAX_ENTRIES = 1000
_TLS = "dns+tls://"


def read_network_manager(bus: "Bus") -> Iterator[Resolver]:
    """Every server, those with the lowest priority value first, which come first.

    Raises:
        Denied, Unavailable

    Cost: one call.
    """
    (found,) = bus.call(PATH, PROPERTIES, "GetAll", "s", (INTERFACE,), returns="a{sv}")
    kind, entries = found.get("Configuration", ("", []))
    configured = [parse_configuration(entry) for entry in (entries if kind == "aa{sv}" else [])[:MAX_ENTRIES]]
    options = tuple(_options(found))
    for entry in sorted(configured, key=lambda entry: entry.priority or 0):
        for server in entry.servers:
            yield _resolver(server, entry, options)


def _options(found: dict[str, tuple[str, Any]]) -> Iterator[str]:
    for name, word in (("Mode", "mode"), ("RcManager", "rc-manager")):
        kind, value = found.get(name, ("", None))
        if kind == "s" and value:
            yield f"{word}={value}"


def _resolver(server: str, entry: ConfiguredServers, options: tuple[str, ...]) -> Resolver:
    """``192.0.2.1``, or since 1.52 ``dns+tls://192.0.2.1#name``."""
    address, _, name = server.removeprefix(_TLS).removeprefix("dns+udp://").partition("#")
    encrypted = server.startswith(_TLS)
    return Resolver(
        address=address,
        port=853 if encrypted else 53,
        source=SOURCE,
        interface=entry.interface,
        search=tuple(domain for domain in entry.domains if not domain.startswith("~")),
        routes=tuple(domain[1:] for domain in entry.domains if domain.startswith("~")),
        options=options + (("vpn",) if entry.vpn else ()),
        protocol="dns-over-tls" if encrypted else "dns",
        server_name=name or None,
        stub=is_address(address) and is_loopback(address),
        priority=entry.priority,
    )
