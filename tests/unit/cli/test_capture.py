"""`hostscope capture`: what it refuses, and how signals end it."""

import os
import signal
import threading

import pytest
from msgspec.structs import replace

from hostscope.cli.endings import ENDING, ending
from hostscope.model.capture import CaptureCounts, CaptureSummary
from hostscope.render.capture_page import render_progress, render_summary
from tests.unit.cli.conftest import Run

TELLING: int | None = getattr(signal, "SIGUSR1", None)
SUMMARY = CaptureSummary(
    ("a\x1b.pcapng",), 1200, 5_000, 900, (CaptureCounts("eth0", 1300, 100),), 2_500_000_000, waiting=7, forgotten=3
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "-", "--rotate-bytes", "5000"), "standard output is one file"),
        (("--output", "-", "--format", "json"), "standard output cannot take packets and a summary"),
        (("--keep", "3"), "--keep is about several files"),
        (("--count", "0"), "Invalid value for '--count'"),
        (("--snap-length", "300000"), "Invalid value for '--snap-length'"),
    ],
)
def test_contradictions_are_one_line(hostscope: Run, arguments: tuple[str, ...], said: str) -> None:
    result = hostscope("capture", *arguments)
    assert result.code == 2
    assert result.err.startswith(f"hostscope: {said}")


def test_drops_that_nobody_counts_are_not_said_to_be_none() -> None:
    uncounted = replace(SUMMARY, counts=(CaptureCounts("eth0", 1300, 7), CaptureCounts("Ethernet", 1300, None)))
    assert "drops are not counted here" in render_progress(uncounted)
    first, second = [line for line in render_summary(uncounted).splitlines() if "passed the filter" in line]
    assert first.endswith("7 dropped (0.54%)") and second.endswith("drops are not counted here")


def test_a_host_without_packets_says_so(hostscope: Run) -> None:
    result = hostscope("capture", "--output", "/tmp/never.pcapng")
    assert (result.code, result.err) == (6, "hostscope: a made-up host has no packets\n")
    assert not os.path.exists("/tmp/never.pcapng")


@pytest.mark.parametrize(("number", "code"), ENDING.items())
def test_the_first_signal_is_a_request_and_handlers_come_back(number: signal.Signals, code: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, and stays so")
    before, stop, told = signal.getsignal(number), threading.Event(), threading.Event()
    with ending(stop, told) as ended:
        if TELLING:
            signal.raise_signal(TELLING)
            assert told.wait(60)
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.wait(60)
        assert signal.getsignal(number) is before, "the second one ends the program"
    assert ended.code == code
    assert signal.getsignal(number) is before
    assert TELLING is None or signal.getsignal(TELLING) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ending(threading.Event()) as ended:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            assert (ended.code, signal.getsignal(signal.SIGINT)) == (143, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, before)


def test_totals_for_people() -> None:
    assert render_progress(SUMMARY) == "1,207 packets (7 in memory), 4.9K, 100 dropped, 2.5 s"
    assert render_summary(SUMMARY).splitlines() == [
        "1,200 packets written, 900 with a process, 4.9K",
        "  eth0: 1,300 passed the filter, 100 dropped (7.69%)",
        "  3 packets were forgotten early: --memory-bytes was too little for --last",
        r"  a\x1b.pcapng",
    ]


def test_little_is_not_taken_for_packets() -> None:
    nothing = replace(SUMMARY, packets=0, named_packets=0, waiting=0, bytes=580)
    assert render_progress(nothing).startswith("0 packets, 580 bytes, ")
    assert render_summary(nothing).startswith("0 packets written, 580 bytes\n")
