"""Services of ours: who may be one, and what stands in the trail."""

import pytest

from hostscope.audit import AuditTrail, default_path
from hostscope.errors import Refused, Unsupported, UsageError
from hostscope.model.service import ServiceStep
from hostscope.respond import autostart
from tests.fake import host


class Manager:
    """A service manager in memory."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        self.done.append(("install", name, *arguments))
        return f"hostscope {' '.join(arguments)}"

    def act(self, name: str, step: ServiceStep) -> None:
        if name not in (installed for _, installed, *_ in self.done):
            raise Refused(f"service {name} is not ours", "not-ours")
        self.done.append((step, name))


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    made = Manager()
    monkeypatch.setattr(autostart, "open_autostart", lambda name: made)
    return made


def last(count: int) -> list[tuple[str, str | None, str]]:
    entries = list(AuditTrail(default_path()).entries())[-count:]
    return [(entry.action, entry.what, entry.outcome) for entry in entries]


def test_a_live_command_is_installed_and_started(manager: Manager) -> None:
    assert autostart.install(host(), "w", ("watch", "--system-log")) == "hostscope watch --system-log"
    autostart.act(host(), "w", "start")
    assert manager.done == [("install", "w", "watch", "--system-log"), ("start", "w")]
    assert last(4) == [
        ("act.service.install", "w: watch --system-log", "begun"),
        ("act.service.install", "w: watch --system-log", "done"),
        ("act.service.start", "w", "begun"),
        ("act.service.start", "w", "done"),
    ]


@pytest.mark.parametrize("arguments", [(), ("kill", "1"), ("--version",)])
def test_nothing_else_is(manager: Manager, arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="a service runs a live command"):
        autostart.install(host(), "w", arguments)
    assert not manager.done


def test_a_refusal_is_in_the_trail(manager: Manager) -> None:
    with pytest.raises(Refused):
        autostart.act(host(), "other", "stop")
    assert last(1) == [("act.service.stop", "other", "failed: service other is not ours")]


def test_other_systems_need_none() -> None:
    with pytest.raises(Unsupported, match="no services on Linux"):
        autostart.act(host(), "w", "remove")
