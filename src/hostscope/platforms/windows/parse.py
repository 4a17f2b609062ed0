"""What Windows answers in bytes, parsed: command lines, environments, and strings that are pointed to. Pure."""

import re
import struct
from typing import NamedTuple

from hostscope.model.detail import Variable
from hostscope.model.text import decode_utf16

BLANKS = " \t"
_WORDS = re.compile("[^ \t]+")
_UNICODE_STRING = struct.Struct("<HHIQ")
_UNICODE_STRING32 = struct.Struct("<HHI")
WIDE_STRING_BYTES = _UNICODE_STRING.size
MAX_ARGUMENTS = 1 << 16
"""More than a command line of 32,767 characters can have."""
MAX_VARIABLES = 1 << 16


class Span(NamedTuple):
    """A string in another process: where, and how many bytes."""

    address: int
    length: int


def parse_span(raw: bytes, offset: int = 0, wide: bool = True) -> Span:
    """A UNICODE_STRING of a 64-bit process, or of a 32-bit one.

    Raises:
        ValueError: it is cut short.
    """
    kind = _UNICODE_STRING if wide else _UNICODE_STRING32
    if offset + kind.size > len(raw):
        raise ValueError("a string's description is cut short")
    found = kind.unpack_from(raw, offset)
    return Span(found[-1], found[0] & ~1)


def parse_own_string(raw: bytes, address: int) -> str:
    """The string that an answer begins with, and that stands in the same answer.

    Args:
        address: where `raw` was in our memory.

    Raises:
        ValueError: it is cut short or outside.
    """
    span = parse_span(raw)
    start = span.address - address
    if not span.length:
        return ""
    if start < WIDE_STRING_BYTES or start + span.length > len(raw):
        raise ValueError("a string is outside of its answer")
    return decode_utf16(raw[start : start + span.length])


def split_command_line(text: str) -> tuple[str, ...]:
    """The arguments, as CommandLineToArgvW splits a command line; none for an empty one.

    The program's name has rules of its own: it ends with its second quote, or with the first blank when it has none. In
    the rest, blanks outside of quotes separate; backslashes are halved before a quote and mean themselves elsewhere; of
    three quotes in a row one stays.
    """
    if not text:
        return ()
    name, place = _split_name(text)
    if '"' not in text[place:]:
        return (name, *_WORDS.findall(text, place))
    arguments = [name]
    while len(arguments) < MAX_ARGUMENTS and (word := _WORDS.search(text, place)):
        argument, place = _split_argument(text, word.start())
        arguments.append(argument)
    return tuple(arguments)


def _split_name(text: str) -> tuple[str, int]:
    """The program's name, and where it ends."""
    if text.startswith('"'):
        end = text.find('"', 1)
        return (text[1:], len(text)) if end < 0 else (text[1:end], end + 1)
    word = _WORDS.match(text)
    return (word.group(), word.end()) if word else ("", 0)


def _split_argument(text: str, place: int) -> tuple[str, int]:
    """The argument that begins at `place`, and where it ends."""
    made: list[str] = []
    quotes, slashes = 0, 0
    while place < len(text) and (quotes or text[place] not in BLANKS):
        char = text[place]
        place += 1
        if char == '"':
            if slashes % 2:
                made[-(slashes // 2 + 1) :] = ['"']
            else:
                del made[len(made) - slashes // 2 :]
                quotes += 1
            slashes = 0
            place, quotes = _more_quotes(text, place, quotes, made)
        else:
            slashes = slashes + 1 if char == "\\" else 0
            made.append(char)
    return "".join(made), place


def _more_quotes(text: str, place: int, quotes: int, made: list[str]) -> tuple[int, int]:
    """Consumes the quotes that follow one; where it ends, and whether it is inside of quotes (1) or not (0)."""
    while place < len(text) and text[place] == '"':
        place += 1
        quotes += 1
        if quotes == 3:
            made.append('"')
            quotes = 0
    return place, 0 if quotes == 2 else quotes


def parse_environment(raw: bytes) -> tuple[Variable, ...]:
    """``NAME=value`` strings, each ended by NUL, all ended by an empty one.

    Names may begin with ``=``: the current directory of each drive is kept as ``=C:``.
    """
    found: list[Variable] = []
    start = 0
    while len(found) < MAX_VARIABLES:
        end = end_of_text(raw, start)
        if end == start:
            break
        text = decode_utf16(raw[start:end])
        at = text.find("=", 1)
        found.append(Variable(text, "") if at < 0 else Variable(text[:at], text[at + 1 :]))
        start = end + 2
    return tuple(found)


def has_end_of_environment(raw: bytes) -> bool:
    """Whether the empty string that ends it is there."""
    start = 0
    while (end := end_of_text(raw, start)) != start:
        start = end + 2
    return start + 2 <= len(raw)


def parse_text(raw: bytes) -> str:
    """UTF-16 up to its NUL, or to the last whole unit where there is none."""
    return decode_utf16(raw[: end_of_text(raw)])


def end_of_text(raw: bytes, start: int = 0) -> int:
    """Where the NUL is that ends the UTF-16 that begins at `start`; behind the last whole unit without one."""
    at = raw.find(b"\0\0", start)
    while at >= 0 and (at - start) % 2:
        at = raw.find(b"\0\0", at + 1)
    return at if at >= 0 else max(start, len(raw) - (len(raw) - start) % 2)
