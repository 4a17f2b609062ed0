"""How names are resolved, as files and D-Bus say it. Pure: bytes or values in, facts out."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from hostscope.model.text import decode

MAX_NAMESERVERS = 3
"""MAXNS: the C library ignores further ones."""
MAX_LINES = 1000
DEFAULT_SERVER = "127.0.0.1"
"""What the C library asks when the file names no server."""
FAMILIES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}
"""Address family -> bytes of an address."""


class ResolvConf(Struct, frozen=True):
    """/etc/resolv.conf. Source: resolv.conf(5), res_init.c."""

    nameservers: tuple[str, ...]
    """With scope identifiers, as written; all of them, in order."""
    search: tuple[str, ...]
    options: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    """What stands behind ``nameserver`` and is no address."""


def parse_resolv_conf(raw: bytes) -> ResolvConf:
    """Of several ``search`` or ``domain`` lines the last one counts; ``options`` add up."""
    servers: list[str] = []
    wrong: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for keyword, words in _lines(raw):
        if keyword == "nameserver" and words:
            (servers if is_address(words[0]) else wrong).append(words[0])
        elif keyword == "search":
            search = words
        elif keyword == "domain":
            search = words[:1]
        elif keyword == "options":
            options += words
    return ResolvConf(tuple(servers), tuple(search), tuple(options), tuple(wrong))


def _lines(raw: bytes) -> Iterator[tuple[str, list[str]]]:
    """Keyword and words. Comments begin a line; a keyword must stand in its first column."""
    for line in raw.split(b"\n")[:MAX_LINES]:
        if line[:1] not in (b"#", b";", b" ", b"\t", b""):
            keyword, *words = decode(line).split()[:64] or [""]
            yield keyword, words


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, with or without a scope identifier."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Whether only this host can answer at that address."""
    return ip_address(text.partition("%")[0]).is_loopback


class LinkServer(Struct, frozen=True):
    """One server that systemd-resolved has. Source: org.freedesktop.resolve1(5)."""

    index: int
    """Of the interface; 0 for all."""
    address: str
    port: int
    """0 for the protocol's own."""
    server_name: str | None


def parse_server(value: Any) -> LinkServer | None:
    """``(iiay)``, ``(iiayqs)``, and the same without the interface's index; None when it is none of them."""
    match value:
        case (int(index), int(family), bytes(raw), int(port), str(name)):
            pass
        case (int(index), int(family), bytes(raw)):
            port, name = 0, ""
        case (int(family), bytes(raw), int(port), str(name)):
            index = 0
        case (int(family), bytes(raw)):
            index, port, name = 0, 0, ""
        case _:
            return None
    if FAMILIES.get(family) != len(raw):
        return None
    return LinkServer(index, str(ip_address(raw)), port, name or None)


class ConfiguredServers(Struct, frozen=True):
    """One entry of NetworkManager's list. Source: org.freedesktop.NetworkManager.DnsManager."""

    servers: tuple[str, ...]
    domains: tuple[str, ...]
    interface: str | None
    priority: int | None
    vpn: bool


def parse_configuration(entry: Any) -> ConfiguredServers:
    """``a{sv}``; what has another type than is documented is left out."""
    values = {name: value[1] for name, value in entry.items()} if isinstance(entry, dict) else {}
    interface, priority = values.get("interface"), values.get("priority")
    return ConfiguredServers(
        servers=_texts(values.get("nameservers")),
        domains=_texts(values.get("domains")),
        interface=interface if isinstance(interface, str) and interface else None,
        priority=priority if isinstance(priority, int) else None,
        vpn=values.get("vpn") is True,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list | tuple) else ()
