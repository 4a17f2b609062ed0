"""A process is hidden when the same view lacks it again and again."""

import pytest

from hostscope.collectors import hidden
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import ProcessView
from tests.fake import host


def view(name: str, *pids: int, gap: bool = False) -> ProcessView:
    return ProcessView(name, frozenset(pids), (Gap(name, Reason.DENIED, "no"),) if gap else ())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden, "APART_S", 0)


def test_views_that_agree_find_nothing() -> None:
    answer = hidden.collect(host(looks=[[view("listing", 1, 2), view("probe", 1, 2)]]))
    assert answer.rows() == []
    assert answer.coverage.complete
    assert answer.coverage.seen == 2


def test_a_lasting_difference_is_a_finding() -> None:
    answer = hidden.collect(host(looks=[[view("listing", 1), view("probe", 1, 666), view("iterator", 1, 666)]]))
    (finding,) = answer.rows()
    assert finding.pid == 666
    assert finding.severity == "high"
    assert "hidden from listing" in finding.title
    assert "shown by iterator, probe; missing from listing" in finding.detail


def test_what_starts_or_ends_meanwhile_is_no_finding() -> None:
    looks = [
        [view("listing", 1), view("probe", 1, 7)],
        [view("listing", 1, 7, 8), view("probe", 1, 7)],
        [view("listing", 1, 7, 8), view("probe", 1, 7, 8, 9)],
    ]
    assert hidden.collect(host(looks=looks)).rows() == []


def test_a_view_with_gaps_shows_but_does_not_accuse() -> None:
    answer = hidden.collect(host(looks=[[view("listing", 1, gap=True), view("probe", 1, 7), view("iterator", 1, 7)]]))
    assert answer.rows() == []
    assert answer.coverage.notes == ("listing: denied (no)",)
    assert [(gap.field, gap.rows) for gap in answer.coverage.gaps] == [("listing", 1)]


def test_control_groups_show_what_others_hide_but_lack_zombies() -> None:
    looks = [[view("listing", 1, 5), view("probe", 1, 5), view("cgroup", 1, 9)]]
    (finding,) = hidden.collect(host(looks=looks)).rows()
    assert finding.pid == 9


def test_one_view_alone_says_that_nothing_was_compared() -> None:
    answer = hidden.collect(host(looks=[[view("listing", 1)]]))
    assert answer.rows() == []
    assert not answer.coverage.complete
