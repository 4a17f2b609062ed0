"""Consoles and their events: on a console of their own, so that this one's programs do not hear them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hostscope.platforms import open_console
from hostscope.platforms.windows import console as module
from hostscope.platforms.windows.native import console
from tests.windows.children import Child
from tests.windows.missing import skip_missing

STAGE = """
import ctypes, subprocess
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.FreeConsole()
kernel32.AllocConsole()
kernel32.SetConsoleCtrlHandler(None, 0)  # undoes what we may have inherited
keep = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(lambda event: 1)
kernel32.SetConsoleCtrlHandler(keep, 1)
command = json.loads(sys.argv[1])
player = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
say(first=player.stdout.readline().decode())
while event := wait():
    ctypes.set_last_error(0)
    sent = kernel32.GenerateConsoleCtrlEvent(int(event), 0)
    error = 0 if sent else ctypes.get_last_error()
    rest = player.communicate(timeout=60) if sent else (b"", b"")
    say(error=error, code=player.poll(), out=rest[0].decode(), err=rest[1].decode())
player.kill()
"""
LISTENER = """
import sys, threading
from hostscope.platforms import open_console
heard, gone = [], threading.Event()
def take(event):
    heard.append(event)
    gone.set()
    return True
with open_console().listening(take):
    print("ready", flush=True)
    gone.wait(60)
print(*heard, flush=True)
"""


def stage(child: Callable[..., Child], *command: str) -> Child:
    """A command on a console of its own, after its first line."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    return child(STAGE, json.dumps([sys.executable, *command]), env=environment)


def test_an_event_is_heard_while_the_main_thread_waits(child: Callable[..., Child]) -> None:
    one = stage(child, "-c", LISTENER)
    assert one.told["first"] == "ready\r\n"
    assert one.ask("0") == {"error": 0, "code": 0, "out": "interrupt\r\n", "err": ""}


def test_break_is_heard(child: Callable[..., Child]) -> None:
    one = stage(child, "-c", LISTENER)
    said = one.ask("1")
    if said["error"]:
        skip_missing("GenerateConsoleCtrlEvent", f"fails with error {said['error']} for CTRL_BREAK_EVENT")
    assert (said["error"], said["out"]) == (0, "break\r\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps", "--watch", "--interval", "60"),
        ("ps", "--watch", "--interval", "60", "--duration", "300"),
        ("ps", "--watch", "--format", "ndjson", "--interval", "60"),
        ("watch", "--duration", "300"),
        ("interfaces", "--watch", "--interval", "60"),
    ],
)
def test_ctrl_c_ends_live_commands_at_once(child: Callable[..., Child], arguments: tuple[str, ...]) -> None:
    """At once: none of them would look again, or end by itself, within the time that is waited for it."""
    one = stage(child, "-m", "hostscope", *arguments)
    assert one.told["first"]
    said = one.ask("0")
    assert (said["error"], said["code"]) == (0, 130)
    assert "Traceback" not in said["err"] and "error" not in said["err"]


def test_output_is_utf_8_without_a_console(child: Callable[..., Child]) -> None:
    """Also where the code page is another: pipes and files get what documents and other tools expect."""
    script = "from hostscope.platforms import open_console; open_console().prepare(); print('│ …')"
    one = stage(child, "-c", script)
    assert one.told["first"] == "│ …\r\n"


def test_a_screen_understands_sequences_until_the_end(child: Callable[..., Child]) -> None:
    """On a console of its own; the standard handles are pipes, so its screen is opened by name."""
    code = (
        "import ctypes\n"
        "from ctypes import c_uint32, c_void_p\n"
        "kernel32 = ctypes.WinDLL('kernel32', use_last_error=True)\n"
        "kernel32.CreateFileW.restype = c_void_p\n"
        "kernel32.FreeConsole(); kernel32.AllocConsole()\n"
        "screen = kernel32.CreateFileW('CONOUT$', c_uint32(0xC0000000), 3, None, 3, 0, None)\n"
        "kernel32.SetStdHandle(c_uint32(2**32 - 11), c_void_p(screen))\n"
        "from hostscope.platforms import open_console\n"
        "from hostscope.platforms.windows.native import console\n"
        "console.set_screen_mode(console.STD_OUTPUT_HANDLE, 3)\n"
        "before = console.screen_mode(console.STD_OUTPUT_HANDLE)\n"
        "open_console().prepare()\n"
        "say(before=before, after=console.screen_mode(console.STD_OUTPUT_HANDLE), term=os.environ.get('TERM'))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    told = child(code, env=environment).told
    if told["before"] is None:
        skip_missing("GetConsoleMode", "fails for a screen that was opened by name")
    assert told["before"] == 3
    assert told["after"] == 7 or told["term"] == "dumb"


@pytest.mark.parametrize("taken", [True, False])
def test_the_last_events_leave_time_to_finish(monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    """Windows ends the program when their handler returns."""
    handlers: list[Callable[[int], bool]] = []

    def add(take: Callable[[int], bool]) -> Callable[[], None]:
        handlers.append(take)
        return handlers.clear

    slept: list[float] = []
    monkeypatch.setattr(console, "add_handler", add)
    monkeypatch.setattr(module.time, "sleep", slept.append)
    heard: list[str] = []
    with open_console().listening(lambda event: heard.append(event) or taken):
        assert [handlers[0](number) for number in (0, 1, 2, 5, 6)] == [taken] * 5
    assert heard == ["interrupt", "break", "close", "logoff", "shutdown"]
    assert slept == [module.GRACE_S] * 3 * taken
    assert handlers == []


def test_a_handler_is_gone_after_its_block() -> None:
    """Adding and removing leaves nothing behind, also from two threads."""

    def listen() -> None:
        with open_console().listening(lambda event: True):
            pass

    threads = [threading.Thread(target=listen) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    listen()


def test_paths_may_be_long(tmp_path: Path) -> None:
    """Written, replaced and read by the command without the form that begins with \\\\?\\; Wine has no limit itself."""
    folder = tmp_path.joinpath(*["n" * 60] * 5)
    os.makedirs("\\\\?\\" + str(folder))
    recording, rows = folder / "host.recording", folder / "rows.json"
    for arguments in (
        ("record", str(recording)),
        ("ps", "--replay", str(recording), "--format", "json", "--output", str(rows)),
        ("ps", "--replay", str(recording), "--format", "json", "--output", str(rows)),
    ):
        command = [sys.executable, "-m", "hostscope", *arguments]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    assert len(str(folder)) > 300
    assert json.loads(rows.read_bytes())["rows"]
    assert {one.name for one in folder.iterdir()} == {"host.recording", "rows.json"}


def test_the_process_says_that_it_knows_long_paths(child: Callable[..., Child]) -> None:
    """By the bit that Windows' libraries read at each path."""
    code = (
        "import ctypes\n"
        "ntdll = ctypes.WinDLL('ntdll')\n"
        "ntdll.RtlGetCurrentPeb.restype = ctypes.POINTER(ctypes.c_uint8)\n"
        "from hostscope.platforms import open_console\n"
        "before = ntdll.RtlGetCurrentPeb()[3]\n"
        "open_console().prepare()\n"
        "say(before=before, after=ntdll.RtlGetCurrentPeb()[3])\n"
    )
    told = child(code).told
    assert told["after"] == told["before"] | 0x80
