"""What an answer covers, said in words."""

from hostscope.model.coverage import Coverage, GapCount
from hostscope.model.gap import Reason
from hostscope.render.coverage import render_coverage


def test_a_whole_answer_is_one_line() -> None:
    assert render_coverage(Coverage("iterator", rows=312, elapsed_ns=9_000_000), "processes") == (
        "312 processes by iterator in 9 ms"
    )
    assert render_coverage(Coverage("proc", rows=1, elapsed_ns=5_000), "processes") == "1 process by proc in 5 us"
    assert render_coverage(Coverage("yara-x", rows=1, elapsed_ns=5_000), "matches") == "1 match by yara-x in 5 us"


def test_names_everything_that_is_missing() -> None:
    gaps = tuple(
        GapCount(field, Reason.DENIED, rows) for field, rows in (("io", 1), ("exe", 8), ("a", 1), ("b", 1), ("c", 1))
    )
    coverage = Coverage(
        "proc", method_reason="needs CAP_BPF", rows=2, denied=1, vanished=2, failed=3, lost=4, skipped=5, limited=True,
        hidden="hidepid=2", gaps=gaps, notes=("odd\x1b[2J",), elapsed_ns=1_300_000_000,
    )  # fmt: skip
    assert render_coverage(coverage, "processes").splitlines() == [
        "2 processes by proc in 1.3 s; 1 denied; 2 ended meanwhile; 3 failed; 4 lost; 5 left out; cut short by a "
        "limit; 12 gaps: 8 exe denied, 1 io denied, 1 a denied, 1 b denied, 1 more kinds",
        "method: needs CAP_BPF",
        "may be incomplete: hidepid=2",
        "odd\\x1b[2J",
    ]
