"""Rows as columns."""

import sys

import pytest

from hostscope.model.key import ProcessKey
from hostscope.model.process import Account, Activity, Cpu, Executable, Io, Memory, Process, UnixIds
from hostscope.platforms.columnar import INTEGERS, TEXTS, columns_of

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
    threads=3,
    cpu=Cpu(10, 20),
    memory=Memory(1, 2, 3, 4, 5, 6),
    io=Io(7, 8, 9, 10),
    activity=Activity(11, 12, 13, 14),
)
BARE = Process(ProcessKey("boot", 1, 43, 8), None, "bare")
EXPECTED = {
    "pid": 42, "ppid": 1, "start": 7, "started_at_ns": 1_700_000_000_000_000_000, "uid": 1, "euid": 2, "gid": 5,
    "egid": 6, "threads": 3, "user_ns": 10, "system_ns": 20, "virtual_bytes": 1, "resident_bytes": 2,
    "shared_bytes": 3, "swap_bytes": 4, "read_bytes": 7, "written_bytes": 8, "minor_faults": 11, "major_faults": 12,
}  # fmt: skip


def test_every_column_is_expected() -> None:
    assert EXPECTED.keys() == INTEGERS.keys()
    assert columns_of([]).keys() == INTEGERS.keys() | TEXTS.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers(name: str) -> None:
    np = pytest.importorskip("numpy", reason="needs numpy (pip install 'hostscope[arrow]')")
    column = columns_of([WHOLE, BARE])[name]
    assert column.dtype == np.int64
    assert column[0] == EXPECTED[name]
    known = {"pid": 43, "start": 8}
    if name in known:
        assert column[1] == known[name]
    else:
        assert column[1] is np.ma.masked


def test_texts() -> None:
    columns = columns_of([WHOLE, BARE])
    assert list(columns["name"]) == ["name", "bare"]
    assert list(columns["state"]) == ["sleeping", None]
    assert list(columns["exe"]) == ["/bin/x", None]
    assert list(columns["argv"]) == [("x", ""), None]


def test_no_rows() -> None:
    assert {len(column) for column in columns_of([]).values()} == {0}


def test_arguments_of_equal_length_stay_tuples() -> None:
    """NumPy would make one table of them."""
    twins = [WHOLE, WHOLE]
    assert list(columns_of(twins)["argv"]) == [("x", ""), ("x", "")]


def test_without_numpy_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError):
        columns_of([WHOLE])
