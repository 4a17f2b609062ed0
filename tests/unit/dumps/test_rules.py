"""YARA rules: errors with their place, matches across borders, each once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.dumps import matching, rules
from hostscope.dumps.matching import cut_parts, file_matches, region_matches
from hostscope.dumps.rules import compile_rules
from hostscope.errors import RuleError, Unavailable
from hostscope.model.text import decode
from tests.unit.dumps.spaces import region

RULE = 'rule needle : tag { strings: $a = "needle" condition: $a }\nrule always { condition: true }\n'


def test_errors_name_path_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "bad.yar").write_text('rule x {\n strings: $a = "x"\n condition: $b\n}')
    with pytest.raises(RuleError, match=r"bad\.yar:3:13: unknown pattern"):
        compile_rules(str(tmp_path / "bad.yar"))
    with pytest.raises(RuleError, match="cannot read"):
        compile_rules(str(tmp_path / "none.yar"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuleError, match="no rules in"):
        compile_rules(str(tmp_path / "empty"))
    (tmp_path / "latin.yar").write_bytes(b"\xff")
    with pytest.raises(RuleError, match="not UTF-8 at byte 0"):
        compile_rules(str(tmp_path / "latin.yar"))


def test_a_directory_has_a_namespace_for_each_file(tmp_path: Path) -> None:
    for name in ("one.yar", "two.yara"):
        (tmp_path / name).write_text(RULE)
    (tmp_path / "notes.txt").write_text("no rule")
    found = compile_rules(str(tmp_path)).scan(b"..needle..")
    assert [(one.namespace, one.rule, one.pattern, one.offset) for one in found] == [
        ("one", "needle", "$a", 2), ("one", "always", None, 0), ("two", "needle", "$a", 2), ("two", "always", None, 0),
    ]  # fmt: skip
    assert found[0].tags == ("tag",)


@pytest.mark.posix("names that are not UTF-8")
def test_a_file_of_rules_may_be_called_anything(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yar", "w") as file:
        file.write(RULE)
    for place in (tmp_path, *tmp_path.iterdir()):
        assert {one.namespace for one in compile_rules(str(place)).scan(b"..needle..")} == {decode(b"\xff")}


def test_what_crosses_a_border_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PART_BYTES", 64)
    monkeypatch.setattr(matching, "OVERLAP_BYTES", 16)
    (tmp_path / "r.yar").write_text(RULE)
    rules = compile_rules(str(tmp_path / "r.yar"))
    raw = bytearray(400)
    places = [0, 45, 58, 100, 394]
    for place in places:
        raw[place : place + 6] = b"needle"
    where = region(1, 1)
    parts = [(at, bytes(raw[at - 4096 : at - 4096 + size])) for at, size in cut_parts([(4096, 4096 + 400)])]
    assert sum(len(part) for _, part in parts) >= 400 and all(len(part) <= 64 for _, part in parts)
    found = list(region_matches(rules, where, parts, 7, "x"))
    assert [one.offset for one in found if one.pattern] == places
    assert [one.rule for one in found].count("always") == 1
    assert {(one.pid, one.name, one.place) for one in found} == {(7, "x", "memory")}


def test_many_matches_are_counted(tmp_path: Path) -> None:
    (tmp_path / "r.yar").write_text(RULE)
    found = file_matches(compile_rules(str(tmp_path / "r.yar")), "/bin/x", [(0, b"needle" * 150)])
    listed = [one for one in found if one.pattern]
    assert (len(listed), listed[-1].more, listed[0].more, listed[0].address) == (100, 50, 0, None)


def test_what_was_found_before_the_scanner_gave_up_is_told(tmp_path: Path) -> None:
    def parts() -> Iterator[tuple[int, bytes]]:
        yield 4096, b"..needle"
        raise Unavailable("it gave up")

    (tmp_path / "r.yar").write_text(RULE)
    matches = region_matches(compile_rules(str(tmp_path / "r.yar")), region(1, 1), parts())
    assert [next(matches).address, next(matches).address] == [4098, 4096]
    with pytest.raises(Unavailable, match="it gave up"):
        next(matches)


def test_a_slow_rule_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "TIMEOUT_S", 1)
    every = "for any i in (0..filesize) : ( for any j in (0..filesize) : ( uint8(i) + uint8(j) == 600 ) )"
    (tmp_path / "r.yar").write_text(f"rule slow {{ condition: {every} }}")
    with pytest.raises(Unavailable, match="the YARA scanner gave up"):
        compile_rules(str(tmp_path / "r.yar")).scan(bytes(16 << 20))


def test_parts_of_small_and_odd_ranges() -> None:
    assert list(cut_parts([(0, 10), (50, 51), (60, 60)])) == [(0, 10), (50, 1)]


@pytest.mark.posix("pipes and devices in a folder")
@pytest.mark.parametrize("whole_directory", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, kind: str, whole_directory: bool) -> None:
    place = tmp_path / "waits.yar"
    os.mkfifo(place) if kind == "pipe" else place.symlink_to("/dev/zero")
    with pytest.raises(RuleError, match=r"waits\.yar is not a regular file"):
        compile_rules(str(tmp_path if whole_directory else place))
