"""Packet filters without libpcap: a part of its language, asked of whole batches of raw IP packets. Pure.

``[tcp|udp] [src|dst] port N``, ``[src|dst] host A``, ``[src|dst] net A/N``, ``tcp udp icmp icmp6 ip ip6``, with
``and or not`` and parentheses. Later fragments have no ports.
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import numpy as np
from numpy.typing import NDArray

from hostscope.errors import Unsupported, UsageError
from hostscope.wire.batch import Mask, PacketBatch

KEPT = "tcp or udp or icmp or icmp6"
"""Without an expression."""
PROTOCOLS = {"icmp": (4, 1), "tcp": (None, 6), "udp": (None, 17), "icmp6": (6, 58), "ip": (4, None), "ip6": (6, None)}
"""Name -> version and protocol, None for any."""
_WITH_PORTS = (6, 17, 33, 132, 136)
_WORD = re.compile(r"\s*(&&|\|\||[()!]|[A-Za-z0-9_.:/%-]+)")
_ALIASES = {"&&": "and", "||": "or", "!": "not"}
_MOST_WORDS, _MOST_DEPTH = 1000, 100
HINT = "without libpcap: [tcp|udp] [src|dst] port N, host A, net A/N, tcp, udp, icmp, icmp6, ip, ip6; and, or, not, ()"

Bytes = NDArray[np.int64]
Test = Callable[["Fields"], Mask]


class Fields:
    """What filters ask of a batch of raw IP packets. What was cut off reads as zeros."""

    def __init__(self, batch: PacketBatch) -> None:
        self._data = batch.data if len(batch.data) else np.zeros(1, np.uint8)
        self._offsets = batch.offsets
        self._ends = batch.offsets + batch.captured
        first = self.byte(0)
        self.version = first >> 4
        four = self.version == 4
        self.protocol = np.where(four, self.byte(9), np.where(self.version == 6, self.byte(6), -1))
        whole = ~four | ((self.byte(6) & 0x1F) << 8 | self.byte(7) == 0)
        start = np.where(four, (first & 0xF) * 4, 40)
        ports = whole & np.isin(self.protocol, _WITH_PORTS)
        self.source_port = np.where(ports, self._number(start), -1)
        self.destination_port = np.where(ports, self._number(start + 2), -1)

    def byte(self, at: Bytes | int) -> Bytes:
        """The byte of each packet so far from its start."""
        places = self._offsets + at
        inside = (places < self._ends) & (places >= 0) & (places < len(self._data))
        found: Bytes = np.where(inside, self._data[np.where(inside, places, 0)], 0).astype(np.int64)
        return found

    def _number(self, at: Bytes) -> Bytes:
        return self.byte(at) << 8 | self.byte(at + 1)

    def within(self, start: int, network: bytes, bits: int) -> Mask:
        """Whether the address that begins there is in a network."""
        found: Mask = np.ones(len(self._offsets), bool)
        for place, value in enumerate(network):
            left = min(max(bits - place * 8, 0), 8)
            mask = 0xFF << (8 - left) & 0xFF
            found &= self.byte(start + place) & mask == value & mask
        return found


def compile_filter(expression: str | None) -> Callable[[PacketBatch], Mask]:
    """The test of an expression: which packets of a batch of raw IP fit it.

    Raises:
        UsageError: it makes no sense.
        Unsupported: libpcap's language has it, but this part of it has not.
    """
    words = _words(expression or KEPT)
    parser = _Parser(words)
    test = parser.either(0)
    if parser.left:
        raise UsageError(f"filter: {parser.left[0]!r} is not expected there", HINT)
    return lambda batch: test(Fields(batch)) if len(batch) else np.zeros(0, bool)


def _words(expression: str) -> list[str]:
    words, at = list[str](), 0
    text = expression.rstrip()
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None or len(words) == _MOST_WORDS:
            raise Unsupported(f"filter: {text[at : at + 20]!r} needs libpcap, or the filter is too long", HINT)
        words.append(_ALIASES.get(found[1], found[1].lower()))
        at = found.end()
    return words


class _Parser:
    """Recursive descent; `and` binds closer than `or`."""

    def __init__(self, words: Sequence[str]) -> None:
        self.left = list(words)

    def either(self, depth: int) -> Test:
        """Alternatives."""
        tests = [self._all(depth)]
        while self._take("or"):
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else lambda fields: np.logical_or.reduce([test(fields) for test in tests])

    def _all(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._take("and"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda fields: np.logical_and.reduce([test(fields) for test in tests])

    def _one(self, depth: int) -> Test:
        if depth > _MOST_DEPTH:
            raise UsageError("filter: nested too deeply", HINT)
        if self._take("not"):
            inner = self._one(depth + 1)
            return lambda fields: ~inner(fields)
        if self._take("("):
            inside = self.either(depth + 1)
            if not self._take(")"):
                raise UsageError("filter: a ) is missing", HINT)
            return inside
        return self._primitive()

    def _primitive(self) -> Test:
        protocol = self._protocol() if self.left and self.left[0] in PROTOCOLS else None
        way = self.left.pop(0) if self.left and self.left[0] in ("src", "dst") else ""
        if self._take("port"):
            found = _port(way, self._word("a port"))
        elif self._take("host"):
            found = _network(way, self._word("an address"), whole=True)
        elif self._take("net"):
            found = _network(way, self._word("a network"), whole=False)
        elif way or protocol is None:
            raise Unsupported(f"filter: {way or self._word('a condition')!r} needs libpcap here", HINT)
        else:
            return protocol
        return found if protocol is None else _both(protocol, found)

    def _protocol(self) -> Test:
        version, number = PROTOCOLS[self.left.pop(0)]

        def test(fields: Fields) -> Mask:
            fits: Mask = fields.version == version if version else np.isin(fields.version, (4, 6))
            return fits if number is None else fits & (fields.protocol == number)

        return test

    def _take(self, word: str) -> bool:
        if self.left and self.left[0] == word:
            self.left.pop(0)
            return True
        return False

    def _word(self, what: str) -> str:
        if not self.left:
            raise UsageError(f"filter: {what} is missing at the end", HINT)
        return self.left.pop(0)


def _both(first: Test, second: Test) -> Test:
    return lambda fields: first(fields) & second(fields)


def _port(way: str, word: str) -> Test:
    if not (word.isascii() and word.isdecimal()) or int(word) > 65535:
        raise UsageError(f"filter: {word!r} is no port", HINT)
    number = int(word)

    def test(fields: Fields) -> Mask:
        source: Mask = fields.source_port == number
        destination: Mask = fields.destination_port == number
        return source if way == "src" else destination if way == "dst" else source | destination

    return test


def _network(way: str, word: str, whole: bool) -> Test:
    try:
        network = ip_network(ip_address(word)) if whole else ip_network(word, strict=False)
    except ValueError:
        raise UsageError(f"filter: {word!r} is no {'address' if whole else 'network'}", HINT) from None
    packed, bits = network.network_address.packed, network.prefixlen
    starts = {4: (12, 16), 6: (8, 24)}[network.version]

    def test(fields: Fields) -> Mask:
        source, destination = (fields.within(start, packed, bits) for start in starts)
        either = source if way == "src" else destination if way == "dst" else source | destination
        found: Mask = either & (fields.version == network.version)
        return found

    return test
