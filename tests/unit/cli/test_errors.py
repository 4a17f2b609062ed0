"""Bad input: one clear line, a hint, the documented code, and no partial file."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostscope.cli import output as output_module
from hostscope.cli.output import open_output
from hostscope.errors import Denied, Gone, Mismatch, NativeError, Refused, Unsupported, UsageError
from hostscope.platforms.base import Host
from tests.fake import FakeProcesses
from tests.privacy import is_private, link
from tests.unit.cli.conftest import Run

BAD = [
    (("nope",), "No such command 'nope'", "hostscope --help"),
    (("ps", "--bogus"), "No such option", "hostscope ps --help"),
    (("ps", "--format", "xml"), "'xml' is not one of", "hostscope ps --help"),
    (("ps", "--limit", "0"), "not in the range", "ps --help"),
    (("ps", "--columns", "pid,nope"), "there is no column 'nope'", "columns: "),
    (("ps", "--sort", "-nope"), "there is no column 'nope'", "columns: "),
    (("ps", "--interval", "nan"), "'nan' is no number of seconds", "ps --help"),
    (("ps", "--duration", "1"), "--duration says how long to watch", "--watch"),
    (("services", "--duration", "1"), "--duration says how long to watch", "--watch"),
    (("ps", "--fields", "nope"), "there is no field group 'nope'", "groups: "),
    (("ps", "--filter", "rsss > 1"), "filter 1:1: there is no 'rsss'", "rss"),
    (("ps", "--filter", ""), "filter 1:1", "example"),
    (("ps", "--tree", "--sort", "pid"), "--tree has its own order", "--sort"),
    (("tree", "1", "extra"), "unexpected extra argument", "tree --help"),
    (("ps", ""), "an empty target", "a target is"),
    (("ps", "--tree", "1", "2"), "one target", "name one"),
    (("inspect",), "Missing argument 'TARGET'", "inspect --help"),
    (("inspect", ":x"), "'x' is no port", None),
    (("services", "--filter", "rss > 1"), "there is no 'rss'", "names"),
    (("tree", "--columns", "nope"), "there is no column 'nope'", "columns: "),
    (("counters", "--interval", "5"), "--interval is for the rates of --counter", "name one"),
    (("audit",), "Missing command", "hostscope audit --help"),
    (("service",), "Missing command", "hostscope service --help"),
    (("ps", "--columns", "\x1b[31m"), "there is no column", "columns: "),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), BAD)
def test_one_clear_line_and_code_2(hostscope: Run, arguments: tuple[str, ...], message: str, hint: str | None) -> None:
    result = hostscope(*arguments)
    assert result.code == 2
    assert result.out == ""
    first, *rest = result.err.splitlines()
    assert first.startswith("hostscope: ")
    assert message in first
    assert "\x1b" not in result.err
    assert len(rest) == (0 if hint is None else 1)
    assert hint is None or hint in rest[0]


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("x", "y"), 2), (Gone("x", "y"), 3), (Denied("x", "y"), 4), (Mismatch("x", "y"), 5),
     (Unsupported("x", "y"), 6), (NativeError("bpf", 1, "x", "y"), 6), (Refused("x", "rule", "y"), 7)],
)  # fmt: skip
def test_every_error_has_its_code(
    hostscope: Run, asked: Host, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(FakeProcesses, "sweep", fail)
    result = hostscope("ps")
    assert result.code == code
    assert result.err.splitlines()[1] == "hint: y"


def unwritable(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "target").write_text("kept")
    return {
        str(tmp_path): "is a directory",
        str(tmp_path / "no" / "x"): "cannot write" if os.name == "nt" else "No such file or directory",
        str(tmp_path / "target" / "x"): "cannot write" if os.name == "nt" else "Not a directory",
        str(tmp_path / ("n" * 300)): "cannot write" if os.name == "nt" else "File name too long",
    }


def test_unwritable_output(hostscope: Run, tmp_path: Path) -> None:
    for path, message in unwritable(tmp_path).items():
        for command in ("ps", "tree", "counters", "hidden", "doctor"):
            result = hostscope(command, "--output", path)
            assert (result.code, message in result.err.splitlines()[0]) == (2, True), (path, result)
    assert (tmp_path / "target").read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_a_link_is_not_written_through(hostscope: Run, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    place = link(tmp_path / "link", tmp_path / "target")
    for command in ("ps", "tree", "counters", "hidden", "doctor"):
        result = hostscope(command, "--output", str(place))
        assert result.code == 2 and "is a symbolic link" in result.err, result
    assert (tmp_path / "target").read_text() == "kept"


def test_a_file_appears_whole_and_private(hostscope: Run, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(0o644)
    result = hostscope("ps", "--output", str(target), "--columns", "pid")
    assert (result.code, result.out) == (0, "")
    assert target.read_text().startswith("PID\n")
    assert is_private(target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(
    hostscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise Denied("no")

    monkeypatch.setattr(FakeProcesses, "sweep", fail)
    assert hostscope("ps", "--output", str(target), "--format", "json").code == 4
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


class Forbidden:
    """A folder that only privileges open, without needing another user: the calls fail until they are raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, permitted: bool) -> None:
        self.raised, self.permitted, self.uses = False, permitted, 0
        for name in ("stat", "replace"):
            monkeypatch.setattr(output_module.os, name, self._guarded(getattr(os, name)))

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if not self.raised:
                raise PermissionError(errno.EACCES, "Permission denied")
            return call(*arguments, **options)

        return guarded

    @contextmanager
    def override(self) -> Iterator[None]:
        self.uses += 1
        self.raised = self.permitted
        yield
        self.raised = False


def test_privileges_are_used_only_where_permissions_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    with open_output(str(target), lambda: pytest.fail("not needed")) as sink:
        sink.write("first")
    with monkeypatch.context() as patched:
        forbidden = Forbidden(patched, permitted=True)
        with open_output(str(target), forbidden.override) as sink:
            sink.write("second")
    assert target.read_text() == "second"
    assert forbidden.uses == 2


def test_forbidden_without_privileges_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        forbidden = Forbidden(patched, permitted=False)
        with pytest.raises(UsageError, match="Permission denied"), open_output(str(tmp_path / "x"), forbidden.override):
            pytest.fail("opened")
    assert not list(tmp_path.iterdir())


def test_devices_are_written_directly(hostscope: Run, tmp_path: Path) -> None:
    assert hostscope("ps", "--output", os.devnull).code == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.posix("pipes with a name in a folder")
def test_pipes_are_written_directly(hostscope: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert hostscope("ps", "--output", str(pipe), "--columns", "pid").code == 0
        assert os.read(reader, 4) == b"PID\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_full_disk_is_one_line(hostscope: Run) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    result = hostscope("ps", "--output", "/dev/full")
    assert result.code != 0
    assert result.err == "hostscope: cannot write /dev/full: No space left on device\n"


def test_output_to_a_dash_is_standard_output(hostscope: Run) -> None:
    assert hostscope("ps", "--output", "-", "--columns", "pid").out.startswith("PID\n")
    with pytest.raises(UsageError), open_output("/"):
        pass


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv", "tsv"])
def test_what_fails_at_once_writes_nothing(
    hostscope: Run, asked: Host, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def refuse(*_: object) -> Iterator[Any]:
        raise Denied("not you")
        yield

    monkeypatch.setattr(asked.processes, "sweep", refuse)
    result = hostscope("ps", "--format", form)
    assert (result.code, result.out) == (Denied.exit_code, "")


class _Surprise(Exception):
    """Nobody expects it."""


@pytest.mark.parametrize("verbose", [False, True])
def test_what_nobody_expected_is_one_line(
    hostscope: Run, asked: Host, monkeypatch: pytest.MonkeyPatch, verbose: bool
) -> None:
    def fail(*_: object) -> Any:
        raise _Surprise("\x1b[31mred")

    monkeypatch.setattr(asked.processes, "sweep", fail)
    monkeypatch.setattr("hostscope.log.is_verbose", lambda: verbose)
    result = hostscope("ps")
    *trace, last = result.err.splitlines() if verbose else result.err.splitlines()[:1]
    assert (result.code, result.out) == (1, "")
    assert last.startswith("hostscope: internal error: _Surprise: ")
    assert "\x1b" not in result.err
    assert ("--verbose" in result.err) is not verbose
    assert any("in fail" in line for line in trace) is verbose
