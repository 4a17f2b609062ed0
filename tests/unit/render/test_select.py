"""Rows are filtered, sorted and cut, and what was left out is counted."""

from collections.abc import Iterator

import pytest

from hostscope.errors import UsageError
from hostscope.model.coverage import Coverage, GapCount
from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.render.filter import parse_filter
from hostscope.render.process_layout import PROCESSES
from hostscope.render.select import Selection, parse_sort
from tests.fake import ALICE, process

ROWS = [process(1, "b"), process(2, "a", user=ALICE), process(3, "c", memory=None), process(4, "a")]


def pids(selection: Selection[Process, int]) -> list[int]:
    return list(selection.select(iter(ROWS), lambda row: row.key.pid))


def test_without_anything_rows_stream() -> None:
    def rows() -> Iterator[Process]:
        yield ROWS[0]
        pytest.fail("the second row was read before the first one was given")

    assert next(Selection[Process, int]().select(rows(), lambda row: row.key.pid)) == 1


@pytest.mark.parametrize(
    ("order", "expected"),
    [("name", [2, 4, 1, 3]), ("-name", [3, 1, 2, 4]), ("name,-pid", [4, 2, 1, 3]), ("rss", [1, 2, 4, 3]),
     ("-rss", [4, 2, 1, 3]), ("user,-pid", [2, 4, 3, 1]), ("", [1, 2, 3, 4])],
)  # fmt: skip
def test_sorts_with_unknown_values_last(order: str, expected: list[int]) -> None:
    assert pids(Selection(order=parse_sort(order, PROCESSES))) == expected


def test_every_column_can_be_sorted_by() -> None:
    for name in PROCESSES.names():
        assert len(pids(Selection(order=parse_sort(f"-{name}", PROCESSES)))) == len(ROWS)
    with pytest.raises(UsageError, match="no column 'nope'"):
        parse_sort("-nope", PROCESSES)


def test_cuts_after_sorting_and_says_so() -> None:
    selection: Selection[Process, int] = Selection(order=parse_sort("-pid", PROCESSES), limit=3)
    assert pids(selection) == [4, 3, 2]
    covered = selection.coverage(Coverage("fake", rows=4))
    assert (covered.rows, covered.limited) == (3, True)


def test_a_limit_that_cuts_nothing_is_no_limit() -> None:
    selection: Selection[Process, int] = Selection(limit=4)
    assert pids(selection) == [1, 2, 3, 4]
    assert not selection.coverage(Coverage("fake")).limited


def test_counts_what_the_filter_left_out() -> None:
    selection: Selection[Process, int] = Selection(parse_filter('user == "alice"', PROCESSES))
    assert pids(selection) == [2]
    assert selection.coverage(Coverage("fake", rows=4, skipped=1)).skipped == 4


def test_an_empty_result_is_blind_when_the_deciding_field_has_gaps() -> None:
    selection: Selection[Process, int] = Selection(parse_filter('exe == "x"', PROCESSES))
    assert not selection.blind(Coverage("fake"))
    assert selection.blind(Coverage("fake", denied=1))
    assert selection.blind(Coverage("fake", gaps=(GapCount("exe", Reason.DENIED, 1),)))
    assert not selection.blind(Coverage("fake", gaps=(GapCount("io", Reason.DENIED, 1),)))
