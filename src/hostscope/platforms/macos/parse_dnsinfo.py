"""How names are resolved, as SystemConfiguration's dnsinfo lays it out in memory. Pure and bounded.

Source: dnsinfo.h of configd (private; what scutil --dns prints). Structures are packed to four bytes, every pointer
takes eight. What pointers lead to is got by a function that gives so many bytes of an address, so that made-up memory
can be parsed as well as ours.
"""

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from hostscope.platforms.macos.parse import parse_text


class Memory(NamedTuple):
    """Where the structures are."""

    fetch: Callable[[int, int], bytes]
    """Up to so many bytes at an address; fewer where there are none."""
    fetch_text: Callable[[int, int], bytes]
    """Up to so many bytes of the C string at an address: it may end where memory does, so no more is read of it."""


CONFIG_BYTES, RESOLVER_BYTES = 48, 96
_CONFIG = struct.Struct("<iQiQQiQI")
_RESOLVER = struct.Struct("<QiQHxxiQiQQIIIII")
MOST_RESOLVERS, MOST_PLACES, MOST_TEXT = 256, 64, 1025
SCOPED, SERVICE, SUPPLEMENTAL = 0x1000, 0x2000, 0x4000
_AF_INET, _AF_INET6 = 2, 30


class Configured(NamedTuple):
    """One resolver: servers that are asked about a domain."""

    domain: str | None
    servers: tuple[tuple[str, int], ...]
    """Addresses and ports; 0 where it is the usual one."""
    port: int
    search: tuple[str, ...]
    options: str | None
    timeout_s: int
    order: int
    interface: int
    flags: int
    scoped: bool
    """Only for what is bound to its interface."""


def parse_config(address: int, memory: Memory) -> tuple[Configured, ...]:
    """The resolvers: those for everybody in order, then those of interfaces, then those of single services.

    Raises:
        ValueError: there is no such structure there.
    """
    raw = memory.fetch(address, CONFIG_BYTES)
    if len(raw) < CONFIG_BYTES:
        raise ValueError(f"a DNS configuration of {len(raw)} bytes")
    count, default, scoped_count, scoped, _, service_count, service, _ = _CONFIG.unpack(raw)
    lists = ((default, count, False), (scoped, scoped_count, True), (service, service_count, False))
    return tuple(
        found
        for start, length, is_scoped in lists
        for place in _pointers(start, length, MOST_RESOLVERS, memory)
        if (found := _resolver(place, memory, is_scoped))
    )


def _resolver(address: int, memory: Memory, scoped: bool) -> Configured | None:
    raw = memory.fetch(address, RESOLVER_BYTES)
    if len(raw) < RESOLVER_BYTES:
        return None
    found = _RESOLVER.unpack_from(raw)
    domain, count, servers, port, searched, search, _, _, options, timeout, order, interface, flags, _ = found
    return Configured(
        domain=_text(domain, memory),
        servers=tuple(_servers(_pointers(servers, count, MOST_PLACES, memory), memory)),
        port=port,
        search=tuple(
            text for place in _pointers(search, searched, MOST_PLACES, memory) if (text := _text(place, memory))
        ),
        options=_text(options, memory),
        timeout_s=timeout,
        order=order,
        interface=interface,
        flags=flags,
        scoped=scoped or bool(flags & SCOPED),
    )


def _pointers(address: int, count: int, most: int, memory: Memory) -> tuple[int, ...]:
    if not address or count <= 0:
        return ()
    raw = memory.fetch(address, 8 * min(count, most))
    return struct.unpack(f"<{len(raw) // 8}Q", raw[: len(raw) // 8 * 8])


def _servers(places: tuple[int, ...], memory: Memory) -> Iterator[tuple[str, int]]:
    for place in places:
        raw = memory.fetch(place, 16) if place else b""
        if len(raw) < 16:
            continue
        raw = memory.fetch(place, 28) if raw[1] == _AF_INET6 else raw
        (port,) = struct.unpack_from(">H", raw, 2)
        if raw[1] == _AF_INET:
            yield str(IPv4Address(raw[4:8])), port
        elif raw[1] == _AF_INET6 and len(raw) >= 28:
            yield str(IPv6Address(raw[8:24])), port


def _text(address: int, memory: Memory) -> str | None:
    if not address:
        return None
    return parse_text(memory.fetch_text(address, MOST_TEXT)) or None
