"""What differs between two looks, and whose events are meant."""

import threading

import pytest
from msgspec.structs import replace

from hostscope.collectors.events import Followed, collect
from hostscope.collectors.lifecycle import changes
from hostscope.errors import UsageError
from hostscope.model.event import Event, EventRequest, Loss, ProcessChange, ProcessExec, ProcessExit, ProcessStart
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from tests.fake import ALICE, Answers, host, key, process, with_gaps


def test_started_stopped_modified_and_reused() -> None:
    before = [process(1), process(2), process(3), process(4), process(6, cwd="/")]
    again = replace(process(4, "other"), key=key(4, start=999))
    after = [process(1), replace(process(2), name="new", owner=ALICE), again, process(5), process(6, cwd="/")]
    found = list(changes(before, after))
    assert [(change.what, change.fields) for change in found] == [
        ("modified", ("name", "owner")), ("stopped", ()), ("reused", ()), ("started", ()),
    ]  # fmt: skip
    assert list(changes(after, after)) == []


def test_a_field_that_cannot_be_read_has_not_changed() -> None:
    denied = with_gaps(replace(process(1), exe=None), Gap("exe", Reason.DENIED))
    assert list(changes([process(1)], [denied])) == []


def test_polling_is_the_last_way_and_says_so() -> None:
    made = host(process(1), process(2), sweeps=[[process(1)], [process(1), process(2)]])
    stop = threading.Event()
    answer = collect(made, EventRequest(interval_s=0.001, method="polling"), stop)
    bodies = []
    for event in answer:
        bodies.append(event.body)
        if isinstance(event.body, ProcessChange):
            stop.set()
    assert bodies[-1] == ProcessChange(None, process(2)) and answer.coverage.method == "polling"
    with pytest.raises(UsageError):
        collect(made, EventRequest(method="polling", kinds=frozenset({"socket"})), stop)


def test_programs_on_windows_are_named_by_their_files_too() -> None:
    followed = Followed(frozenset(), frozenset({"evil.exe"}))
    assert followed.admits(event(key(9), ProcessExec("other", "C:\\x\\evil.exe", None)))
    assert not followed.admits(event(key(10), ProcessExec("other", "/x\\evil.exe", None)))


def event(of: ProcessKey | None, body: object) -> Event:
    return Event("s", "test", 0, 0, 0, of, body)  # type: ignore[arg-type]


def test_children_are_followed_and_names_begin_at_any_time() -> None:
    followed = Followed(frozenset({key(7)}), frozenset({"curl"}))
    assert followed.admits(event(key(8), ProcessStart("sh", key(7))))
    assert followed.admits(event(key(9), ProcessStart("sh", key(8))))
    assert followed.admits(event(key(9), ProcessExit("sh", 0, None)))
    assert not followed.admits(event(key(20), ProcessStart("sh", key(19))))
    assert followed.admits(event(key(20), ProcessExec("curl", "/usr/bin/curl", ("curl",))))
    assert followed.admits(event(key(20), ProcessExit("curl", 0, None)))
    assert followed.admits(event(None, Loss(3, "full")))


def test_names_of_kernel_threads_are_what_they_work_on() -> None:
    worker = replace(process(9, "kworker/0:1-events"), kernel=True)
    assert list(changes([worker], [replace(worker, name="kworker/0:1-mm")])) == []


def test_what_is_not_asked_for_is_followed_all_the_same() -> None:
    happenings = [
        event(None, Loss(3, "full")),
        event(key(8), ProcessStart("sh", key(7))),
        event(key(20), ProcessExec("other", "/bin/other", ())),
        event(key(9), ProcessStart("sh", key(8))),
        event(key(9), ProcessExec("ls", "/bin/ls", ("ls",))),
        event(key(9), ProcessExit("ls", 0, None)),
    ]
    made = host(process(7), answers=Answers(events=happenings))
    request = EventRequest(kinds=frozenset({"exec"}))
    answer = collect(made, request, threading.Event(), frozenset({replace(key(7), serial=5)}))
    told = [(event.seq, type(event.body)) for event in answer]
    assert told == [(0, Loss), (1, ProcessExec)]


def test_whom_two_looks_show_as_a_child_is_followed() -> None:
    followed = Followed(frozenset({key(7)}), frozenset())
    child, other = replace(process(8), ppid=7), replace(process(9), ppid=6)
    assert followed.admits(event(key(8), ProcessChange(None, child)))
    assert not followed.admits(event(key(9), ProcessChange(None, other)))
    assert followed.admits(event(key(8), ProcessChange(child, replace(child, name="new"), ("name",))))
    again = replace(process(7, "other", 6), key=key(7, start=999))
    assert followed.admits(event(again.key, ProcessChange(process(7), again)))
    assert not followed.admits(event(again.key, ProcessChange(again, None)))
    assert followed.admits(event(key(8), ProcessChange(child, None)))


def test_who_is_meant_is_never_forgotten_for_those_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostscope.collectors.events.MOST_FOLLOWED", 10)
    followed = Followed(frozenset({key(7)}), frozenset())
    for pid in range(100, 200):
        assert followed.admits(event(key(pid), ProcessStart("sh", key(7))))
    assert followed.admits(event(None, ProcessStart("sh", key(7), pid=200)))
