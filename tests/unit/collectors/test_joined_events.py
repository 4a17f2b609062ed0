"""Events of processes and of settings in one stream: order, ends, failures, and streams that are left early."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import cast

import pytest

from hostscope.collectors.events import collect
from hostscope.collectors.joined_events import MOST_WAITING, joined
from hostscope.errors import Denied, HostError, UsageError
from hostscope.model.coverage import Coverage
from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, EventRequest, ProcessStart, SecurityChange
from hostscope.platforms.tally import Tally
from tests.fake import FakeEvents, host, process

STARTED = ProcessStart("evil.exe", None)
SWITCHED_OFF = SecurityChange("HKLM\\SOFTWARE\\X", "DisableAntiSpyware", None, "1")
BEGUN = CoverageChange(Tally().coverage())
BOTH = frozenset({"start", "security"})


def event(body: Body, source: str = "test") -> Event:
    return Event(SCHEMAS[type(body)], source, 7, 1, 1, None, body)


def following(stop: threading.Event, *bodies: Body) -> Iterator[Event]:
    """These, and then nothing until `stop`."""
    yield from map(event, bodies)
    assert stop.wait(30)


def test_both_are_told_and_numbered_as_one() -> None:
    stop, tally = threading.Event(), Tally()
    stream = joined(following(stop, BEGUN, STARTED), following(stop, BEGUN, SWITCHED_OFF), stop, tally)
    found = [next(stream) for _ in range(3)]
    stop.set()
    assert list(stream) == []
    assert {type(one.body) for one in found} == {CoverageChange, ProcessStart, SecurityChange}
    assert [one.seq for one in found] == [0, 1, 2]
    assert (tally.seen, tally.rows) == (1, 1)  # what the second stream told; the first counts for itself


def test_the_end_of_the_first_is_the_end_of_both() -> None:
    stop = threading.Event()
    found = list(joined(iter([event(BEGUN)]), following(stop, SWITCHED_OFF), stop, Tally()))
    assert stop.is_set() and sorted(type(one.body).__name__ for one in found) == ["CoverageChange", "SecurityChange"]


def failing(*bodies: Body) -> Iterator[Event]:
    yield from map(event, bodies)
    raise HostError("the key is closed now")


def test_a_failure_of_the_first_is_the_callers() -> None:
    stop = threading.Event()
    with pytest.raises(HostError, match="closed now"):
        list(joined(failing(STARTED), following(stop), stop, Tally()))
    assert stop.is_set()


def test_a_failure_of_the_second_is_told_and_does_not_end_the_first() -> None:
    stop, tally = threading.Event(), Tally()
    stream = joined(following(stop, STARTED), failing(SWITCHED_OFF), stop, tally)
    bodies = [next(stream).body for _ in range(3)]
    told = next(body for body in bodies if isinstance(body, CoverageChange))
    assert told.coverage.hidden and "closed now" in told.coverage.notes[0]
    assert STARTED in bodies and SWITCHED_OFF in bodies
    stop.set()
    assert list(stream) == []


def test_leaving_early_ends_the_threads_even_when_nobody_takes() -> None:
    stop = threading.Event()
    endless = (event(STARTED) for _ in range(MOST_WAITING * 3))
    stream = joined(endless, following(stop), stop, Tally())
    next(stream)
    cast("Generator[Event, None, None]", stream).close()
    assert stop.is_set() and "events" not in {thread.name for thread in threading.enumerate()}


class Scripted(FakeEvents):
    """Answers by kind, and remembers what was asked."""

    def __init__(self, **streams: "list[Body] | Exception") -> None:
        self.streams, self.asked = streams, []  # type: ignore[var-annotated]

    def watch(self, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        self.asked.append(request)
        told = self.streams["security" if "security" in request.kinds else "processes"]
        if isinstance(told, Exception):
            raise told
        tally.method = "scripted"
        return following(stop, *told)


def watched(
    events: Scripted, kinds: frozenset[str], count: int, method: str | None = None
) -> tuple[list[Event], Coverage]:
    stop = threading.Event()
    made = replace(host(process(1)), name="windows", events=events)
    answer = collect(made, EventRequest(kinds, interval_s=0.01, method=method), stop)
    found = []
    for one in answer:
        found.append(one)
        if len(found) == count:
            stop.set()
    return found, answer.coverage


def test_settings_are_asked_for_by_themselves() -> None:
    events = Scripted(processes=[BEGUN, STARTED], security=[BEGUN, SWITCHED_OFF])
    found, coverage = watched(events, BOTH, 3, "scripted")
    assert {type(one.body) for one in found} == {CoverageChange, ProcessStart, SecurityChange}
    assert [(request.kinds, request.method) for request in events.asked] == [
        (frozenset({"security"}), None), (frozenset({"start"}), "scripted"),
    ]  # fmt: skip
    assert coverage.method == "scripted"


def test_settings_are_told_beside_polling() -> None:
    events = Scripted(processes=Denied("no tracing"), security=[BEGUN, SWITCHED_OFF])
    found, coverage = watched(events, BOTH, 2)
    assert {type(one.body) for one in found} == {CoverageChange, SecurityChange}
    assert coverage.method == "polling" and coverage.hidden is None and coverage.rows == 1


def test_settings_that_are_closed_are_said_and_the_rest_is_told() -> None:
    events = Scripted(processes=[BEGUN, STARTED], security=Denied("the registry: access denied"))
    found, coverage = watched(events, BOTH, 2)
    assert [type(one.body) for one in found] == [CoverageChange, ProcessStart]
    assert coverage.hidden and "access denied" in coverage.notes[0]


def test_settings_alone_have_nothing_to_fall_back_on() -> None:
    events = Scripted(security=Denied("the registry: access denied"))
    with pytest.raises(Denied):
        watched(events, frozenset({"security"}), 1)
    with pytest.raises(UsageError, match="polling cannot see security"):
        watched(events, frozenset({"security"}), 1, "polling")
