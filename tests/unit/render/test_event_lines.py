"""Events as lines for people."""

from hostscope.model.coverage import Coverage
from hostscope.model.event import SCHEMAS, Body, CoverageChange, Event, ProcessExit, SecurityChange
from hostscope.render.events import render_event


def line(body: Body) -> str:
    return render_event(Event(SCHEMAS[type(body)], "test", 0, 0, 0, None, body)).removeprefix(
        "1970-01-01T00:00:00.000Z  "
    )


def test_what_a_stream_covers_when_it_begins_and_when_it_ends() -> None:
    begins = Coverage(method="scm", rows=300, seen=300)
    assert line(CoverageChange(begins)) == "watching    by scm\n"
    lesser = Coverage(method="polling", method_reason="no notices", hidden="some kinds")
    told = line(CoverageChange(lesser))
    assert told == "watching    by polling; not better, because no notices; incomplete: some kinds\n"
    ended = Coverage(method="scm", rows=3, seen=3, elapsed_ns=2_000_000_000)
    assert line(CoverageChange(ended)).startswith("3 events by scm in 2.0 s")


def test_a_setting_that_was_changed() -> None:
    changed = SecurityChange("HKLM\\SOFTWARE\\X", "DisableAntiSpyware", None, "1")
    assert line(changed) == "security    HKLM\\SOFTWARE\\X\\DisableAntiSpyware: (not set) -> 1\n"
    removed = SecurityChange("HKLM\\X", "RunAsPPL", "1", None)
    assert line(removed) == "security    HKLM\\X\\RunAsPPL: 1 -> (not set)\n"


def test_an_end_without_signals() -> None:
    assert line(ProcessExit("app.exe", -1073741819, None, pid=7)) == "exit              7 app.exe  code 0xc0000005\n"
    assert line(ProcessExit("app.exe", -1, None, pid=7)) == "exit              7 app.exe  code -1\n"
    assert line(ProcessExit("app.exe", 3, None, pid=7)) == "exit              7 app.exe  code 3\n"
