"""Command lines, environments, environment blocks and tables of handles from bytes, whole, cut and arbitrary."""

import ctypes
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.detail import Variable
from hostscope.platforms.windows import parse_objects
from hostscope.platforms.windows.native import ntdll
from hostscope.platforms.windows.parse import (
    Span,
    has_end_of_environment,
    parse_environment,
    parse_own_string,
    parse_span,
    split_command_line,
)
from hostscope.platforms.windows.parse_objects import HandleEntry, parse_handles, parse_types
from hostscope.platforms.windows.parse_peb import NARROW, WIDE, Layout, parse_parameters, parse_parameters_pointer

# Command lines: the answers of CommandLineToArgvW ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a b  c\td", ("a", "b", "c", "d")),
        ('"a b" c', ("a b", "c")),
        ('"a b', ("a b",)),
        (" a", ("", "a")),
        ('"a"b c', ("a", "b", "c")),
        ('a"b c" d', ('a"b', "c d")),
        (r"C:\x\ y\z\\", ("C:\\x\\", "y\\z\\\\")),
        (r'x "a\\" b', ("x", "a\\", "b")),
        (r"x a\"b", ("x", 'a"b')),
        (r"x a\\\"b", ("x", 'a\\"b')),
        (r'x a\\b "c d"', ("x", "a\\\\b", "c d")),
        ('x ""', ("x", "")),
        ('x """"', ("x", '"')),
        ('x "a""b c', ("x", 'a"b', "c")),
        ('x "a"""b c"', ("x", 'a"b c')),
        ("x \u00a0y\n z", ("x", "\u00a0y\n", "z")),
    ],
)
def test_command_lines_are_split_as_windows_splits_them(text: str, expected: tuple[str, ...]) -> None:
    assert split_command_line(text) == expected


def quoted(argument: str) -> str:
    """As programs quote for it (subprocess.list2cmdline), written anew."""
    made, slashes = ['"'], 0
    for char in argument:
        if char == "\\":
            slashes += 1
            continue
        made.append("\\" * (slashes * 2 + 1 if char == '"' else slashes) + char)
        slashes = 0
    return "".join([*made, "\\" * slashes * 2, '"'])


@given(st.text('"', max_size=0), st.lists(st.text('ab" \\\t\u00e9', max_size=8), max_size=6))
def test_arguments_come_back_as_they_were_quoted(_: str, arguments: list[str]) -> None:
    assert split_command_line(" ".join(["x", *map(quoted, arguments)])) == ("x", *arguments)


@given(st.text(max_size=200))
def test_any_text_is_split(text: str) -> None:
    split = split_command_line(text)
    assert sum(map(len, split)) <= len(text)
    assert (split == ()) is (text == "")


# Environments -------------------------------------------------------------------------------------------------------


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def test_environments() -> None:
    raw = utf16("=C:=C:\\x\0A=1\0EMPTY=\0B=2=3\0ODD\0\0") + b"rest"
    assert parse_environment(raw) == (
        Variable("=C:", "C:\\x"),
        Variable("A", "1"),
        Variable("EMPTY", ""),
        Variable("B", "2=3"),
        Variable("ODD", ""),
    )
    assert has_end_of_environment(raw)


@pytest.mark.parametrize("raw", [b"", b"\0", utf16("A=1"), utf16("A=1\0B=2"), utf16("A=1\0"), utf16("\u0141=\u0100x")])
def test_an_environment_without_its_end_is_told_from_a_whole_one(raw: bytes) -> None:
    parse_environment(raw)
    assert not has_end_of_environment(raw)
    assert has_end_of_environment(utf16("A=1\0\0")) and has_end_of_environment(utf16("\0"))


NAMES = st.text(st.characters(codec="utf-16", exclude_characters="=\0"), min_size=1, max_size=5)
VALUES = st.text(st.characters(codec="utf-16", exclude_characters="\0", exclude_categories=["Co"]), max_size=8)


@given(st.lists(st.tuples(NAMES.filter(lambda name: name < "\U0010ee00"), VALUES), max_size=6))
def test_environments_come_back(pairs: list[tuple[str, str]]) -> None:
    raw = utf16("".join(f"{name}={value}\0" for name, value in pairs) + "\0")
    assert [(v.name, v.value) for v in parse_environment(raw)] == pairs
    assert has_end_of_environment(raw)


@given(st.binary(max_size=300))
def test_any_bytes_make_an_environment(raw: bytes) -> None:
    assert len(parse_environment(raw)) <= len(raw)
    has_end_of_environment(raw)


# Strings and blocks -------------------------------------------------------------------------------------------------


def test_strings_of_both_widths() -> None:
    assert parse_span(struct.pack("<HHIQ", 10, 12, 0, 0x7FF0_0000_1000)) == Span(0x7FF0_0000_1000, 10)
    assert parse_span(b"xxxx" + struct.pack("<HHI", 11, 12, 0x1000), 4, wide=False) == Span(0x1000, 10)
    with pytest.raises(ValueError, match="cut short"):
        parse_span(bytes(15))


def test_strings_in_their_own_answer() -> None:
    raw = struct.pack("<HHIQ", 4, 6, 0, 0x5010) + utf16("ab") + b"\0\0"
    assert parse_own_string(raw, 0x5000) == "ab"
    assert parse_own_string(bytes(16), 0x5000) == ""
    for elsewhere in (0x4000, 0x5008):
        with pytest.raises(ValueError, match="outside"):
            parse_own_string(raw, elsewhere)


@given(st.binary(max_size=64), st.integers(0, 1 << 64))
def test_any_answer_gives_a_string_or_is_refused(raw: bytes, address: int) -> None:
    with suppress(ValueError):
        parse_own_string(raw, address)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_blocks_cut_short_are_refused(layout: Layout) -> None:
    for size in (0, 7, layout.parameters):
        with pytest.raises(ValueError, match="cut short"):
            parse_parameters_pointer(bytes(size), layout)
    for size in (0, layout.directory, layout.environment):
        with pytest.raises(ValueError, match="cut short"):
            parse_parameters(bytes(size), layout)
    short = parse_parameters(b"\1" * (layout.environment + 8), layout)
    assert short.environment.length == 0
    assert short.environment.address


@given(st.binary(max_size=1100), st.sampled_from([WIDE, NARROW]))
def test_any_block_is_parsed_or_refused(raw: bytes, layout: Layout) -> None:
    with suppress(ValueError):
        found = parse_parameters(raw, layout)
        assert found.command_line.length <= 0xFFFE and found.directory.length % 2 == 0
    with suppress(ValueError):
        parse_parameters_pointer(raw, layout)


def test_the_wide_block_is_where_the_header_has_it() -> None:
    """winternl.h has CommandLine; what it lacks is proven live (tests/windows)."""
    reserved = 16 + 10 * 8
    assert WIDE.command_line == reserved + ctypes.sizeof(ntdll.UNICODE_STRING)


# Handles ------------------------------------------------------------------------------------------------------------


def handles(*entries: tuple[int, int, int, int]) -> bytes:
    """Owner, value, access, type of each."""
    made = []
    for owner, value, access, kind in entries:
        entry = ntdll.SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX(0xFFFF_8000, owner, value, access, 0, kind, 0, 0)
        made.append(bytes(entry))
    return struct.pack("<QQ", len(entries), 0) + b"".join(made)


def test_handles_of_one_process() -> None:
    assert ctypes.sizeof(ntdll.SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX) == parse_objects.ENTRY_BYTES
    raw = handles((8, 4, 1, 7), (12, 4, 2, 7), (8, 16, 3, 9))
    assert list(parse_handles(raw, 8)) == [HandleEntry(4, 1, 7, 0xFFFF_8000), HandleEntry(16, 3, 9, 0xFFFF_8000)]
    assert list(parse_handles(raw + b"rest", 12)) == [HandleEntry(4, 2, 7, 0xFFFF_8000)]
    for cut in (0, 15, len(raw) - 1):
        with pytest.raises(ValueError, match="cut short"):
            list(parse_handles(raw[:cut], 8))


def types(*names: tuple[str, int]) -> bytes:
    """A list of types, as at address 0x1000; 0 as an index stands for none."""
    made = bytearray(struct.pack("<II", len(names), 0))
    for name, index in names:
        raw, room = utf16(name), len(utf16(name)) + 2
        at = 0x1000 + len(made) + parse_objects.TYPE_BYTES
        entry = bytearray(struct.pack("<HHIQ", len(raw), room, 0, at).ljust(parse_objects.TYPE_BYTES, b"\0"))
        entry[0x5A] = index
        made += entry + raw.ljust(room + 7 & ~7, b"\0")
    return bytes(made)


def test_names_of_types() -> None:
    raw = types(("Type", 2), ("Directory", 3), ("ALPC Port", 47))
    assert parse_types(raw, 0x1000) == {2: "Type", 3: "Directory", 47: "ALPC Port"}
    assert parse_types(types(("Type", 0), ("File", 0)), 0x1000) == {2: "Type", 3: "File"}
    for cut in (0, 3, 50, len(raw) - 8):
        with pytest.raises(ValueError):
            parse_types(raw[:cut], 0x1000)


@given(st.binary(max_size=500), st.integers(0, 1 << 64))
def test_any_table_is_parsed_or_refused(raw: bytes, address: int) -> None:
    with suppress(ValueError):
        parse_types(raw, address)
    with suppress(ValueError):
        list(parse_handles(raw, 8))
