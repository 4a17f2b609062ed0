"""Columns as Arrow and Parquet."""

import io
import json
import sys

import pytest

from hostscope.errors import UsageError
from hostscope.model.coverage import Coverage
from hostscope.render.layouts import PROCESSES
from hostscope.render.parquet import arrow_table, load_arrow, write_parquet
from tests.fake import process

COLUMNS = PROCESSES.choose("pid,name,rss,cpu,started,kernel,groups,exe,pcpu")


def rows(count: int) -> list[tuple[object, ...]]:
    return [tuple(column.get(process(pid)) for column in COLUMNS) for pid in range(1, count + 1)]


def test_reads_back_with_types_and_coverage() -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = io.BytesIO()
    write_parquet(file, COLUMNS, rows(25_000), "hostscope.process/1", lambda: Coverage("fake", rows=25_000))
    read = parquet.read_table(io.BytesIO(file.getvalue()))
    assert read.num_rows == 25_000
    assert str(read.schema.field("started").type) == "timestamp[ns, tz=UTC]"
    assert str(read.schema.field("cpu").type) == "duration[ns]"
    assert read.column("exe")[0].as_py() == "/usr/bin/sleep"
    metadata = parquet.ParquetFile(io.BytesIO(file.getvalue())).metadata.metadata
    assert json.loads(metadata[b"hostscope.coverage"])["rows"] == 25_000


def test_a_table_of_nothing_has_its_columns() -> None:
    pytest.importorskip("pyarrow")
    assert arrow_table(COLUMNS, []).column_names == [column.name for column in COLUMNS]


def test_every_column_fits_its_type() -> None:
    pytest.importorskip("pyarrow")
    every = PROCESSES.columns
    assert arrow_table(every, [tuple(column.get(process(1)) for column in every)]).num_rows == 1


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as refused:
        load_arrow()
    assert "hostscope[arrow]" in (refused.value.hint or "")
