"""SIGINT and SIGTERM end live commands of macOS cleanly: what was opened is closed, and the exit code says why."""

# Fixtures of another file are imports that arguments name again.
# ruff: noqa: F401, F811

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope.platforms.macos.capture import PacketDevices
from hostscope.platforms.macos.network_statistics import NetworkStatistics
from hostscope.platforms.macos.process_notes import ProcessNotes
from tests.macos.scripted import Darwin
from tests.macos.scripted_mach import Queues
from tests.macos.test_macos_commands import Type, mach, typed
from tests.macos.test_network import Devices, Kernel, devices, kernel, links, tap

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was closed."""
    found: list[str] = []
    for kind in (ProcessNotes, NetworkStatistics):
        close = kind.close

        def closing(self: Any, close: Callable[[Any], None] = close, name: str = kind.__name__) -> None:
            found.append(name)
            close(self)

        monkeypatch.setattr(kind, "close", closing)
    return found


def struck(monkeypatch: pytest.MonkeyPatch, kind: Any, method: str, number: int) -> None:
    """The signal comes when the method is called for the first time: everything is open then."""
    before, sent = getattr(kind, method), list[int]()

    def strike(*asked: Any) -> Any:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return before(*asked)

    monkeypatch.setattr(kind, method, strike)


@SIGNALS
def test_watch(
    typed: Type, darwin: Darwin, monkeypatch: pytest.MonkeyPatch, closed: list[str], number: int, code: int
) -> None:
    Queues(darwin)
    struck(monkeypatch, ProcessNotes, "happenings", number)
    assert typed("watch --format ndjson").code == code
    assert closed == ["ProcessNotes"]


@SIGNALS
def test_traffic(
    typed: Type, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, closed: list[str], number: int, code: int
) -> None:
    struck(monkeypatch, NetworkStatistics, "update", number)
    found = typed("traffic --format ndjson")
    assert (found.code, "internal error" in found.err) == (code, False)
    assert closed == ["NetworkStatistics"]


@SIGNALS
def test_capture_by_pktap(
    typed: Type, devices: Devices, kernel: Kernel, tap: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    number: int, code: int,
) -> None:  # fmt: skip
    struck(monkeypatch, PacketDevices, "_round", number)
    path = tmp_path / "out.pcapng"
    assert typed(f"capture --interface pktap --output {path}").code == code
    assert path.stat().st_size > 0
    assert tap[-1] == ("destroyed", "pktap7")
