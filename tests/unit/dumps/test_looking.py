"""Strings, indicators, entropy, anomalies, policies."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hostscope.collectors.analysis import read_file
from hostscope.dumps import strings as module
from hostscope.dumps.anomalies import changed_code, find, image_anomalies, region_anomalies, thread_anomalies
from hostscope.dumps.entropy import entropy
from hostscope.dumps.indicators import Indicators, indicators_of
from hostscope.dumps.selection import reading_order, select, without_memory
from hostscope.dumps.strings import find_strings
from hostscope.model.dump import POLICIES, DumpedThread, DumpRequest, FoundString
from tests.fake import process
from tests.unit.dumps.spaces import PAGE, region


def test_strings_of_both_encodings_and_their_addresses() -> None:
    raw = b"\0\1abcdef\0xyz\0\0" + "s3cret!".encode("utf-16-le") + b"\xff"
    found = list(find_strings(lambda at, size: raw[at : at + size], 0, len(raw)))
    assert [(one.address, one.encoding, one.text) for one in found] == [
        (2, "ascii", "abcdef"),
        (14, "utf-16", "s3cret!"),
    ]


@given(st.lists(st.sampled_from([b"abcdefgh", b"\0", b"\xff\xfe", "wide-text".encode("utf-16-le")]), max_size=40),
       st.integers(20, 60))  # fmt: skip
def test_borders_of_parts_hide_nothing(pieces: list[bytes], part: int) -> None:
    raw = b"".join(pieces)

    def strings() -> list[FoundString]:
        found = find_strings(lambda at, size: raw[at : at + size], 0, len(raw))
        return sorted(found, key=lambda one: (one.encoding, one.address))

    whole, before = strings(), module.PART_BYTES
    module.PART_BYTES = part
    try:
        assert strings() == whole
    finally:
        module.PART_BYTES = before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://user:hunter2@evil.example/x?a=1 now", ("url", "https://user:***@evil.example/x?a=1")),
        ("mail root@evil.com", ("email", "root@evil.com")),
        ("at 10.0.0.254 and", ("ipv4", "10.0.0.254")),
        ("via fe80::1:2 ok", ("ipv6", "fe80::1:2")),
        ("open /etc/shadow then", ("path", "/etc/shadow")),
        ("AKIAIOSFODNN7EXAMPLE", ("key", "AKIA***")),
        ("c2.badguys.xyz", ("domain", "c2.badguys.xyz")),
    ],
)
def test_indicators(text: str, expected: tuple[str, str]) -> None:
    assert expected in list(indicators_of(text))


@pytest.mark.parametrize("text", ["1.2.3.400", "version 1.2.3.4.5", "0.0.0.0", "12:34:56", "libfoo.so.1", "a@b"])
def test_no_indicators(text: str) -> None:
    assert list(indicators_of(text)) == []


@given(st.text(max_size=300))
def test_any_text_has_some_indicators(text: str) -> None:
    assert all(value for _, value in indicators_of(text))


def test_indicators_are_counted_and_bounded() -> None:
    found = Indicators(most=2)
    found.see(FoundString(100 - n, "ascii", f"/etc/file{n % 3}") for n in range(9))
    rows = [(one.value, one.count, one.address) for one in found.all()]
    assert rows == [("/etc/file0", 3, 94), ("/etc/file1", 3, 93)]
    assert found.full


def test_entropy() -> None:
    assert entropy(b"") is None
    assert entropy(b"aaaa") == 0
    assert entropy(b"ab" * 50) == 1
    assert entropy(bytes(range(256))) == 8
    assert 7.99 < (entropy(os.urandom(1 << 18)) or 0) <= 8


def test_regions_that_look_injected() -> None:
    rows = [
        region(1, 1, "r-xp", "/bin/x", 5),
        region(2, 1, "rwxp"),
        region(3, 1, "r-xp"),
        region(4, 1, "r-xp", "/memfd:evil", 6, deleted=True),
        region(5, 1, "r-xp", "/tmp/gone", 7, deleted=True),
        region(6, 1, "r-xp", "[vdso]"),
        region(7, 1, "rw-p", "[heap]"),
    ]
    found = [(one.kind, one.start // PAGE, one.heuristic) for one in region_anomalies(rows)]
    assert found == [
        ("writable-executable", 2, True),
        ("executable-without-file", 2, True),
        ("executable-without-file", 3, True),
        ("memfd-executable", 4, False),
        ("deleted-executable", 5, True),
    ]


def test_threads_outside_of_modules() -> None:
    rows = [region(1, 1, "r-xp", "/bin/x", 5), region(3, 1, "r-xp"), region(8, 2, "rw-p", "[stack]")]
    stack = struct.pack("<4Q", 7, PAGE + 5, 3 * PAGE + 16, 0)

    def read(address: int, size: int) -> bytes:
        return stack if address == 8 * PAGE else b""

    inside = DumpedThread(1, PAGE + 4, 8 * PAGE, 0, "/bin/x")
    outside = DumpedThread(2, 3 * PAGE + 1, 9 * PAGE, 0, None)
    nowhere = DumpedThread(3, 77 * PAGE, None, 0, None)
    found = [(one.kind, one.tid) for one in thread_anomalies([inside, outside, nowhere], rows, read)]
    expected = [("return-outside-modules", 1), ("thread-outside-modules", 2), ("thread-outside-modules", 3)]
    assert found == expected


def test_a_hollowed_image() -> None:
    auxv = struct.pack("<6Q", 3, PAGE + 64, 9, 2 * PAGE + 1, 0, 0)
    good = [region(1, 1, "r--p", "/bin/x", 5), region(2, 1, "r-xp", "/bin/x", 5)]
    assert list(image_anomalies(auxv, good, "/bin/x", lambda at, size: b"\x7fELF"[:size])) == []
    lost = list(image_anomalies(auxv, good, "/bin/x", lambda at, size: b"MZ\x90\0"[:size]))
    assert [one.kind for one in lost] == ["hollowed-image"] and not lost[0].heuristic
    swapped = [region(1, 1, "r--p"), region(2, 1, "r-xp", "/tmp/other", 6)]
    severities = [one.severity for one in image_anomalies(auxv, swapped, "/bin/x", lambda at, size: b"")]
    assert severities == ["critical", "high"]
    assert [one.severity for one in image_anomalies(auxv, [], "/bin/x", lambda at, size: b"")] == ["critical"] * 2


def test_code_that_is_not_the_files() -> None:
    code = region(1, 3, "r-xp", "/bin/x", 5)
    disk = b"A" * 3 * PAGE
    memory = disk[:PAGE] + b"B" + disk[PAGE + 1 :]

    def read(at: int, size: int) -> bytes:
        return memory[at - PAGE : at - PAGE + size]

    whole = [(code, [(code.start, code.end)])]
    (found,) = changed_code(whole, read, lambda one, within: disk[within:])
    assert found.kind == "changed-code" and f"{2 * PAGE:#x}" in found.detail and found.detail.startswith("1 pages")
    assert list(changed_code(whole, read, lambda one, within: memory[within:])) == []
    assert list(changed_code(whole, read, lambda one, within: None)) == []
    without = [(code, [(code.start, code.start + PAGE), (code.start + 2 * PAGE, code.end)])]
    assert list(changed_code(without, read, lambda one, within: disk[within:])) == [], "what was not read is not told"


def test_comparing_ends_with_the_file() -> None:
    code, asked = region(1, 1 << 30, "r-xp", "/bin/x", 5), list[int]()

    def read_file(_: object, within: int) -> bytes:
        asked.append(within)
        return bytes(PAGE) if within == 0 else b""

    assert list(changed_code([(code, [(code.start, code.end)])], lambda at, size: bytes(size), read_file)) == []
    assert len(asked) == 2


ROWS = (
    region(1, 1, "r-xp", "/bin/x", 5, private_dirty_bytes=0),
    region(2, 1, "rw-p", "/bin/x", 5, private_dirty_bytes=PAGE),
    region(3, 1, "rw-p", "[heap]"),
    region(4, 1, "rwxp"),
    region(5, 1, "rw-s", "/dev/shm/x", 9),
    region(6, 1, "rw-p", "[stack]"),
    region(7, 1, "r--p", "[vvar]", flags=("pf",)),
    region(8, 1, "rw-s", "/dev/mem", 3, flags=("io",)),
)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("all", [1, 2, 3, 4, 5, 6]),
        ("private", [2, 3, 4, 6]),
        ("executable", [1, 4]),
        ("anonymous", [3, 4, 6]),
        ("suspicious", [4, 6]),
        ("suspicious-first", [4, 1, 2, 3, 5, 6]),
    ],
)
def test_policies(policy: str, expected: list[int]) -> None:
    chosen = select(ROWS, DumpRequest(policy=policy), {4 * PAGE})
    assert [chosen[index].region.start // PAGE for index in reading_order(chosen)] == expected
    assert all(one.skipped for one in chosen if not one.included)
    assert policy in POLICIES


def test_an_address_is_found() -> None:
    assert find(ROWS, 3 * PAGE + 5) is ROWS[2]
    assert find(ROWS, 0) is None and find(ROWS, 99 * PAGE) is None


def test_who_has_no_memory() -> None:
    rows = [process(50, state="zombie"), process(51, state="zombie", threads=2), process(52, kernel=True), process(53)]
    assert [row.key.pid for row in rows if not without_memory(row)] == [51, 53], "51: its first thread alone has ended"


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 64])
def test_the_offset_of_a_file_is_the_dumps_word(offset: int) -> None:
    one = region(0, 1, "r-xp", __file__, os.stat(__file__).st_ino)
    assert read_file(replace(one, offset=offset), 0) is None
    assert (read_file(one, 0) or b"")[:3] == b'"""'
