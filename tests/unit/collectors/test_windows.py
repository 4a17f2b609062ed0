"""Rolling windows of rates."""

from hypothesis import given
from hypothesis import strategies as st

from hostscope.collectors.windows import SPANS, Histories, History, Window

S = 1_000_000_000


def test_the_windows_are_a_second_a_minute_and_an_hour() -> None:
    assert [slot * slots for slot, slots in SPANS] == [S, 60 * S, 3600 * S]


def test_an_amount_is_spread_over_the_time_in_which_it_moved() -> None:
    window = Window(S, 4)
    window.add(10 * S, 12 * S, 200)
    assert window.rates(12 * S) == (0.0, 100.0, 100.0, 0.0)


def test_the_slot_that_is_not_over_counts_for_the_part_that_is() -> None:
    window = Window(S, 3)
    window.add(10 * S, 10 * S + S // 2, 50)
    assert window.rates(10 * S + S // 2) == (0.0, 0.0, 100.0)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = Window(S, 3)
    window.add(0, S, 100)
    assert window.rates(9 * S) == (0.0, 0.0, 0.0)
    window.add(0, 100 * S, 1000)
    assert window.rates(100 * S) == (10.0, 10.0, 0.0)


def test_a_counter_that_shrinks_has_begun_anew() -> None:
    history = History(0)
    history.observe(S, 100)
    history.observe(2 * S, 30)
    assert sum(history.windows[1].rates(2 * S)) == 130.0


@given(st.lists(st.tuples(st.integers(0, 3 * S), st.integers(0, 1000)), max_size=30))
def test_nothing_is_lost_inside_the_window(steps: list[tuple[int, int]]) -> None:
    window, now = Window(S, 200), 0
    for passed, amount in steps:
        window.add(now, now + passed, amount)
        now += passed
    kept = sum(window._amounts)
    assert abs(kept - sum(amount for _, amount in steps)) < 1e-6 * max(1, kept)


def test_the_longest_idle_are_dropped() -> None:
    histories = Histories(0, most=10)
    for number in range(10):
        histories.observe(number, S * (number + 1), 5)
    histories.observe(0, 20 * S, 99)
    histories.observe("new", 21 * S, 1)
    assert set(histories) == {0, 2, 3, 4, 5, 6, 7, 8, 9, "new"} and histories.evicted == 1
