"""Lines that eslogger wrote on a Mac, which is where they have to come from: none can be made here.

``sudo eslogger fork exec exit > LINES.jsonl`` on a Mac, then ``HOSTSCOPE_ESLOGGER=LINES.jsonl pytest`` of this file
anywhere; recordings in ``../shared/data/eslogger`` are read too. The same is done with lines of our own in their shape.
What a line says is looked up here by Python's json.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hostscope.model.event import ProcessExec, ProcessExit, ProcessStart
from hostscope.platforms.macos.parse_eslogger import NAMES, NotUnderstoodError, Seen, parse_line

SHAPES = Path(__file__).parent / "fixtures" / "eslogger_shapes.jsonl"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "eslogger"
UNDERSTOOD = frozenset(name for names in NAMES.values() for name in names)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def recordings() -> Iterator[Path]:
    if named := os.environ.get("HOSTSCOPE_ESLOGGER"):
        yield Path(named)
    yield from sorted(SHARED.glob("*.jsonl"))


@pytest.fixture(scope="module", params=["recorded", "of our own"])
def lines(request: pytest.FixtureRequest) -> list[bytes]:
    paths = recordings() if request.param == "recorded" else [SHAPES]
    found = [line for path in paths for line in path.read_bytes().splitlines() if line.strip()]
    if not found:
        pytest.skip("no recorded lines of eslogger here: HOSTSCOPE_ESLOGGER names none, and ../shared has none")
    return found


def pid_of(process: dict[str, Any]) -> int:
    token = process["audit_token"]
    pid: int = token[5] if isinstance(token, list) else token["pid"]
    return pid


def test_every_recorded_line_is_understood_or_refused_for_what_it_is(lines: list[bytes]) -> None:
    for raw in lines:
        line = json.loads(raw)
        (what,) = line["event"]
        if what in UNDERSTOOD:
            check(line, what, parse_line(raw, "boot"))
        else:
            with pytest.raises(NotUnderstoodError, match="no record of events"):
                parse_line(raw, "boot")


def check(line: dict[str, Any], what: str, seen: Seen) -> None:
    """Compares what all events have, and what forks, programs and ends have beside."""
    whole, _, fraction = line["time"].rstrip("Z").partition(".")
    seconds = (datetime.fromisoformat(whole + "+00:00") - EPOCH) // timedelta(seconds=1)
    assert seen.at_ns == seconds * 10**9 + int(fraction.ljust(9, "0") or 0)
    assert seen.number == line.get("global_seq_num")
    event, body = line["event"][what], seen.body
    subject = {"fork": event.get("child"), "exec": event.get("target")}.get(what) or line["process"]
    assert seen.key.pid == pid_of(subject)
    if isinstance(body, ProcessStart):
        assert body.parent and body.parent.pid == pid_of(line["process"])
    if isinstance(body, ProcessExec):
        assert (body.exe, body.argv) == (event["target"]["executable"]["path"], tuple(event["args"]))
    if isinstance(body, ProcessExit):
        code = os.waitstatus_to_exitcode(event["stat"])
        assert (body.code, body.signal) == ((None, -code) if code < 0 else (code, None))


def test_kinds_are_told_by_the_records(lines: list[bytes]) -> None:
    kinds = {"fork": ProcessStart, "exec": ProcessExec, "exit": ProcessExit}
    for raw in lines:
        (what,) = json.loads(raw)["event"]
        if what in kinds:
            assert isinstance(parse_line(raw, "boot").body, kinds[what])
