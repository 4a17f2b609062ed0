"""`hostscope service`: a live command that the service control manager runs."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hostscope
from hostscope.errors import Error, Gone, Refused, UsageError
from hostscope.model.service import ServiceStep
from hostscope.platforms.windows.autostart import Autostart
from hostscope.platforms.windows.native import event_log
from hostscope.platforms.windows.services import Services
from tests.windows.missing import unless_missing
from tests.windows.waiting import eventually

NAME = "hostscope-test-watch"
WATCH = ("watch", "--method", "polling", "--interval", "0.2", "--format", "ndjson")


@pytest.fixture
def found_by_services() -> Iterator[None]:
    """Services do not have our environment: they find the package as an installed one is found."""
    place = Path(sysconfig.get_path("purelib")) / "hostscope-test.pth"
    place.write_text(str(Path(hostscope.__file__).parents[1]), encoding="utf-8")
    yield
    place.unlink()


@pytest.fixture
def service(tmp_path: Path, found_by_services: None) -> Iterator[Path]:
    """A watch by polling, installed; the file that it writes."""
    output = tmp_path / "watch.ndjson"
    Autostart().install(NAME, (*WATCH, "--output", str(output)))
    try:
        yield output
    finally:
        with suppress(Error):  # it may have stopped
            Autostart().act(NAME, "stop")
        Autostart().act(NAME, "remove")
        eventually(lambda: not installed())


def installed() -> bool:
    try:
        Services().service(NAME)
    except Gone:
        return False
    return True


def state() -> str | None:
    return Services().service(NAME).substate


def test_it_runs_until_it_is_done(tmp_path: Path, found_by_services: None) -> None:
    output = tmp_path / "watch.ndjson"
    arguments = (*WATCH, "--duration", "1", "--output", str(output))
    Autostart().install(NAME, arguments)
    try:
        Autostart().act(NAME, "start")
        eventually(lambda: output.exists() and state() == "stopped")
    finally:
        Autostart().act(NAME, "remove")
        eventually(lambda: not installed())
    assert '"type":"coverage"' in output.read_text(encoding="utf-8").splitlines()[-1]


def test_it_stops_when_it_is_told(service: Path) -> None:
    Autostart().act(NAME, "start")
    eventually(lambda: state() == "running")
    Autostart().act(NAME, "stop")
    eventually(lambda: state() == "stopped")
    scm = Services().service(NAME).scm
    assert scm and scm.exit_code == 0
    if service.exists():  # the watch had begun by then
        assert '"type":"coverage"' in service.read_text(encoding="utf-8").splitlines()[-1]


def test_a_second_of_that_name_is_refused(service: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        Autostart().install(NAME, ("watch",))


def test_services_of_others_are_left_alone() -> None:
    steps: tuple[ServiceStep, ...] = ("stop", "start", "remove")
    for step in steps:
        with pytest.raises(Refused, match="not ours"):
            Autostart().act("PlugPlay", step)
    assert Services().service("PlugPlay").substate == "running"
    with pytest.raises(Gone):
        Autostart().act("nobody", "start")


def test_nobody_else_runs_it() -> None:
    command = [sys.executable, "-m", "hostscope", "service", "run", NAME, "--", "watch"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "only the service control manager runs this" in done.stderr


def test_an_entry_of_the_event_log() -> None:
    with unless_missing():
        event_log.report("hostscope", event_log.EVENTLOG_INFORMATION_TYPE, 1, "a test of hostscope")
