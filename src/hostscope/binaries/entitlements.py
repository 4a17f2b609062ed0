"""Entitlements: Apple's DER, old and new, and the XML that stands beside it. Pure and bounded.

The kernel reads the DER where there is one, so that is read first; real XML blobs end in ``</xml>`` or stray newlines.
Source: libCoreEntitlements: ``[APPLICATION 16] { INTEGER 1, [CONTEXT 16] { SEQUENCE { UTF8String, value } … } }``;
before it a bare SET of the pairs.
"""

import json
import plistlib
from typing import Any

from hostscope.model.macos import Entitlement

DEEPEST = 32
MOST_ITEMS = 10_000
MOST_BYTES = 1 << 22
APPLICATION_16, CONTEXT_16, SET, SEQUENCE = 0x70, 0xB0, 0x31, 0x30
BOOLEAN, INTEGER, OCTETS, UTF8 = 0x01, 0x02, 0x04, 0x0C
DATES = frozenset({0x17, 0x18})
Item = tuple[int, bytes]


def parse_der(raw: bytes) -> dict[str, Any]:
    """A dictionary of Python values. Raises `ValueError`."""
    if len(raw) > MOST_BYTES:
        raise ValueError("entitlements of an implausible size")
    items = _items(raw)
    if len(items) != 1:
        raise ValueError("entitlements are one value")
    tag, inner = items[0]
    if tag == SET:
        return _dictionary(inner, 0)
    parts = _items(inner) if tag == APPLICATION_16 else []
    if len(parts) != 2 or parts[0] != (INTEGER, b"\1") or parts[1][0] != CONTEXT_16:
        raise ValueError("entitlements of an unknown form")
    return _dictionary(parts[1][1], 0)


def _items(raw: bytes) -> list[Item]:
    """The values that stand one after the other."""
    found: list[Item] = []
    place = 0
    while place < len(raw):
        tag, place, size = _head(raw, place)
        if place + size > len(raw) or len(found) >= MOST_ITEMS:
            raise ValueError("a value does not fit")
        found.append((tag, raw[place : place + size]))
        place += size
    return found


def _head(raw: bytes, place: int) -> tuple[int, int, int]:
    """Tag, where its content begins, and its size."""
    if place + 2 > len(raw):
        raise ValueError("cut short")
    tag, size, place = raw[place], raw[place + 1], place + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4 or place + count > len(raw):
            raise ValueError("a length of an unknown form")
        size = int.from_bytes(raw[place : place + count], "big")
        place += count
    return tag, place, size


def _dictionary(raw: bytes, depth: int) -> dict[str, Any]:
    pairs = [_items(pair) for tag, pair in _items(raw) if tag == SEQUENCE]
    if any(len(pair) != 2 or pair[0][0] != UTF8 for pair in pairs):
        raise ValueError("a dictionary of an unknown form")
    found = {pair[0][1].decode("utf-8"): _value(*pair[1], depth) for pair in pairs}
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _value(tag: int, raw: bytes, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("nested too deep")
    if tag == BOOLEAN:
        return raw != b"\0"
    if tag == INTEGER:
        return int.from_bytes(raw, "big", signed=True)
    if tag == UTF8:
        return raw.decode("utf-8")
    if tag == OCTETS:
        return raw
    if tag == SEQUENCE:
        return [_value(inner, data, depth + 1) for inner, data in _items(raw)]
    if tag in (SET, CONTEXT_16):
        return _dictionary(raw, depth + 1)
    if tag in DATES:
        return raw.decode("ascii")
    raise ValueError(f"a value of the unknown type {tag:#x}")


def parse_xml(raw: bytes) -> dict[str, Any]:
    """The same of the XML blob's content. Raises `ValueError`."""
    text = raw.strip(b"\0 \r\n\t")
    end = text.rfind(b"</plist>")
    if len(text) > MOST_BYTES or b"<!ENTITY" in text:
        raise ValueError("entitlements of an implausible form")
    try:
        found = plistlib.loads(text[: end + len(b"</plist>")] if end >= 0 else text, fmt=plistlib.FMT_XML)
    except Exception as failed:  # expat's own error, and whatever plistlib meets in nonsense
        raise ValueError(f"entitlements cannot be read: {failed}") from failed
    if not isinstance(found, dict):
        raise ValueError("entitlements are a dictionary")
    return {str(name): value for name, value in found.items()}


def as_records(found: dict[str, Any]) -> tuple[Entitlement, ...]:
    """By name; values as JSON (bytes as hexadecimal, dates as text)."""
    return tuple(Entitlement(name, json.dumps(found[name], default=_as_text, sort_keys=True)) for name in sorted(found))


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
