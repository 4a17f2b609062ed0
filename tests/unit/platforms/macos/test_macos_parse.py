"""Parsers of what Darwin answers: bounded, and without surprises for any bytes."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.text import encode
from hostscope.platforms.macos import bundles, parse, parse_detail, parse_signing, protection
from hostscope.platforms.macos.parse import parse_arguments

STRING = st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b"x"))


def arguments(exe: bytes, argv: list[bytes], env: list[bytes], padding: int = 3, count: int | None = None) -> bytes:
    strings = b"".join(text + b"\0" for text in (*argv, *env))
    return struct.pack("<i", len(argv) if count is None else count) + exe + bytes(1 + padding) + strings + b"\0"


@given(STRING, st.lists(STRING, max_size=6), st.lists(STRING.filter(len), max_size=6), st.integers(0, 9))
def test_arguments_come_back(exe: bytes, argv: list[bytes], env: list[bytes], padding: int) -> None:
    argv = [b"first", *argv]
    found = parse_arguments(arguments(exe, argv, env, padding))
    assert [encode(text) for text in found.argv] == argv
    assert [encode(text) for text in found.environment] == env
    assert found.whole


@given(st.integers(1, 200))
def test_arguments_that_are_cut_off_are_told(cut: int) -> None:
    raw = arguments(b"/bin/x", [b"one", b"two", b"three"], [])
    short = raw[: max(4, len(raw) - 1 - cut)]
    found = parse_arguments(short)
    assert not found.whole
    assert len(found.argv) <= 3


def test_apples_own_strings_are_no_environment() -> None:
    raw = arguments(b"/bin/x", [b"x"], [b"A=1"]) + b"executable_path=/bin/x\0ptr_munge=\0"
    assert parse_arguments(raw).environment == ("A=1",)


@pytest.mark.parametrize("count", [-1, 0, 2**31 - 1])
def test_counts_that_make_no_sense(count: int) -> None:
    found = parse_arguments(arguments(b"/bin/x", [b"x"], [], count=count))
    assert found.whole is (count <= 1)
    assert len(found.argv) <= 2


@given(st.binary(max_size=4096))
def test_any_bytes(raw: bytes) -> None:
    for parser in (
        parse.parse_arguments,
        parse.parse_task,
        parse.parse_usage,
        parse.parse_architecture,
        parse_detail.parse_region,
        lambda raw: parse_detail.parse_vnode(3, raw),
        lambda raw: parse_detail.parse_pipe(3, raw),
        lambda raw: parse_detail.parse_thread(3, raw),
        lambda raw: parse_signing.parse_entitlements(raw, b""),
        lambda raw: parse_signing.parse_entitlements(b"", raw),
        lambda raw: bundles.parse_info("/x", raw, False),
    ):
        with suppress(ValueError):
            parser(raw)
    assert len(parse.parse_processes(raw)) == len(raw) // parse.KINFO_BYTES
    parse.parse_path(raw, 1)
    parse_signing.parse_string(raw)


@given(st.binary(min_size=parse.KINFO_BYTES, max_size=parse.KINFO_BYTES))
def test_any_entry_of_the_table(raw: bytes) -> None:
    (found,) = parse.parse_processes(raw)
    assert len(found.groups) <= parse.MOST_GROUPS


@given(st.binary(min_size=parse.TASK_BYTES, max_size=parse.TASK_BYTES))
def test_any_task(raw: bytes) -> None:
    assert parse.parse_task(raw).faults >= 0


@given(st.integers(0, 2**32 - 1))
def test_every_bit_of_sip_has_a_name(config: int) -> None:
    assert len(protection.allowed_names(config)) == config.bit_count()
    known = sum(1 for bit, _, _ in protection.BITS if config & bit)
    assert len(protection.blocked(config)) == len(protection.BITS) - known


@given(st.integers(0, 2**32 - 1))
def test_flags_have_names(word: int) -> None:
    names = parse_signing.flag_names(word)
    assert len(names) == len(set(names)) == word.bit_count()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/System/Library/x", True),
        ("/usr/bin/true", True),
        ("/usr/local/bin/x", False),
        ("/System/Volumes/Data/x", False),
        ("/Systematic", False),
        ("/Applications/x", False),
    ],
)
def test_protected_paths(path: str, expected: bool) -> None:
    assert protection.is_protected(path) is expected


@pytest.mark.parametrize(
    ("exe", "bundle"),
    [
        ("/Applications/A.app/Contents/MacOS/A", "/Applications/A.app"),
        ("/A.app/Contents/XPCServices/B.xpc/Contents/MacOS/B", "/A.app/Contents/XPCServices/B.xpc"),
        ("/usr/bin/true", None),
        ("/Contents/MacOS/x", None),
    ],
)
def test_bundle_paths(exe: str, bundle: str | None) -> None:
    assert bundles.bundle_path(exe) == bundle
