"""The rig itself: this is Windows' Python, children tell the truth, and "missing" is not "failed"."""

import os
import sys
from collections.abc import Callable

import pytest

from hostscope.platforms.windows.native.handles import PROCESS_QUERY_LIMITED_INFORMATION, opened
from hostscope.platforms.windows.native.library import failed_status
from tests.windows.children import Child
from tests.windows.missing import unless_missing


def test_this_is_windows(wine_version: str | None) -> None:
    assert sys.platform == "win32" and sys.getwindowsversion()[:2] == (10, 0)
    assert wine_version is None or int(wine_version.split(".")[0]) >= 8


def test_a_child_tells_and_is_told(child: Callable[..., Child]) -> None:
    one = child("say(pid=os.getpid(), parent=os.getppid(), last=sys.argv[-1]); say(heard=wait())", "wörd")
    assert one.told == {"pid": one.pid, "parent": os.getpid(), "last": "wörd"}
    assert one.ask("ünd") == {"heard": "ünd"}
    assert one.end() == 0


def test_its_handle_opens_and_a_pid_of_nobody_does_not(child: Callable[..., Child]) -> None:
    with opened(child("say(); wait()").pid, PROCESS_QUERY_LIMITED_INFORMATION) as handle:
        assert handle
    with pytest.raises(OSError) as refused, opened(0x7FFFFFF0, PROCESS_QUERY_LIMITED_INFORMATION):
        pass
    assert refused.value.winerror == 87


def test_only_what_wine_lacks_is_skipped(wine_version: str | None) -> None:
    with pytest.raises(OSError, match="0xC0000022"), unless_missing():
        raise failed_status("NtOpenProcess", 0xC0000022)
    expected = OSError if wine_version is None else pytest.skip.Exception
    with pytest.raises(expected, match="NtX failed with NTSTATUS 0xC0000003"), unless_missing():
        raise failed_status("NtX", 0xC0000003)
