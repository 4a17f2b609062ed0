"""A program that was started suspended, when something fails before it may run: it ends, and no handle is left."""

from typing import Any

import pytest

from hostscope.errors import Error
from hostscope.platforms.windows import spawn
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native.library import SystemRefused

PROCESS, THREAD, JOB = 11, 12, 13


class Windows:
    """What became of handles and processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed: list[int] = []
        self.ended: list[int] = []
        self.limits, self.assigns, self.dates = True, True, True
        made = spawn.control.PROCESS_INFORMATION(PROCESS, THREAD, 700, 701)
        monkeypatch.setattr(spawn.control, "create_suspended", lambda line: made)
        monkeypatch.setattr(spawn.control, "has_ended", lambda process: False)
        monkeypatch.setattr(spawn.control, "terminate", lambda process, code: self.ended.append(process))
        monkeypatch.setattr(spawn.handles, "close", self.closed.append)
        monkeypatch.setattr(spawn.jobs, "create", lambda: JOB)
        monkeypatch.setattr(spawn.jobs, "limit", lambda job, flags: self.limits)
        monkeypatch.setattr(spawn.jobs, "assign", lambda job, process: self.assigns)
        monkeypatch.setattr(spawn.native, "created", self._created)

    def _created(self, process: int) -> int:
        if not self.dates:
            raise SystemRefused("GetProcessTimes", 5)
        return 4711


def test_it_ends_and_everything_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    windows, keys = Windows(monkeypatch), set[Any]()
    with spawn.spawn(Boot("boot", 0), ("x.exe",), keys) as made:
        assert made.key.pid == 700 and keys == {made.key} and not windows.closed
    assert windows.ended == [PROCESS] and sorted(windows.closed) == [PROCESS, THREAD, JOB]


def test_what_cannot_be_identified_does_not_stay_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(monkeypatch)
    windows.dates = False
    with pytest.raises(Error), spawn.spawn(Boot("boot", 0), ("x.exe",), set()):
        raise AssertionError("it has no key")
    assert windows.ended == [PROCESS] and sorted(windows.closed) == [PROCESS, THREAD, JOB]


@pytest.mark.parametrize("lacking", ["limits", "assigns"])
def test_without_a_job_its_handle_is_closed(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    windows = Windows(monkeypatch)
    setattr(windows, lacking, False)
    with spawn.spawn(Boot("boot", 0), ("x.exe",), set()):
        assert windows.closed == [JOB]
    assert sorted(windows.closed) == [PROCESS, THREAD, JOB] and windows.ended == [PROCESS]
