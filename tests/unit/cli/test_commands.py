"""What each command writes, in each form, and how it exits."""

import csv
import io
import json
import shlex
import threading
from pathlib import Path

import pytest

from hostscope.cli import services
from hostscope.cli.main import COMMANDS, cli, run
from hostscope.collectors import hidden as hidden_collector
from hostscope.errors import Denied, Gone, Mismatch
from hostscope.model.gap import Gap, Reason
from hostscope.model.host import ProcessView
from hostscope.platforms.base import Host
from hostscope.render.units import render_duration
from tests.fake import FakeProcesses, process, with_gaps
from tests.privacy import is_private
from tests.unit.cli.conftest import ROWS, Run


def processes(host: Host) -> FakeProcesses:
    assert isinstance(host.processes, FakeProcesses)
    return host.processes


def test_ps_is_a_table_with_what_it_covers(hostscope: Run) -> None:
    result = hostscope("ps", "--columns", "pid,ppid,user,rss,command")
    assert result.code == 0
    assert result.err == ""
    table, _, covered = result.out.partition("\n\n")
    assert table.splitlines() == [
        "PID  PPID  USER      RSS  COMMAND",
        "  1     0  root     4.0K  init 1",
        "  2     0  root     8.0K  [kthreadd]",
        " 30     1  root   120.0K  sshd --password=***",
        " 31    30  alice  124.0K  -bash \\x1b[31mred\\x0a",
        " 32    31  alice  128.0K  sleep 32",
    ]
    assert covered.startswith("5 processes by fake in ")
    assert "1 gap: 1 io denied" in covered
    assert "1 process has masked arguments" in covered


def test_ps_asks_only_for_what_it_shows(hostscope: Run, asked: Host) -> None:
    hostscope("ps", "--columns", "pid,name")
    hostscope("ps", "--columns", "pid", "--sort", "rss", "--filter", 'user == "root"')
    hostscope("ps", "--columns", "pid", "--fields", "io,full", "--enhanced")
    first, second, third = processes(asked).requests
    assert first.fields == frozenset()
    assert second.fields == {"memory", "owner"}
    assert third.enhanced


def test_ps_passes_collection_options_on(hostscope: Run, asked: Host) -> None:
    result = hostscope("ps", "--method", "proc", "--max-processes", "3", "--skip-system", "--quiet", "--columns", "pid")
    assert result.out.split() == ["PID", "1", "30", "31"]
    assert processes(asked).requests[0].method == "proc"


def test_ps_limits_the_reading_when_nothing_else_decides(hostscope: Run, asked: Host) -> None:
    result = hostscope("ps", "--limit", "2", "--columns", "pid")
    assert result.out.split()[:3] == ["PID", "1", "2"]
    assert "cut short by a limit" in result.out
    assert result.code == 0
    hostscope("ps", "--limit", "2", "--sort=-pid")
    assert [request.max_processes for request in processes(asked).requests] == [2, None]


def test_ps_sorts(hostscope: Run) -> None:
    result = hostscope("ps", "--sort=-rss", "--limit", "2", "--columns", "pid", "--quiet")
    assert result.out.split() == ["PID", "32", "31"]


def test_ps_takes_two_looks_for_the_share_of_processor_time(hostscope: Run, asked: Host) -> None:
    assert hostscope("ps", "--columns", "pid,pcpu", "--interval", "0.05", "--quiet").code == 0
    assert len(processes(asked).requests) == 2


def test_json_is_whole_records_or_columns(hostscope: Run) -> None:
    document = json.loads(hostscope("ps", "--format", "json").out)
    assert document["schema"] == "hostscope.process/1"
    assert [row["key"]["pid"] for row in document["rows"]] == [row.key.pid for row in ROWS]
    assert document["rows"][2]["argv"] == ["sshd", "--password=***"]
    assert document["rows"][3]["gaps"] == [{"field": "io", "reason": "denied", "detail": None}]
    assert document["coverage"]["rows"] == 5
    columns = json.loads(hostscope("ps", "--format", "json", "--columns", "pid,rss").out)
    assert columns["schema"] == "hostscope.columns/1"
    assert columns["rows"][0] == {"pid": 1, "rss": 4096}


def test_ndjson_ends_with_coverage(hostscope: Run) -> None:
    lines = [json.loads(line) for line in hostscope("ps", "--format", "ndjson").out.splitlines()]
    assert [line["type"] for line in lines] == ["row"] * 5 + ["coverage"]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_separated_values_keep_coverage_apart(hostscope: Run, form: str) -> None:
    result = hostscope("ps", "--format", form, "--columns", "pid,command")
    rows = list(csv.reader(io.StringIO(result.out), delimiter="," if form == "csv" else "\t"))
    login = "'-bash \\x1b[31mred\\x0a" if form == "csv" else "-bash \\x1b[31mred\\x0a"
    assert rows[0] == ["pid", "command"]
    assert rows[4] == ["31", login]
    assert result.err.startswith("5 processes by fake")
    assert hostscope("ps", "--format", form, "--quiet").err == ""


def test_parquet_goes_to_a_file(hostscope: Run, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "ps.parquet"
    assert hostscope("ps", "--format", "parquet", "--output", str(target)).code == 0
    assert parquet.read_table(target).num_rows == 5


def test_list_columns(hostscope: Run) -> None:
    assert "rss            bytes     resident memory" in hostscope("ps", "--list-columns").out


@pytest.mark.parametrize(
    ("command", "column"),
    [
        ("net", "retransmits"), ("traffic", "payload_sent"), ("traffic --connections", "remote_port"), ("tree", "rss"),
        ("interfaces", "error_rate"), ("dns", "stub"), ("dns --watch", "rcode"), ("dns --servers", "median"),
        ("services", "manager"), ("containers", "runtime"), ("counters", "load_1m"),
        ("audit show", "hash"), ("verify x", "chain"), ("scan 1 --rules x", "pattern"), ("dump 1", "regions"),
    ],
)  # fmt: skip
def test_each_table_lists_its_columns_and_reads_nothing(hostscope: Run, command: str, column: str) -> None:
    done = hostscope(*command.split(), "--list-columns")
    assert (done.code, done.err) == (0, "") and column in [line.split()[0] for line in done.out.splitlines()]


def test_tree(hostscope: Run) -> None:
    result = hostscope("tree", "--quiet")
    assert result.out.splitlines() == [
        "PID  USER   COMMAND",
        "  1  root   init 1",
        " 30  root   └─ sshd --password=***",
        " 31  alice     └─ -bash \\x1b[31mred\\x0a",
        " 32  alice        └─ sleep 32",
        "  2  root   [kthreadd]",
    ]
    assert hostscope("ps", "--tree", "--quiet").out == result.out


def test_tree_of_a_target_or_of_what_a_filter_leaves(hostscope: Run) -> None:
    assert hostscope("tree", ":22", "--quiet", "--columns", "pid").out.split() == ["PID", "30", "31", "32"]
    left = hostscope("tree", "--quiet", "--columns", "pid,name", "--filter", 'user == "alice"').out
    assert left.splitlines()[1:] == [" 31  bash", " 32  └─ sleep"]
    assert hostscope("tree", "nope").code == Gone.exit_code


def test_tree_in_json_tells_the_place(hostscope: Run) -> None:
    document = json.loads(hostscope("tree", "--format", "json").out)
    assert document["schema"] == "hostscope.tree_row/1"
    assert [(row["process"]["key"]["pid"], row["last"]) for row in document["rows"]][:2] == [(1, []), (30, [True])]


def test_inspect(hostscope: Run) -> None:
    page = hostscope("inspect", "sshd").out
    assert page.startswith("Process 30\n")
    assert "sshd '--password=***'" in page or "sshd --password=***" in page
    assert "hunter2" not in page
    document = json.loads(hostscope("inspect", ":22", "--format", "json").out)
    assert document["schema"] == "hostscope.process_inspection/1"
    assert document["inspection"]["process"]["name"] == "sshd"


def test_inspect_is_strict_about_gaps(hostscope: Run) -> None:
    assert hostscope("inspect", "31").code == 0
    assert hostscope("inspect", "31", "--strict").code == 8


def test_doctor(hostscope: Run) -> None:
    result = hostscope("doctor")
    assert "iterator    no    needs CAP_BPF\n" in result.out
    assert "To enable iterator\n  run as root\n" in result.out
    assert result.code == 0
    assert hostscope("doctor", "--strict").code == 8
    assert json.loads(hostscope("doctor", "--format", "json").out)["host"]["info"]["hostname"] == "box"


def test_doctor_about_one_capability(hostscope: Run) -> None:
    assert "Capability iterator\n  available     no\n" in hostscope("doctor", "iterator").out
    assert json.loads(hostscope("doctor", "iterator", "--format", "json").out)["ability"]["name"] == "iterator"
    assert (hostscope("doctor", "proc", "--strict").code, hostscope("doctor", "iterator", "--strict").code) == (0, 8)
    assert "there is no capability 'x'" in hostscope("doctor", "x").err
    assert "iterator is nothing that a service could run" in hostscope("doctor", "--unit", "iterator").err
    assert hostscope("doctor", "proc", "--unit", "proc").code == 2


def test_counters(hostscope: Run) -> None:
    assert "load              0.50 0.25 0.10" in hostscope("counters").out
    assert json.loads(hostscope("counters", "--format", "json").out)["rows"][0]["cpu_count"] == 2
    assert hostscope("counters", "--columns", "cpus,load_1m", "--quiet").out.split() == [
        "CPUS",
        "LOAD",
        "1M",
        "2",
        "0.50",
    ]


def test_containers(hostscope: Run) -> None:
    assert hostscope("containers", "--quiet").out.splitlines()[1].split() == [
        "c0ffeec0ffee", "shop", "docker", "-", "state", "nginx:1",
    ]  # fmt: skip


def test_services(hostscope: Run) -> None:
    result = hostscope("services", "--filter", 'state == "failed"', "--columns", "name", "--quiet")
    assert result.out.split() == ["UNIT", "bad.service"]


def test_services_watched(hostscope: Run) -> None:
    result = hostscope("services", "--watch", "--limit", "2")
    assert result.out == "2023-11-14T22:13:20Z  web.service  active (running) -> failed\n" * 2
    lines = hostscope("services", "--watch", "--format", "ndjson").out.splitlines()
    assert [json.loads(line)["event"]["seq"] for line in lines] == [0, 1, 2]
    assert hostscope("services", "--watch", "--format", "csv").code == 2
    assert hostscope("services", "--watch", "--filter", "pid == 1").code == 2
    assert isinstance(services.threading.Event(), threading.Event)


def test_nothing_hidden(hostscope: Run) -> None:
    result = hostscope("hidden")
    assert result.code == 0
    assert "0 findings by views listing, probe" in result.out


DENIED = ProcessView("iterator", frozenset(), (Gap("iterator", Reason.DENIED),))


@pytest.mark.parametrize(("third", "code"), [((), 10), ((ProcessView("cgroup", frozenset()),), 10), ((DENIED,), 11)])
def test_hidden_processes_are_findings(
    hostscope: Run, asked: Host, third: tuple[ProcessView, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hidden_collector, "APART_S", 0)
    processes(asked).looks = [[ProcessView("listing", frozenset({1})), ProcessView("probe", frozenset({1, 6})), *third]]
    result = hostscope("hidden", "--format", "json")
    assert result.code == code
    assert json.loads(result.out)["rows"][0]["pid"] == 6


def test_hidden_that_could_not_compare_is_incomplete(hostscope: Run, asked: Host) -> None:
    processes(asked).looks[0].append(DENIED)
    assert hostscope("hidden").code == 8
    processes(asked).looks = [[ProcessView("listing", frozenset({1}))]]
    assert hostscope("hidden").code == 8


@pytest.mark.usefixtures("ticking")
def test_watch_on_a_pipe_writes_one_after_the_other(hostscope: Run) -> None:
    result = hostscope(
        "ps", "--watch", "--interval", "0.05", "--duration", "3", "--columns", "pid", "--format", "ndjson"
    )
    kinds = [json.loads(line)["type"] for line in result.out.splitlines()]
    assert kinds.count("coverage") == 2
    assert kinds[-1] == "coverage"
    assert "\x1b" not in result.out
    assert hostscope("ps", "--watch", "--format", "json").code == 2


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("command", ["ps", "net", "interfaces"])
def test_a_watch_looks_at_least_once(hostscope: Run, command: str) -> None:
    result = hostscope(command, "--watch", "--interval", "0.05", "--duration", "1", "--format", "ndjson")
    assert [json.loads(line)["type"] for line in result.out.splitlines()].count("coverage") == 1


@pytest.mark.posix("names of files with control characters")
def test_the_name_of_a_recording_commands_no_terminal(hostscope: Run, tmp_path: Path) -> None:
    said = hostscope("record", str(tmp_path / "a\x1b[31m\nb")).err
    assert "a\\x1b[31m\\x0ab: 5 processes" in said and "\x1b" not in said


def test_record_and_replay(hostscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "box.hscope"
    result = hostscope("record", str(file))
    assert result.code == 0
    assert result.err.startswith(f"{file}: 5 processes by fake")
    assert b"hunter2" not in file.read_bytes()
    assert is_private(file)
    again = hostscope("record", str(file))
    assert (again.code, again.err.splitlines()[0]) == (2, f"hostscope: {file} is there already")
    assert hostscope("record", str(file), "--force", "--quiet").err == ""
    assert hostscope("record", str(file), "--force", "--reveal").code == Denied.exit_code


def test_a_recording_for_a_pipe_is_the_same(hostscope: Run, tmp_path: Path) -> None:
    said = hostscope("record", "-")
    assert (said.code, said.err.split(" in ")[0]) == (0, "-: 5 processes by fake")
    file = tmp_path / "box.hscope"
    file.write_text(said.out)
    from_file = hostscope("ps", "--replay", str(file), "--columns", "pid,name,argv", "--quiet")
    assert (from_file.code, len(from_file.out.splitlines())) == (0, 6)
    assert "hunter2" not in said.out


def test_a_recording_is_not_for_a_terminal(hostscope: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = hostscope("record", "-")
    assert (said.code, said.out, said.err.splitlines()[0]) == (2, "", "hostscope: a recording is not for a terminal")


def test_nothing_found_is_not_could_not_look(hostscope: Run, asked: Host) -> None:
    assert hostscope("ps", "--filter", "pid == 4").code == 0
    assert hostscope("ps", "--filter", "io_read > 5").code == 8
    processes(asked).denied = 1
    assert hostscope("ps", "--filter", "pid == 4").code == 8
    assert hostscope("tree", "--filter", "pid == 4").code == 8
    assert hostscope("ps", "--filter", "pid == 1").code == 0


def test_strict_is_about_anything_that_was_not_seen(hostscope: Run, asked: Host) -> None:
    assert hostscope("ps", "--strict").code == 8
    assert hostscope("tree", "--strict").code == 8
    processes(asked).sweeps = [[process(1), process(2)]]
    assert hostscope("ps", "--strict", "--limit", "1").code == 0
    processes(asked).hidden = "hidepid=2"
    assert hostscope("ps", "--strict").code == 8


NEEDS_A_REAL_HOST = {"analyze", "capture", "dns", "dump", "scan", "service", "trace", "traffic", "watch"}
"""Their examples read files, packets or memory, act, or go on until interrupted; tests/system runs the commands."""


def examples_of(help_text: str) -> list[list[str]]:
    """The words of each example, without what comes after a pipe or an ``&&``."""
    _, _, text = " ".join(help_text.split()).rpartition("Example")
    lines = text.replace("&& hostscope", "&&").split("hostscope ")[1:]
    return [shlex.split(f"hostscope {line}".split(" && ")[0].split(" | ")[0], comments=True) for line in lines]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_ends_with_examples_that_parse(hostscope: Run, command: str) -> None:
    examples = examples_of(hostscope(command, "--help").out)
    assert examples
    for words in examples:
        assert words[:2] == ["hostscope", command]
        with cli.make_context("hostscope", words[1:]) as context:
            found = cli.get_command(context, command)
            assert found is not None
            found.make_context(command, words[2:], parent=context).close()


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - NEEDS_A_REAL_HOST))
def test_the_first_example_runs(hostscope: Run, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = examples_of(hostscope(command, "--help").out)[0]
    assert hostscope(*words[1:]).code in (0, 8)


def test_gaps_are_shown_as_gaps(hostscope: Run, asked: Host) -> None:
    processes(asked).sweeps = [[with_gaps(process(1, exe=None), Gap("exe", Reason.DENIED))]]
    assert hostscope("ps", "--columns", "pid,exe,cwd", "--quiet").out.splitlines()[1] == "  1  ?    -"


@pytest.mark.parametrize(
    ("targets", "pids"),
    [(("30",), ["30"]), (("sleep", "1"), ["1", "32"]), ((":22",), ["30"]), (("31@31",), ["31"])],
)
def test_ps_of_targets(hostscope: Run, targets: tuple[str, ...], pids: list[str]) -> None:
    assert hostscope("ps", *targets, "--quiet", "--columns", "pid").out.split() == ["PID", *pids]
    last = hostscope("ps", *targets, "--quiet", "--columns", "pid", "--limit", "1").out.split()
    assert last == ["PID", pids[0]]


def test_ps_of_targets_that_are_not_there(hostscope: Run) -> None:
    assert hostscope("ps", "1", "nope").code == Gone.exit_code
    assert hostscope("ps", "31@99").code == Mismatch.exit_code


@pytest.mark.usefixtures("ticking")
def test_ps_tree_of_a_target_and_watching_one(hostscope: Run) -> None:
    assert hostscope("ps", "--tree", "31", "--quiet", "--columns", "pid").out.split() == ["PID", "31", "32"]
    shown = hostscope("ps", "32", "--watch", "--interval", "0.05", "--duration", "3", "--quiet", "--columns", "pid")
    assert set(shown.out.split()) == {"PID", "32"}


@pytest.mark.parametrize("word", ["false", "False"])
def test_filters_take_lower_case_words(hostscope: Run, word: str) -> None:
    expression = f"kernel == {word} and exe != none and not (tty != null)"
    assert hostscope("ps", "--quiet", "--columns", "pid", "--filter", expression).out.split() == [
        "PID", "1", "30", "31", "32",
    ]  # fmt: skip
    assert hostscope("ps", "--quiet", "--columns", "pid", "--filter", "true", "--limit", "1").out.split() == [
        "PID",
        "1",
    ]


@pytest.mark.usefixtures("ticking")
def test_a_recording_has_no_share_of_processor_time(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--watch", "--interval", "0.05", "--duration", "3")):
        arguments = ["ps", "1", "--replay", str(recording), "--format", "ndjson", "--columns", "all", *more]
        assert run(arguments) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        shares = [line["row"]["pcpu"] for line in lines if line["type"] == "row"]
        assert shares and set(shares) == {None}
        gaps = [(gap["field"], gap["reason"]) for gap in lines[-1]["coverage"]["gaps"]]
        assert ("cpu.ratio", "unsupported") in gaps


def test_ages_in_a_recording_are_those_of_its_moment(hostscope: Run, recording: Path) -> None:
    """An hour old when it was recorded is an hour old for ever."""
    made = json.loads(recording.read_bytes().splitlines()[0])["created_at_ns"]
    document = json.loads(hostscope("ps", "--replay", str(recording), "--format", "json").out)
    row = document["rows"][0]
    found = hostscope("ps", "--replay", str(recording), "--format", "json", "--columns", "pid,age", "--limit", "1")
    assert json.loads(found.out)["rows"] == [{"pid": row["key"]["pid"], "age": max(0, made - row["started_at_ns"])}]
    page = hostscope("inspect", str(row["key"]["pid"]), "--replay", str(recording)).out
    assert f"({render_duration(max(0, made - row['started_at_ns']))} ago)" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ("traffic", "--duration", "0.1"),
        ("watch", "--duration", "0.1"),
        ("watch", "--method", "polling", "--duration", "0.1"),
        ("interfaces", "--rates", "--interval", "0.1"),
        ("interfaces", "--watch", "--duration", "0.1"),
    ],
    ids=" ".join,
)
def test_one_moment_is_not_compared_with_itself(hostscope: Run, recording: Path, arguments: tuple[str, ...]) -> None:
    found = hostscope(*arguments, "--replay", str(recording))
    assert (found.code, found.out) == (6, "")
    assert "a recording holds one moment, not two to compare" in found.err or "not in this recording" in found.err
