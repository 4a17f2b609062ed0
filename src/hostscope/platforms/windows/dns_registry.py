"""What the registry says about name resolution: suffixes, policy rules, and servers that are asked in secret."""

from collections.abc import Iterator

from msgspec import Struct

from hostscope.platforms.windows.native import registry
from hostscope.platforms.windows.parse_registry import Value, parse_value

PARAMETERS = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters"
POLICIES = "HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\DNSClient"
CACHE = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\Dnscache"
RULES = (f"{POLICIES}\\DnsPolicyConfig", f"{CACHE}\\Parameters\\DnsPolicyConfig")
"""Name Resolution Policy Table: where a group policy has one, the local one is not asked."""
MOST_RULES = 4096
_SEPARATORS = str.maketrans(",;", "  ")


class Rule(Struct, frozen=True):
    """One rule of the Name Resolution Policy Table."""

    path: str
    names: tuple[str, ...]
    """Domains with a leading dot, names, or parts of names."""
    servers: tuple[str, ...]


def global_suffixes() -> tuple[str, ...] | None:
    """The list that replaces the suffixes of connections, by policy or by hand; None without one.

    Raises:
        OSError: other than that there is none.
    """
    for path in (POLICIES, PARAMETERS):
        if found := words(value(path, "SearchList")):
            return found
    return None


def primary_suffix() -> tuple[str, ...]:
    """The host's own domain. Raises as above."""
    return words(value(POLICIES, "NV PrimaryDnsSuffix") or value(PARAMETERS, "Domain"))


def has_fixed_servers(guid: str) -> bool | None:
    """Whether somebody wrote an adapter's servers down; otherwise they come by DHCP. None where neither is known."""
    for version in ("Tcpip", "Tcpip6"):
        key = f"HKLM\\SYSTEM\\CurrentControlSet\\Services\\{version}\\Parameters\\Interfaces\\{guid}"
        if words(value(key, "NameServer")):
            return True
        if words(value(key, "DhcpNameServer")) or value(key, "Dhcpv6DNSServers"):
            return False
    return None


def https_template(guid: str, server: str) -> str | None:
    """The address of a server that an adapter asks over HTTPS only; empty for the well-known one, None for no such.

    Source: DohInterfaceSettings, as Windows 11's settings write them; not documented.
    """
    version = "Doh6" if ":" in server else "Doh"
    key = f"{CACHE}\\InterfaceSpecificParameters\\{guid}\\DohInterfaceSettings\\{version}\\{server}"
    flags = value(key, "DohFlags")
    if not isinstance(flags, int) or not flags:
        return None
    template = value(key, "DohTemplate")
    return template if isinstance(template, str) else ""


def rules() -> list[Rule]:
    """Those that are in force. Raises as above."""
    for path in RULES:
        if found := list(_rules(path)):
            return found
    return []


def _rules(path: str) -> Iterator[Rule]:
    for name in _subkeys(path)[:MOST_RULES]:
        key = f"{path}\\{name}"
        servers = words(value(key, "GenericDNSServers"))
        if servers:
            yield Rule(key, words(value(key, "Name")), servers)


def words(given: Value | None) -> tuple[str, ...]:
    """The entries of a list, which may be texts or one text with separators."""
    texts = given if isinstance(given, tuple) else (given,) if isinstance(given, str) else ()
    return tuple(word for text in texts for word in text.translate(_SEPARATORS).split())


def value(path: str, name: str) -> Value | None:
    """A value; None where there is no such key or value, or it makes no sense.

    Raises:
        OSError: it may not be read.
    """
    try:
        with registry.opened_key(path, registry.KEY_QUERY_VALUE) as key:
            found = registry.read_value(key, name)
        return parse_value(*found) if found else None
    except ValueError:
        return None
    except OSError as failed:
        _pass_if_absent(failed)
        return None


def _subkeys(path: str) -> list[str]:
    try:
        with registry.opened_key(path) as key:
            return list(registry.subkeys(key))
    except OSError as failed:
        _pass_if_absent(failed)
        return []


def _pass_if_absent(failed: OSError) -> None:
    if getattr(failed, "winerror", None) != registry.ERROR_FILE_NOT_FOUND:
        raise failed
