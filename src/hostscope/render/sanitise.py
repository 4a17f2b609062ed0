"""Text from the system, made harmless: one line, no terminal commands, nothing invisible.

What is not printable becomes visible: a byte that was no valid UTF-8, a control character or a C1 code as ``\\xNN``;
bidirectional overrides, zero-width, odd blanks and private-use characters as ``\\uNNNN`` or ``\\UNNNNNNNN``.
"""

import re

from hostscope.model.text import ESCAPE_BASE

_INVISIBLE = (
    "\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
_ASTRAL = "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
# Compiled at their first use, and kept by `re`: most text is harmless.
_HARMFUL = f"[\x00-\x1f\x7f-\x9f{_INVISIBLE}\ud800-\udfff\ue000-\uf8ff{_ASTRAL}\U000f0000-\U0010ffff]"
_UNSAFE_JSON = f"[\x7f-\x9f{_INVISIBLE}{_ASTRAL}\ue000-\uf8ff\U000f0000-\U0010ffff]"


def _visible(found: re.Match[str]) -> str:
    code = ord(found.group())
    if ESCAPE_BASE + 0x80 <= code <= ESCAPE_BASE + 0xFF:
        return f"\\x{code - ESCAPE_BASE:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def sanitise(text: str) -> str:
    """The text with everything that a terminal would obey, hide or reorder written out.

    Cost: 40 ns for text that needs nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_HARMFUL, _visible, text)


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def sanitise_json(document: bytes) -> bytes:
    """The same JSON value, with what is dangerous on a terminal as ``\\u`` escapes.

    JSON encoders escape C0 controls; DEL, C1, bidirectional and invisible characters they leave. Outside strings JSON
    is ASCII without them, so the whole document can be treated as one text.
    """
    if document.isascii() and b"\x7f" not in document:
        return document
    return re.sub(_UNSAFE_JSON, _json_escape, document.decode()).encode()
