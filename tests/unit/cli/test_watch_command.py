"""`hostscope watch`, as far as it is about its output."""

import json
import threading
from collections.abc import Iterator

import pytest

from hostscope import platforms
from hostscope.cli.main import run
from hostscope.model.event import SCHEMAS, Event, EventRequest, Loss, ProcessStart
from hostscope.platforms.tally import Tally
from tests.fake import Answers, FakeEvents, host, key, process


def event(seq: int, body: ProcessStart | Loss) -> Event:
    return Event(SCHEMAS[type(body)], "ring buffer", seq, 1_700_000_000_000_000_000, seq, key(30), body)


def test_events_go_to_the_hosts_log_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answers(events=[event(1, ProcessStart("sh\x1b[31m", None)), event(2, Loss(3, "no room"))])
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: host(process(1), answers=answers))
    assert run(["watch", "--system-log", "--format", "ndjson"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["event", "event", "coverage"]
    (first, text), (second, loss) = answers.reported
    assert (first, second) == ("info", "warning")
    assert "sh" in text and "\x1b" not in text and "no room" in loss


def test_nothing_goes_there_unless_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answers(events=[event(1, ProcessStart("sh", None))])
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: host(process(1), answers=answers))
    assert run(["watch", "--limit", "1"]) == 0
    assert not answers.reported and "sh" in capsys.readouterr().out


@pytest.mark.parametrize(("hidden", "code"), [(None, 0), ("sockets", 8)])
def test_nothing_of_a_target_is_no_answer_when_not_all_could_be_seen(
    hidden: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(self: FakeEvents, request: EventRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        tally.hidden, tally.rows = hidden, 1
        return iter([event(1, ProcessStart("other", None))])

    monkeypatch.setattr(FakeEvents, "watch", watch)
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: host(process(7, "sh")))
    assert run(["watch", "7"]) == code


def test_what_a_limit_leaves_out_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [ProcessStart("a", None), ProcessStart("b", None), ProcessStart("c", None), Loss(3, "no room")]
    answers = Answers(events=[event(seq, body) for seq, body in enumerate(bodies)])
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: host(process(1), answers=answers))
    assert run(["watch", "--limit", "2", "--format", "ndjson"]) == 0
    *events, coverage = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [line["event"]["body"]["type"] for line in events] == ["start", "start", "loss"]
    assert (coverage["coverage"]["rows"], coverage["coverage"]["limited"]) == (2, True)
