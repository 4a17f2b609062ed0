"""Screens of the console and lengths of paths, with scripted answers."""

import ctypes
from typing import Any

import pytest

from hostscope.platforms.windows import console as module
from hostscope.platforms.windows.console import Console
from hostscope.platforms.windows.native import console, paths, performance
from hostscope.platforms.windows.native.console import STD_ERROR_HANDLE, STD_OUTPUT_HANDLE


class Screens:
    """Standard handles and the mode of the screen behind each; None where there is none."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, output: int | None, error: int | None, old: bool = False
    ) -> None:
        self.modes = {STD_OUTPUT_HANDLE: output, STD_ERROR_HANDLE: error}
        self.old = old
        self.undo: list[tuple[Any, ...]] = []
        monkeypatch.setitem(vars(console.kernel32), "GetStdHandle", lambda which: which)
        monkeypatch.setitem(vars(console.kernel32), "GetConsoleMode", self._get)
        monkeypatch.setitem(vars(console.kernel32), "SetConsoleMode", self._set)
        monkeypatch.setattr(module.atexit, "register", lambda *step: self.undo.append(step))
        monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
        monkeypatch.delenv("TERM", raising=False)

    def _get(self, which: int, mode: Any) -> int:
        found = self.modes[which]
        ctypes.cast(mode, ctypes.POINTER(ctypes.c_uint32))[0] = found or 0
        return int(found is not None)

    def _set(self, which: int, mode: int) -> int:
        if self.old and mode & 4:
            return 0
        self.modes[which] = mode
        return 1


def test_screens_understand_sequences_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screens = Screens(monkeypatch, 3, 7)
    Console().prepare()
    assert screens.modes == {STD_OUTPUT_HANDLE: 7, STD_ERROR_HANDLE: 7}
    ((restore, *arguments),) = screens.undo
    restore(*arguments)
    assert screens.modes[STD_OUTPUT_HANDLE] == 3


def test_what_is_no_screen_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screens = Screens(monkeypatch, None, None)
    Console().prepare()
    assert screens.modes == {STD_OUTPUT_HANDLE: None, STD_ERROR_HANDLE: None} and screens.undo == []


def test_an_old_console_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screens = Screens(monkeypatch, 3, None, old=True)
    Console().prepare()
    assert screens.modes[STD_OUTPUT_HANDLE] == 3
    assert module.os.environ["TERM"] == "dumb"


@pytest.mark.parametrize(
    ("version", "bits"),
    [((6, 3, 9600), 0x05), ((10, 0, 14393), 0x05), ((10, 0, 15063), 0x85), ((10, 0, 26100), 0x85), ((11, 0, 1), 0x85)],
)
def test_paths_may_be_long_where_windows_knows_them(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], bits: int
) -> None:
    """One bit of the process's own block, and nothing beside it."""
    block = (ctypes.c_uint8 * 8)(1, 2, 3, 0x05, 5, 6, 7, 8)

    def tell(info: Any) -> int:
        found = info._obj
        found.dwMajorVersion, found.dwMinorVersion, found.dwBuildNumber = version
        return 0

    Screens(monkeypatch, None, None)
    monkeypatch.setitem(vars(performance.ntdll), "RtlGetVersion", tell)
    monkeypatch.setitem(vars(paths.ntdll), "RtlGetCurrentPeb", lambda: ctypes.cast(block, ctypes.c_void_p))
    Console().prepare()
    assert list(block) == [1, 2, 3, bits, 5, 6, 7, 8]


def test_a_version_that_nobody_tells_does_not_keep_us_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    Screens(monkeypatch, 3, None)
    monkeypatch.setitem(vars(performance.ntdll), "RtlGetVersion", lambda info: -1)
    Console().prepare()
