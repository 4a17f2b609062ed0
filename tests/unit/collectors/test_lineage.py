"""Trees hold every process once, whatever the parents claim."""

from hypothesis import given
from hypothesis import strategies as st

from hostscope.collectors.lineage import ancestors, arrange, find_parents, subtree
from tests.fake import process

FOREST = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 13), st.integers(1, 4)), unique_by=lambda row: row[0])


@given(FOREST)
def test_every_process_stands_once_below_its_parent(given_: list[tuple[int, int, int]]) -> None:
    rows = [process(pid, ppid=ppid, started_at_ns=start) for pid, ppid, start in given_]
    arranged = list(arrange(rows))
    assert sorted(row.process.key.pid for row in arranged) == sorted(row.key.pid for row in rows)
    path: list[int] = []
    for row in arranged:
        path = [*path[: row.depth], row.process.key.pid]
        assert row.depth == 0 or path[-2] == row.process.ppid


@given(FOREST)
def test_ancestors_end(given_: list[tuple[int, int, int]]) -> None:
    rows = [process(pid, ppid=ppid, started_at_ns=start) for pid, ppid, start in given_]
    parents = find_parents(rows)
    for row in rows:
        assert len(ancestors(row, parents)) <= len(rows)


def test_a_deep_tree_needs_no_recursion() -> None:
    rows = [process(pid, ppid=pid - 1) for pid in range(1, 3001)]
    assert [row.depth for row in arrange(rows)] == list(range(3000))


def test_siblings_stand_by_pid_and_the_last_is_marked() -> None:
    rows = [process(1, ppid=0), process(3), process(2), process(4, ppid=2)]
    assert [(row.process.key.pid, row.last) for row in arrange(rows)] == [
        (1, ()), (2, (False,)), (4, (False, True)), (3, (True,)),
    ]  # fmt: skip


def test_a_subtree_starts_anew() -> None:
    rows = [process(1, ppid=0), process(2), process(3, ppid=2), process(4)]
    assert [(row.process.key.pid, row.last) for row in subtree(arrange(rows), 2)] == [(2, ()), (3, (True,))]
    assert list(subtree(arrange(rows), 99)) == []


def test_two_that_call_each_other_parent_are_both_there() -> None:
    rows = [process(5, ppid=6, started_at_ns=1), process(6, ppid=5, started_at_ns=1)]
    assert sorted(row.process.key.pid for row in arrange(rows)) == [5, 6]
