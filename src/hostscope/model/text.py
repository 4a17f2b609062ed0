"""The system's strings as `str`: one reversible, JSON-safe escape.

Names, paths and arguments are bytes to Linux and macOS and loose UTF-16 to Windows. `decode` turns them into
text that is always valid Unicode (no lone surrogates), and `encode` gives the exact bytes back. A byte that is
not part of valid UTF-8 becomes one character in U+10EE80…U+10EEFF (private use, plane 16); a genuine character
of that range in the input is escaped byte by byte, so the mapping stays one to one. Terminals see such a
character as ``\\xNN`` (see `hostscope.render.sanitise`).
"""

import codecs
import re

ESCAPE_BASE = 0x10EE00
ESCAPED = re.compile("[\U0010ee80-\U0010eeff]")
_GENUINE = re.compile(rb"\xf4\x8e[\xba\xbb][\x80-\xbf]")


def _escape_bytes(raw: bytes) -> str:
    return "".join(chr(ESCAPE_BASE + byte) for byte in raw)


def _escape_invalid(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _escape_bytes(error.object[error.start : error.end]), error.end


codecs.register_error("hostscope", _escape_invalid)


def decode(raw: bytes) -> str:
    """Text for any bytes; `encode` reverses it exactly."""
    if raw.isascii():
        return raw.decode("ascii")
    if b"\xf4\x8e" not in raw:
        return raw.decode("utf-8", "hostscope")
    parts, end = [], 0
    for genuine in _GENUINE.finditer(raw):
        parts += [raw[end : genuine.start()].decode("utf-8", "hostscope"), _escape_bytes(genuine.group())]
        end = genuine.end()
    return "".join([*parts, raw[end:].decode("utf-8", "hostscope")])


def encode(text: str) -> bytes:
    """The bytes that `decode` made `text` from.

    Raises:
        UnicodeEncodeError: `text` has a lone surrogate, so it never came from `decode`.
    """
    if text.isascii():
        return text.encode("ascii")
    parts, end = [], 0
    for escaped in ESCAPED.finditer(text):
        parts += [text[end : escaped.start()].encode(), bytes([ord(escaped.group()) - ESCAPE_BASE])]
        end = escaped.end()
    return b"".join([*parts, text[end:].encode()])


def decode_utf16(raw: bytes) -> str:
    """Text for Windows' UTF-16LE, unpaired surrogates included (escaped as their three WTF-8 bytes)."""
    return decode_str(raw.decode("utf-16-le", "surrogatepass"))


def decode_str(text: str) -> str:
    """Text that somebody else has decoded (JSON, a property list, wide characters), unpaired surrogates escaped."""
    return text if text.isascii() else decode(text.encode("utf-8", "surrogatepass"))
