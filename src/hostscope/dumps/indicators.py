"""What in memory can be looked for elsewhere: addresses, names, paths, keys. By shape alone, so a heuristic."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from hostscope.model.dump import FoundString, Indicator
from hostscope.render.mask import mask_text

_TOP = (
    "com|net|org|io|gov|edu|mil|int|info|biz|ru|cn|de|uk|fr|nl|eu|ua|br|in|jp|kr|ir|onion|xyz|top|site|online|dev|app"
)
_URL = re.compile(r"\b(?:https?|ftps?|wss?|ldaps?|ssh|smb|tcp|udp|mongodb|redis|amqps?)://[^\s\"'<>\\^`{|}]{4,1024}")
_EMAIL = re.compile(rf"\b[A-Za-z0-9._%+-]{{1,64}}@[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{0,6}}\.(?:{_TOP})\b")
_DOMAIN = re.compile(
    rf"(?<![\w@.-])(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,6}}(?:{_TOP})(?![\w.-])", re.IGNORECASE
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{1,4}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{1,4}(?![\w:.])")
_PATH = re.compile(
    r"(?<![\w./-])/(?:bin|boot|dev|etc|home|lib|media|mnt|opt|proc|root|run|sbin|srv|tmp|usr|var)(?:/[\w.@+~-]{1,255}){1,32}"
)
_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----|(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{8,255}|AIza[\w-]{35}|sk-[A-Za-z0-9_-]{20,255}"
    r"|eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]+)"
)  # fmt: skip
SHAPES = {"key": _KEY, "url": _URL, "email": _EMAIL, "domain": _DOMAIN, "ipv4": _IPV4, "ipv6": _IPV6, "path": _PATH}
_QUICK = {"key": ("-----BEGIN", "AKIA", "ASIA", "gh", "xox", "AIza", "sk-", "eyJ"), "url": ("://",), "email": ("@",)}
"""What a text must contain for the pattern to be tried."""
MOST = 20_000
"""Different ones of one kind."""


class Indicators:
    """Counts indicators as strings are seen."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: dict[str, dict[str, tuple[int, int]]] = {kind: {} for kind in SHAPES}
        self.full = False
        """Whether more different ones were there than are kept."""

    def see(self, strings: Iterable[FoundString]) -> None:
        """Counts what is in the strings."""
        for string in strings:
            for kind, value in indicators_of(string.text):
                self._count(kind, value, string.address)

    def _count(self, kind: str, value: str, address: int) -> None:
        known = self._found[kind]
        if value in known:
            first, count = known[value]
            known[value] = (min(first, address), count + 1)
        elif len(known) < self._most:
            known[value] = (address, 1)
        else:
            self.full = True

    def all(self) -> tuple[Indicator, ...]:
        """By kind, the most frequent first."""
        return tuple(
            Indicator(kind, value, address, count)
            for kind, known in self._found.items()
            for value, (address, count) in sorted(known.items(), key=lambda item: (-item[1][1], item[0]))
        )


def indicators_of(text: str) -> Iterator[tuple[str, str]]:
    """Kind and value of each, keys and credentials in URLs masked."""
    for kind, shape in SHAPES.items():
        quick = _QUICK.get(kind)
        if quick and not any(mark in text for mark in quick):
            continue
        # A password in a URL, and the host behind it, look like a mailbox.
        for found in shape.finditer(mask_text(text) if kind == "email" else text):
            value = found.group()
            if kind == "key":
                yield kind, masked_key(value)
            elif kind not in ("ipv4", "ipv6") or _is_address(kind, value):
                yield kind, mask_text(value)


def masked_key(value: str) -> str:
    """What kind of key it is, and no more of it than tells it from others."""
    return value if value.startswith("-----") else f"{value[:4]}***"


def _is_address(kind: str, value: str) -> bool:
    try:
        found = IPv4Address(value) if kind == "ipv4" else IPv6Address(value)
    except ValueError:
        return False
    return not found.is_unspecified
