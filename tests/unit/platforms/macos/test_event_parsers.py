"""Lines of eslogger, text of launchctl and property lists: understood where they are whole, never trusted."""

import json
import plistlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Gone, Unavailable
from hostscope.model.event import CredentialChange, ProcessExec, ProcessExit, ProcessStart
from hostscope.platforms.macos.launchd_jobs import parse_job, read_jobs
from hostscope.platforms.macos.parse_eslogger import NotUnderstoodError, parse_line, parse_time
from hostscope.platforms.macos.parse_launchctl import Job, parse_domain
from hostscope.platforms.macos.parse_region import permissions, tag_name
from hostscope.platforms.macos.services import Services

FIXTURES = Path(__file__).parents[3] / "macos" / "fixtures"
LINES = (FIXTURES / "eslogger.jsonl").read_bytes().splitlines()
SHAPES = (FIXTURES / "eslogger_shapes.jsonl").read_bytes().splitlines()
"""As recorded ones are (fields, their order and types, escapes), with values of our own: three of messages version 9
(macOS 15), three of version 10 (macOS 26), and three of version 10 whose audit tokens are lists (macOS 26 too)."""


def test_events_of_endpoint_security() -> None:
    fork, become, end, user = (parse_line(line, "boot") for line in (*LINES[:3], LINES[4]))
    assert isinstance(fork.body, ProcessStart)
    assert (fork.key.pid, fork.key.start, fork.body.parent and fork.body.parent.pid) == (
        777,
        1_715_677_987_123_456,
        501,
    )
    assert isinstance(become.body, ProcessExec)
    assert (become.body.name, become.body.exe, become.body.argv) == ("ls", "/bin/ls", ("ls", "-l", "/tmp/a b"))
    assert become.key == fork.key == end.key
    assert isinstance(end.body, ProcessExit)
    assert (end.body.code, end.body.signal) == (1, None)
    assert isinstance(user.body, CredentialChange)
    assert (user.body.what, user.body.after, user.at_ns % 10**9) == ("uid", "0", 600_000_000)


@pytest.mark.parametrize(
    ("first", "pids", "end"), [(0, (701, 777), (78, None)), (3, (1, 888), (None, 9)), (6, (901, 902), (0, None))]
)
def test_lines_of_the_shapes_that_releases_write(
    first: int, pids: tuple[int, int], end: tuple[int | None, int | None]
) -> None:
    fork, became, ended = (parse_line(line, "boot") for line in SHAPES[first : first + 3])
    assert isinstance(fork.body, ProcessStart) and isinstance(became.body, ProcessExec)
    assert isinstance(ended.body, ProcessExit)
    assert (fork.body.parent and fork.body.parent.pid, fork.key.pid) == pids
    assert fork.key == became.key == ended.key
    assert (ended.body.code, ended.body.signal) == end
    assert [seen.number and seen.number - (fork.number or 0) for seen in (became, ended)] == [1, 2]


def test_who_is_named_by_a_list() -> None:
    seen = parse_line(SHAPES[7], "boot")
    assert isinstance(seen.body, ProcessExec)
    assert (seen.key.pid, seen.body.uid, seen.body.exe, seen.body.argv) == (902, 501, "/usr/bin/true", ("true",))
    line: Any = json.loads(SHAPES[7])
    line["event"]["exec"]["target"]["audit_token"].pop()
    with pytest.raises(NotUnderstoodError):
        parse_line(json.dumps(line).encode(), "boot")


def test_a_path_that_was_cut_is_none() -> None:
    line: Any = json.loads(SHAPES[1])
    line["event"]["exec"]["target"]["executable"]["path_truncated"] = True
    became = parse_line(json.dumps(line).encode(), "boot").body
    assert isinstance(became, ProcessExec) and became.exe is None


def test_scripts_and_signals() -> None:
    line: Any = json.loads(LINES[1])
    line["event"]["exec"]["script"] = {"path": "/tmp/run.sh"}
    became = parse_line(json.dumps(line).encode(), "boot").body
    assert isinstance(became, ProcessExec) and became.file == "/tmp/run.sh"
    line = json.loads(LINES[2])
    line["event"]["exit"]["stat"] = 11 | 0x80
    ended = parse_line(json.dumps(line).encode(), "boot").body
    assert isinstance(ended, ProcessExit)
    assert (ended.code, ended.signal, ended.core_dumped) == (None, 11, True)


@pytest.mark.parametrize("text", ["", "2024-13-01T00:00:00Z", "2024-01-01", "0000-01-01T00:00:00Z", "x" * 90])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_times() -> None:
    assert parse_time("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert parse_time("1970-01-01T00:00:01Z") == 1_000_000_000


@given(st.binary(max_size=200), st.integers(0, 900), st.binary(min_size=1, max_size=3), st.integers(0, 4))
def test_any_line_is_read_or_refused(raw: bytes, at: int, change: bytes, which: int) -> None:
    line = (*LINES[:4], SHAPES[6])[which]
    for tried in (raw, line[:at] + change + line[at + len(change) :], line[:at]):
        try:
            parse_line(tried, "boot")
        except NotUnderstoodError:
            continue


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(range(5)), st.sampled_from(["process", "event", "time", "global_seq_num"]), json_values)
def test_any_value_in_any_place_is_read_or_refused(which: int, name: str, value: Any) -> None:
    line = json.loads(LINES[which])
    line[name] = value
    with suppress(NotUnderstoodError):
        parse_line(json.dumps(line).encode(), "boot")


def test_an_event_that_was_not_asked_for_is_not_passed_over_in_silence() -> None:
    with pytest.raises(NotUnderstoodError, match="mount"):
        parse_line(LINES[3], "boot")


def test_lines_nested_without_end_are_refused() -> None:
    with pytest.raises(NotUnderstoodError):
        parse_line(b"[" * 100_000, "boot")
    with pytest.raises(NotUnderstoodError):
        parse_line(b" " * (1 << 20) + b"  ", "boot")


# launchd --------------------------------------------------------------------------------------------------------------

PRINTED = b"""system = {
\ttype = system
\thandle = 0
\tservices = {
\t\t     291      - \tcom.apple.runningboardd
\t\t       0      0 \tcom.apple.lskdd
\t\t       0     78 \tcom.example.broken
\t\t       -    -15 \tcom.example.killed
\t\t       0   (pe) \tcom.apple.pending
\t\tnonsense
\t}

\tunmanaged processes = {
\t\t     999      - \tnot.a.service
\t}
\tdisabled services = {
\t\t"com.apple.ftpd" => disabled
\t\t"com.openssh.sshd" => enabled
\t}
}
"""


def test_jobs_of_a_domain() -> None:
    domain = parse_domain(PRINTED)
    assert domain.jobs == (
        Job("com.apple.runningboardd", 291, None),
        Job("com.apple.lskdd", None, 0),
        Job("com.example.broken", None, 78),
        Job("com.example.killed", None, -15),
        Job("com.apple.pending", None, None),
    )
    assert domain.disabled == {"com.apple.ftpd"}


@given(st.binary(max_size=300), st.integers(0, 600))
def test_any_text_of_launchctl_is_read(raw: bytes, at: int) -> None:
    parse_domain(raw)
    parse_domain(PRINTED[:at] + raw + PRINTED[at:])


@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY])
def test_definitions_of_jobs(form: Any) -> None:
    content = {"Label": "com.example.x", "ProgramArguments": ["/usr/bin/x", "-d"], "KeepAlive": True, "UserName": "_x"}
    job = parse_job(plistlib.dumps(content, fmt=form), "/Library/LaunchDaemons/x.plist", "daemon")
    assert job is not None
    assert (job.label, job.program, job.user, job.starts, job.disabled) == (
        "com.example.x", "/usr/bin/x", "_x", "kept alive", False,
    )  # fmt: skip


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_property_list_is_read_or_none(raw: bytes, at: int) -> None:
    whole = plistlib.dumps({"Label": "x", "RunAtLoad": True}, fmt=plistlib.FMT_BINARY)
    for tried in (raw, b"bplist00" + raw, whole[:at] + raw + whole[at:], b"<?xml version='1.0'?><plist>" + raw):
        parse_job(tried, "/x", "daemon")


def test_folders_are_read_and_what_is_no_definition_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.plist").write_bytes(plistlib.dumps({"Label": "a", "StartInterval": 5}))
    (tmp_path / "b.plist").write_bytes(b"no")
    (tmp_path / "c.txt").write_bytes(plistlib.dumps({"Label": "c"}))
    (found,) = read_jobs({str(tmp_path): "agent", str(tmp_path / "none"): "agent"})
    assert (found.label, found.type, found.starts) == ("a", "agent", "at intervals")


def services(monkeypatch: pytest.MonkeyPatch, *answers: bytes, uid: int = 0) -> Services:
    monkeypatch.setattr("os.getuid", lambda: uid, raising=False)
    left = list(answers)

    def ask(domain: str) -> bytes:
        if domain.startswith("gui/"):
            raise Unavailable("nobody is logged in")
        return left.pop(0) if len(left) > 1 else left[0]

    label = {"Label": "com.apple.ftpd", "ProgramArguments": ["/usr/libexec/ftpd"]}
    defined = parse_job(plistlib.dumps(label), "/System/Library/LaunchDaemons/ftp.plist", "daemon")
    assert defined is not None
    return Services(ask, lambda: [defined])


def test_services_say_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    made = services(monkeypatch, PRINTED, uid=501)
    found = {state.name: state for state in made.services()}
    running, broken, killed = (
        found[f"com.{name}"] for name in ("apple.runningboardd", "example.broken", "example.killed")
    )
    assert (running.state, running.main_pid, broken.state, broken.substate) == ("active", 291, "failed", "exit 78")
    assert (killed.state, killed.substate) == ("failed", "signal 15")
    ftp = made.service("com.apple.ftpd")
    assert (ftp.load, ftp.state, ftp.path) == ("not-loaded", None, "/System/Library/LaunchDaemons/ftp.plist")
    assert ftp.gaps[0].field == "state"
    with pytest.raises(Gone):
        made.service("none")


def test_changes_are_what_differs_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    after = PRINTED.replace(b"     291      - \tcom.apple.runningboardd", b"       0      9 \tcom.apple.runningboardd")
    made = services(monkeypatch, PRINTED, after)

    class Stop:
        looks = 0

        def wait(self, timeout: float) -> bool:
            self.looks += 1
            return self.looks > 2

    first, change = made.changes(Stop(), 0)  # type: ignore[arg-type]
    assert "no interface" in " ".join(first.body.coverage.notes)  # type: ignore[union-attr]
    assert (change.source, change.body.before.state, change.body.after.state) == ("polling", "active", "failed")  # type: ignore[union-attr]


# Regions --------------------------------------------------------------------------------------------------------------


def test_regions_are_named() -> None:
    assert (permissions(5, 2), permissions(3, 4), permissions(0, 1)) == ("r-xp", "rw-s", "---p")
    assert [tag_name(tag) for tag in (0, 1, 30, 250)] == [None, "[heap]", "[stack]", "[tag 250]"]
