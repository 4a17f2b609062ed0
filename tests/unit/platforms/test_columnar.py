"""Rows as columns."""

import pytest

from hostscope.model.key import ProcessKey
from hostscope.model.process import (
    Account,
    Activity,
    Cpu,
    Executable,
    Io,
    Memory,
    Process,
    Schedule,
    Session,
    UnixIds,
)
from hostscope.model.request import FULL
from hostscope.platforms.columnar import NUMBERS, OBJECTS, columns_of, merge, names_of

ACCOUNT = {number: Account(str(number), None) for number in range(1, 9)}
WHOLE = Process(
    ProcessKey("boot", 1, 42, 7),
    1,
    "name",
    state="sleeping",
    started_at_ns=1_700_000_000_000_000_000,
    exe=Executable("/bin/x"),
    argv=("x", ""),
    ids=UnixIds(*(ACCOUNT[number] for number in range(1, 9))),
    session=Session(21, 22, None),
    threads=3,
    schedule=Schedule("other", 20, -5, 0),
    open_files=15,
    cpu=Cpu(10, 20),
    memory=Memory(1, 2, 3, 4, 5, 6),
    io=Io(7, 8, 9, 10),
    activity=Activity(11, 12, 13, 14),
)
BARE = Process(ProcessKey("boot", 1, 43, 8), None, "bare")
EXPECTED = {
    "pid": 42, "ppid": 1, "start": 7, "started_at_ns": 1_700_000_000_000_000_000, "uid": 1, "euid": 2, "gid": 5,
    "egid": 6, "session": 21, "group": 22, "threads": 3, "priority": 20, "nice": -5, "user_ns": 10, "system_ns": 20,
    "virtual_bytes": 1, "resident_bytes": 2, "shared_bytes": 3, "swap_bytes": 4, "peak_virtual_bytes": 5,
    "peak_resident_bytes": 6, "read_bytes": 7, "written_bytes": 8, "read_call_bytes": 9, "written_call_bytes": 10,
    "open_files": 15, "minor_faults": 11, "major_faults": 12, "voluntary_switches": 13, "involuntary_switches": 14,
}  # fmt: skip


def test_every_column_is_expected() -> None:
    assert EXPECTED.keys() == NUMBERS.keys()
    assert columns_of([], FULL).keys() == NUMBERS.keys() | OBJECTS.keys()


def test_only_wanted_columns_are_made() -> None:
    names = {"pid", "ppid", "start", "started_at_ns", "name"}
    assert columns_of([WHOLE], frozenset()).keys() == names == names_of(frozenset())
    assert columns_of([WHOLE], frozenset({"exe"})).keys() == names | {"exe"}


def test_merging_replaces_rows_and_keeps_the_order_of_pids() -> None:
    np = pytest.importorskip("numpy", reason="needs numpy (pip install 'hostscope[arrow]')")
    first, second = Process(ProcessKey("boot", 1, 1, 1), 0, "first"), Process(ProcessKey("boot", 1, 43, 8), 1, "again")
    merged = merge(columns_of([WHOLE, BARE], FULL), np.array([True, False]), columns_of([second, first], FULL))
    assert merged["pid"].tolist() == [1, 42, 43]
    assert list(merged["name"]) == ["first", "name", "again"]
    assert merged["ppid"].tolist() == [0, 1, 1]
    assert merged["threads"].tolist() == [None, 3, None]


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers(name: str) -> None:
    np = pytest.importorskip("numpy", reason="needs numpy (pip install 'hostscope[arrow]')")
    column = columns_of([WHOLE, BARE], FULL)[name]
    assert column.dtype == np.int64
    assert column[0] == EXPECTED[name]
    known = {"pid": 43, "start": 8}
    if name in known:
        assert column[1] == known[name]
    else:
        assert column[1] is np.ma.masked


def test_texts() -> None:
    columns = columns_of([WHOLE, BARE], FULL)
    assert list(columns["name"]) == ["name", "bare"]
    assert list(columns["state"]) == ["sleeping", None]
    assert list(columns["exe"]) == ["/bin/x", None]
    assert list(columns["argv"]) == [b"x\0\0", None]


def test_no_rows() -> None:
    assert {len(column) for column in columns_of([], FULL).values()} == {0}
