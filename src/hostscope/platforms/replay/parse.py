"""Lines of a recording, parsed. Pure: bytes in, records out; anything malformed is a `ValueError` that says what."""

from typing import Any, TypeVar

import msgspec

from hostscope.platforms.replay.layout import (
    CALLS,
    END_SCHEMA,
    FAILURE_SCHEMA,
    RECORDING_SCHEMA,
    Call,
    Failure,
    Header,
    Line,
)

MAX_LINE_BYTES = 64 << 20
"""Longer than any row: arguments take at most 6 MiB (three quarters of the stack limit, execve(2)), and JSON needs at
most six bytes for one."""

Body = TypeVar("Body")
_KINDS = {call.name: call for call in CALLS}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_count = msgspec.json.Decoder(int)
_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Line)
_failure = msgspec.json.Decoder(Failure)


def parse_header(raw: bytes) -> Header:
    """The first line.

    Raises:
        ValueError: not a recording, or one of another version.
    """
    try:
        schema = _decode(_text, _decode(_fields, raw).get("schema", b'""'))
    except ValueError as failed:
        raise ValueError(f"not a recording: {failed}") from failed
    check_schema(schema, RECORDING_SCHEMA)
    return _decode(_header, raw)


def parse_line(raw: bytes) -> Line:
    """Any other line; its body stays as it is.

    Raises:
        ValueError
    """
    return _decode(_line, raw)


def parse_kind(line: Line) -> Call[Any] | None:
    """Which call a line answers; None for one that a later version added."""
    return _KINDS.get(line.call)


def parse_answer(call: Call[Body], line: Line) -> Body | Failure:
    """The answer of a line, or the failure that stands in its place.

    Raises:
        ValueError: malformed, or of a schema that cannot be read.
    """
    if line.schema.rpartition("/")[0] == FAILURE_SCHEMA.rpartition("/")[0]:
        check_schema(line.schema, FAILURE_SCHEMA)
        return _decode(_failure, line.body)
    check_schema(line.schema, call.schema)
    return _decode(call.decoder, line.body)


def parse_end(line: Line) -> int:
    """How many lines stand between header and end.

    Raises:
        ValueError
    """
    check_schema(line.schema, END_SCHEMA)
    return _decode(_count, line.body)


def check_schema(found: str, expected: str) -> None:
    """Whether a schema is the one expected, in the same major version.

    Raises:
        ValueError
    """
    name, _, major = expected.rpartition("/")
    found_name, _, found_major = found.rpartition("/")
    if found_name != name:
        raise ValueError(f"not a {name}")
    if found_major != major:
        raise ValueError(f"{name} of version {found_major}; this hostscope reads version {major}")


def _decode(decoder: msgspec.json.Decoder[Body], raw: bytes | msgspec.Raw) -> Body:
    try:
        return decoder.decode(bytes(raw))
    except RecursionError as failed:
        raise ValueError("nested too deeply") from failed
    except msgspec.MsgspecError as failed:
        raise ValueError(str(failed)) from failed
