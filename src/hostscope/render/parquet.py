"""Columns as Arrow tables and Parquet files; needs the extra ``hostscope[arrow]``."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

from hostscope.errors import UsageError
from hostscope.model.coverage import Coverage
from hostscope.render.column import Column
from hostscope.render.documents import encode_json

_BATCH = 10_000


def load_arrow() -> Any:
    """The pyarrow module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise UsageError("Arrow and Parquet need pyarrow", "install it: pip install 'hostscope[arrow]'") from None
    return pyarrow


def arrow_schema(columns: Sequence[Column[Any]]) -> Any:
    """The Arrow schema of the columns: instants as UTC timestamps, durations in ns, lists of strings."""
    arrow = load_arrow()
    types = {
        "int": arrow.int64(),
        "bytes": arrow.int64(),
        "duration": arrow.duration("ns"),
        "latency": arrow.duration("ns"),
        "instant": arrow.timestamp("ns", "UTC"),
        "ratio": arrow.float64(),
        "float": arrow.float64(),
        "bool": arrow.bool_(),
        "text": arrow.string(),
        "list": arrow.list_(arrow.string()),
    }
    return arrow.schema([arrow.field(column.name, types[column.kind]) for column in columns])


def arrow_table(columns: Sequence[Column[Any]], rows: Iterable[tuple[Any, ...]]) -> Any:
    """One table of all rows; each row has the values of the columns in order."""
    arrow, schema = load_arrow(), arrow_schema(columns)
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [arrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return arrow.Table.from_arrays(arrays, schema=schema)


def write_parquet(
    file: BinaryIO,
    columns: Sequence[Column[Any]],
    rows: Iterable[tuple[Any, ...]],
    schema_name: str,
    coverage: Callable[[], Coverage],
) -> None:
    """Writes a Parquet file, rows in batches; schema name and coverage go into its metadata."""
    load_arrow()
    from pyarrow import parquet

    with parquet.ParquetWriter(file, arrow_schema(columns), compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_table(arrow_table(columns, batch))
        writer.add_key_value_metadata(
            {"hostscope.schema": schema_name, "hostscope.coverage": encode_json(coverage()).decode()}
        )


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterable[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
