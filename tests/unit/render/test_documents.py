"""JSON, NDJSON, CSV and TSV are what they say, and keep what they are given."""

import csv
import io
import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.coverage import Coverage
from hostscope.model.process import Process
from hostscope.render.column import Column
from hostscope.render.documents import (
    csv_cells,
    encode_json,
    render_csv,
    render_json,
    render_ndjson,
    render_tsv,
    values_of,
)
from hostscope.render.layouts import PROCESSES
from tests.fake import process

COVERAGE = Coverage("fake", rows=2)
COLUMNS = PROCESSES.choose("pid,name,rss,kernel,caps,tty")


def document(*rows: Process) -> bytes:
    return b"".join(render_json("hostscope.process/1", map(encode_json, rows), lambda: COVERAGE))


def test_json_is_one_document_with_rows_and_coverage() -> None:
    parsed = json.loads(document(process(1), process(2)))
    assert parsed["schema"] == "hostscope.process/1"
    assert [row["key"]["pid"] for row in parsed["rows"]] == [1, 2]
    assert parsed["coverage"]["rows"] == 2
    assert parsed["rows"][0]["argv"] == ["sleep", "1"]


def test_json_of_nothing_and_of_many() -> None:
    assert json.loads(document())["rows"] == []
    for count in (1, 255, 256, 257, 600):
        assert len(json.loads(document(*(process(pid) for pid in range(1, count + 1))))["rows"]) == count


def test_json_is_written_as_rows_come() -> None:
    def rows() -> Iterator[bytes]:
        for pid in range(1, 2000):
            seen.append(pid)
            yield encode_json(process(pid))

    seen: list[int] = []
    pieces = render_json("s", rows(), lambda: COVERAGE)
    next(pieces)
    next(pieces)
    assert len(seen) < 600


def test_ndjson_has_a_typed_object_a_line_and_coverage_last() -> None:
    lines = b"".join(render_ndjson("s/1", map(encode_json, [process(1), process(2)]), lambda: COVERAGE)).splitlines()
    objects = [json.loads(line) for line in lines]
    assert [entry["type"] for entry in objects] == ["row", "row", "coverage"]
    assert objects[0]["schema"] == "s/1"
    assert objects[1]["row"]["key"]["pid"] == 2
    assert objects[2]["coverage"]["method"] == "fake"


def test_json_of_columns_keeps_units() -> None:
    assert values_of(COLUMNS)(process(3)) == {
        "pid": 3, "name": "sleep", "rss": 12288, "kernel": False, "caps": None, "tty": None,
    }  # fmt: skip


def test_csv_can_be_read_back() -> None:
    rows = [process(1, 'quote"d, and more'), process(2)]
    text = "".join(render_csv(COLUMNS, map(csv_cells(COLUMNS), rows)))
    assert list(csv.reader(io.StringIO(text))) == [
        ["pid", "name", "rss", "kernel", "caps", "tty"],
        ["1", 'quote"d, and more', "4096", "false", "", ""],
        ["2", "sleep", "8192", "false", "", ""],
    ]


def test_csv_formulas_are_disarmed_and_tsv_is_exact() -> None:
    login = process(1, "=1+1", argv=("-bash",))
    columns = PROCESSES.choose("name,argv,pid")
    assert csv_cells(columns)(login) == ("'=1+1", "'-bash", "1")
    assert csv_cells(columns, guard=False)(login) == ("=1+1", "-bash", "1")


@given(st.lists(st.text(), max_size=4))
def test_one_line_for_each_row(names: list[str]) -> None:
    columns: tuple[Column[Process], ...] = PROCESSES.choose("pid,name,command")
    rows = [process(place, name, argv=(name,)) for place, name in enumerate(names, 1)]
    tsv = "".join(render_tsv(columns, map(csv_cells(columns, guard=False), rows)))
    assert all(line.count("\t") == 2 for line in tsv.splitlines())
    assert len(tsv.splitlines()) == len(rows) + 1
    text = "".join(render_csv(columns, map(csv_cells(columns), rows)))
    assert [row[0] for row in csv.reader(io.StringIO(text))] == ["pid", *(str(row.key.pid) for row in rows)]
