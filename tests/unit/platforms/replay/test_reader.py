"""Files that are no recordings, not whole, damaged, or from another version."""

import gzip
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.errors import Gone, Unavailable, UsageError
from hostscope.model.process import Process
from hostscope.model.request import FIELDS, FULL, ProcessRequest
from hostscope.platforms.replay import parse, reader
from hostscope.platforms.replay.host import open_host
from hostscope.platforms.replay.layout import CALLS
from hostscope.platforms.replay.select import GROUPS
from hostscope.platforms.replay.writer import record
from hostscope.platforms.tally import Tally
from tests.unit.platforms.replay.hosts import REQUEST, ROWS, known_host

FIXTURES = Path(__file__).parents[3] / "fixtures" / "recordings"


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    path = tmp_path / "whole.jsonl"
    record(known_host(), str(path), REQUEST, reveal=True)
    return path.read_bytes().splitlines(keepends=True)


def write(tmp_path: Path, *lines: bytes) -> str:
    path = tmp_path / "made.jsonl"
    path.write_bytes(b"".join(lines))
    return str(path)


def sweep(path: str) -> tuple[list[Process], Tally]:
    tally = Tally()
    return list(open_host(path).processes.sweep(REQUEST, tally)), tally


def changed(line: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n"


def place(lines: list[bytes], call: str) -> int:
    return next(number for number, line in enumerate(lines) if json.loads(line).get("call") == call)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"made.jsonl:1: "),
        (b"\n", r"made.jsonl:1: "),
        (b"pid,name\n1,init\n", r"made.jsonl:1: "),
        (b'{"rows": []}\n', r"made.jsonl:1: not a hostscope.recording"),
        (b'{"schema": 7}\n', r"made.jsonl:1: "),
        (b'{"schema": "hostscope.process/1"}\n', r"made.jsonl:1: not a hostscope.recording"),
        (b'{"schema": "hostscope.recording/2"}\n', r"made.jsonl:1: .*version 2; this hostscope reads version 1"),
        (b'{"schema": "hostscope.recording/1"}\n', r"made.jsonl:1: .*missing required field"),
        (b"\xff\xfe\x00", r"made.jsonl:1: "),
        (b"\x1f\x8b\x08\x00garbage!", r"made.jsonl:1: "),
        (b"[" * 100_000, r"made.jsonl:1: "),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_host(write(tmp_path, content))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file|not found"):
        open_host(str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="not a regular file"):
        open_host(str(tmp_path))


@pytest.mark.posix("pipes with a name in a folder")
def test_a_pipe_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        open_host(str(tmp_path / "pipe"))


def test_an_answer_of_another_version(tmp_path: Path, lines: list[bytes]) -> None:
    number = place(lines, "counters.read")
    lines[number] = changed(lines[number], schema="hostscope.counters/9")
    with pytest.raises(UsageError, match=rf"made.jsonl:{number + 1}: hostscope.counters of version 9"):
        open_host(write(tmp_path, *lines))


def test_a_damaged_answer_is_named_by_its_line(tmp_path: Path, lines: list[bytes]) -> None:
    number = place(lines, "system.info")
    lines[number] = changed(lines[number], body={"hostname": 7})
    with pytest.raises(UsageError, match=rf"made.jsonl:{number + 1}: "):
        open_host(write(tmp_path, *lines))
    lines[number] = b"{nonsense\n"
    with pytest.raises(UsageError, match=rf"made.jsonl:{number + 1}: "):
        open_host(write(tmp_path, *lines))


@pytest.mark.parametrize("change", [{"body": {"name": 7}}, {"schema": "hostscope.process/2"}])
def test_a_damaged_row_is_counted_and_the_others_are_given(
    tmp_path: Path, lines: list[bytes], change: dict[str, Any]
) -> None:
    number = place(lines, "processes.sweep") + 1
    lines[number] = changed(lines[number], **change)
    rows, tally = sweep(write(tmp_path, *lines))
    assert rows == [ROWS[0], ROWS[2]]
    assert tally.failed == 1
    assert any(f"made.jsonl:{number + 1}: " in note for note in tally.notes)
    assert not tally.coverage().complete


def test_fields_and_calls_of_later_versions_are_passed_over(tmp_path: Path, lines: list[bytes]) -> None:
    row = place(lines, "processes.sweep")
    body = {**json.loads(lines[row])["body"], "aura": "blue"}
    lines[0] = changed(lines[0], mood="calm")
    lines[row] = changed(lines[row], body=body, weight=3)
    end = json.loads(lines.pop())["body"]
    later = json.dumps({"schema": "hostscope.aura/1", "call": "auras.read", "body": {}}).encode() + b"\n"
    last = json.dumps({"schema": "hostscope.recording_end/1", "call": "end", "body": end + 1}).encode() + b"\n"
    rows, tally = sweep(write(tmp_path, *lines, later, last))
    assert tuple(rows) == ROWS
    assert any("1 lines of the recording are of kinds" in note for note in tally.notes)
    assert tally.coverage().complete is False  # two denied rows, from the recording itself
    assert tally.hidden is None


def test_every_truncation_is_noticed(tmp_path: Path, lines: list[bytes]) -> None:
    whole = b"".join(lines)
    for length in range(len(lines[0]), len(whole) - 1, 7):
        rows, tally = sweep(write(tmp_path, whole[:length]))
        assert tuple(rows) == ROWS[: len(rows)]
        assert tally.hidden is not None and "cut short" in tally.hidden
        assert tally.failed == 0


def test_a_truncated_gzip_is_noticed(tmp_path: Path, lines: list[bytes]) -> None:
    packed = gzip.compress(b"".join(lines))
    for length in range(len(packed) // 2, len(packed) - 12, 3):
        path = write(tmp_path, packed[:length])
        _, tally = sweep(path)
        assert tally.hidden is not None


def test_damaged_gzip(tmp_path: Path, lines: list[bytes]) -> None:
    packed = bytearray(gzip.compress(b"".join(lines)))
    packed[-5] ^= 0xFF  # a byte of the checksum
    with pytest.raises(UsageError, match="damaged"):
        open_host(write(tmp_path, bytes(packed)))


def test_a_missing_line_is_noticed(tmp_path: Path, lines: list[bytes]) -> None:
    del lines[place(lines, "processes.sweep")]
    rows, tally = sweep(write(tmp_path, *lines))
    assert tuple(rows) == ROWS[1:]
    assert tally.hidden is not None and f"{len(lines) - 2} of the {len(lines) - 1} lines" in tally.hidden


def test_absence_in_an_incomplete_recording_is_not_proof(tmp_path: Path, lines: list[bytes]) -> None:
    cut = open_host(write(tmp_path, *lines[:-3]))
    with pytest.raises(Unavailable, match="cut short"):
        cut.processes.read(4711, REQUEST)
    with pytest.raises(Gone):
        open_host(write(tmp_path, *lines)).processes.read(4711, REQUEST)


def test_text_after_the_end(tmp_path: Path, lines: list[bytes]) -> None:
    with pytest.raises(UsageError, match="after the recording's end"):
        open_host(write(tmp_path, *lines, lines[1]))


def test_a_lost_final_newline_is_harmless(tmp_path: Path, lines: list[bytes]) -> None:
    rows, tally = sweep(write(tmp_path, b"".join(lines)[:-1]))
    assert tuple(rows) == ROWS
    assert tally.hidden is None


def test_lines_are_bounded(tmp_path: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_LINE_BYTES", 2000)
    with pytest.raises(UsageError, match=r"made.jsonl:2: longer than"):
        open_host(write(tmp_path, lines[0], b" " * 3000))


def test_kept_answers_are_bounded(tmp_path: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_KEPT_BYTES", 100)
    with pytest.raises(UsageError, match="answers beside the rows"):
        open_host(write(tmp_path, *lines))


def test_a_recording_of_version_1_stays_readable() -> None:
    host = open_host(str(FIXTURES / "v1.jsonl"))
    tally = Tally()
    rows = {row.name: row for row in host.processes.sweep(ProcessRequest(fields=FULL), tally)}
    assert tally.hidden is None and tally.failed == 0
    assert host.system.info().system == "linux"
    assert host.counters.read().cpu_count > 0
    assert rows["systemd"].pid == 1
    assert rows["kthreadd"].kernel is True
    assert rows["nginx"].container is not None and rows["nginx"].container.runtime == "podman"
    assert rows["mysql"].argv == ("mysql", "--password=***", "-h", "db")
    assert rows["mysql"].gaps[0].field == "cwd"
    assert {service.name for service in host.services.services()} == {"ssh.service", "cron.service"}


def test_every_field_group_knows_its_fields() -> None:
    assert GROUPS.keys() == FIELDS.keys()
    for fields in GROUPS.values():
        for field in fields:
            record, _, inner = field.partition(".")
            assert record in Process.__struct_fields__
            assert not inner or inner in _inner_fields(record)


def _inner_fields(record: str) -> tuple[str, ...]:
    from hostscope.model import linux, macos, process, windows

    kinds: dict[str, Any] = {
        "memory": process.Memory,
        "linux": linux.LinuxContext,
        "windows": windows.WindowsContext,
        "macos": macos.MacosContext,
    }
    return tuple(kinds[record].__struct_fields__)


def test_no_field_of_a_system_is_without_a_group() -> None:
    grouped = {field for fields in GROUPS.values() for field in fields}
    always = {"key", "ppid", "name", "started_at_ns", "linux", "windows", "macos", "gaps"}
    assert set(Process.__struct_fields__) - always <= grouped
    for system in ("linux", "windows", "macos"):
        assert {f"{system}.{field}" for field in _inner_fields(system)} <= grouped


def test_calls_have_names_of_their_own() -> None:
    assert len({call.name for call in CALLS}) == len(CALLS)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_a_value_error(raw: bytes) -> None:
    for parser in (parse.parse_header, parse.parse_line):
        with suppress(ValueError):
            parser(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.sampled_from([call.name for call in CALLS] + ["end", "x"]),
    st.sampled_from([call.schema for call in CALLS] + ["hostscope.failure/1", "hostscope.recording_end/1", "", "/"]),
    json_values,
)
def test_any_json_is_an_answer_or_a_value_error(call: str, schema: str, body: Any) -> None:
    try:
        line = parse.parse_line(json.dumps({"schema": schema, "call": call, "body": body}).encode())
        kind = parse.parse_kind(line)
        if kind is not None:
            parse.parse_answer(kind, line)
        parse.parse_end(line)
    except ValueError:
        pass


@settings(max_examples=200)
@given(damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    raw = bytearray((FIXTURES / "v1.jsonl").read_bytes())
    for offset, byte in damage:
        raw[offset % len(raw)] = byte
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "a"
    path.write_bytes(raw)
    try:
        rows, tally = sweep(str(path))
    except UsageError as refused:
        assert str(path) in str(refused)
    else:
        assert all(isinstance(row, Process) for row in rows)
        assert tally.coverage().rows == 0


def test_a_gzip_bomb_of_one_line_is_refused(tmp_path: Path, lines: list[bytes]) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(lines[0])
        for _ in range(66):
            file.write(b" " * (1 << 20))
    with pytest.raises(UsageError, match=r"made.jsonl:2: longer than 64 MiB"):
        open_host(write(tmp_path, packed.getvalue()))
