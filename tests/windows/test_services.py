"""Services of a live service control manager."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from hostscope.errors import Gone
from hostscope.model.event import CoverageChange, ServiceChange
from hostscope.platforms.windows.native import services as native
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.services import Services, services_by_pid

NAME = "hostscope-test"
PROGRAM = r"C:\no such folder\service.exe --option"


@pytest.fixture
def installed() -> Iterator[str]:
    """A service of our own that cannot start, since its program is not there."""
    with (
        native.opened_manager(native.SC_MANAGER_CONNECT | native.SC_MANAGER_CREATE_SERVICE) as manager,
        native.created_service(manager, NAME, PROGRAM) as service,
    ):
        try:
            yield NAME
        finally:
            native.delete_service(service)


def test_the_manager_itself_runs_services() -> None:
    processes = {listed.pid: listed for listed in read_processes()}
    hosts = services_by_pid()
    assert hosts and hosts.keys() <= processes.keys()
    listed = {row.name: row for row in Services().services()}
    for pid, names in hosts.items():
        assert all(listed[name].main_pid == pid and listed[name].state == "active" for name in names)


def test_a_service_that_was_installed(installed: str) -> None:
    found = Services().service(installed)
    assert (found.state, found.substate, found.start_mode, found.path) == ("inactive", "stopped", "manual", PROGRAM)
    assert found.scm and (found.scm.kind, found.scm.account) == ("own-process", "LocalSystem")
    assert found.name in {row.name for row in Services().services()}


def test_there_is_no_service_of_that_name() -> None:
    with pytest.raises(Gone, match="no service is called 'nobody'"):
        Services().service("nobody")


def test_starting_it_fails_as_windows_says(installed: str) -> None:
    with native.opened_manager() as manager, native.opened_service(manager, installed, native.SERVICE_START) as service:
        with pytest.raises(OSError) as refused:
            native.start_service(service)
        assert getattr(refused.value, "winerror", None) in (2, 3)


@pytest.mark.parametrize("method", ["notices", "polling"])
def test_a_change_is_seen(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of Windows' own is started and stopped again."""
    if method == "polling":
        monkeypatch.setitem(vars(native.advapi32), "NotifyServiceStatusChangeW", lambda *_: 50)
    stop = threading.Event()
    limit = threading.Timer(20, stop.set)
    limit.start()
    stream = Services().changes(stop, 0.05)
    first = next(stream)
    assert isinstance(first.body, CoverageChange)
    if method == "notices" and first.source == "polling":
        pytest.skip(f"no notices here: {first.body.coverage.method_reason}")
    access = native.SERVICE_START | native.SERVICE_STOP
    with native.opened_manager() as manager, native.opened_service(manager, "BITS", access) as service:
        native.start_service(service)
        try:
            seen = [next_state(stream, "active"), *stop_and_see(service, stream)]
        finally:
            stop.set()
            limit.cancel()
            with suppress(OSError):  # it stopped in the test
                native.stop_service(service)
    assert seen == ["active", "inactive"]


def stop_and_see(service: int, stream: "Iterator[object]") -> list[str]:
    native.stop_service(service)
    return [next_state(stream, "inactive")]


def next_state(stream: "Iterator[object]", wanted: str) -> str:
    """Waits until the stream says that BITS is in this state."""
    for event in stream:
        body = getattr(event, "body", None)
        if isinstance(body, ServiceChange) and body.after and body.after.name == "BITS" and body.after.state == wanted:
            return wanted
    return "nothing"
