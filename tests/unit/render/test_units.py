"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.render.units import render_bytes, render_duration, render_elapsed, render_instant, render_ratio

S = 10**9


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (1536, "1.5K"),
        ((1 << 20) - 1, "1.0M"),
        (1 << 30, "1.0G"),
        (1 << 70, "1024.0E"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert render_bytes(count) == text


@given(st.integers(0, 1 << 59))
def test_bytes_are_short(count: int) -> None:
    assert len(render_bytes(count)) <= 7


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0.00s"), (1_250_000_000, "1.25s"), (60 * S, "1:00"), (3599 * S, "59:59"), (3600 * S, "1:00:00"),
     (86399 * S, "23:59:59"), (86400 * S * 12 + 3 * 3600 * S, "12d03h")],
)  # fmt: skip
def test_durations(duration_ns: int, text: str) -> None:
    assert render_duration(duration_ns) == text


def test_the_rest() -> None:
    assert render_elapsed(40_000) == "40 us"
    assert render_elapsed(9_000_000) == "9 ms"
    assert render_elapsed(1_300_000_000) == "1.3 s"
    assert render_instant(1_700_000_000_123_000_000) == "2023-11-14T22:13:20Z"
    assert render_ratio(0.125) == "12.5"


def test_moments_that_no_calendar_has_are_seconds() -> None:
    assert render_instant(10**30) == f"{10**21} s"
