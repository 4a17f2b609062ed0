"""Rates of made-up interfaces."""

import threading

from msgspec.structs import replace

from hostscope.collectors import interfaces
from hostscope.collectors.rates import rates_between
from hostscope.model.interface import Interface, InterfaceCounters, InterfaceRates
from tests.fake import Answers, host

BEFORE = InterfaceCounters(1000, 500, 10, 5, 1, 2, 3, 4)
AFTER = InterfaceCounters(3000, 1500, 30, 15, 2, 3, 5, 6)


def row(counters: InterfaceCounters | None, index: int = 1) -> Interface:
    return Interface("eth0", index, "ethernet", ("up",), "up", counters=counters, net_ns=1)


def test_rates_are_gains_a_second() -> None:
    assert rates_between(BEFORE, AFTER, 2_000_000_000) == InterfaceRates(1000.0, 500.0, 10.0, 5.0, 1.0, 2.0)


def test_counters_that_went_back_give_no_rates() -> None:
    assert rates_between(AFTER, BEFORE, 1_000_000_000) is None
    assert rates_between(BEFORE, AFTER, 0) is None


def test_two_looks_fill_rates() -> None:
    answer = interfaces.collect(host(answers=Answers(interfaces=[[row(BEFORE)], [row(AFTER)]])), between_ns=1_000_000)
    (found,) = answer.rows()
    assert found.rates is not None
    assert found.rates.received_bytes_s > 0
    assert found.counters == AFTER


def test_one_look_has_no_rates() -> None:
    (found,) = interfaces.collect(host(answers=Answers(interfaces=[[row(BEFORE)]]))).rows()
    assert found.rates is None


def test_an_interface_made_again_starts_without_rates() -> None:
    looks = [[row(BEFORE)], [row(AFTER, index=2), replace(row(None), name="x")]]
    found = interfaces.collect(host(answers=Answers(interfaces=looks)), between_ns=1_000_000).rows()
    assert [one.rates for one in found] == [None, None]


def test_looks_go_on_until_stopped() -> None:
    stop, box = threading.Event(), host(answers=Answers(interfaces=[[row(BEFORE)], [row(AFTER)]]))
    rates = []
    for answer in interfaces.looks(box, stop, 0.001):
        rates += [one.rates for one in answer]
        if len(rates) == 2:
            stop.set()
    assert rates[0] is None
    assert rates[1] is not None
