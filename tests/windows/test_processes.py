"""Processes of a real Windows CPython whose truth the tests know."""

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostscope.errors import Gone, Mismatch
from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.request import FULL, ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.host import open_host
from hostscope.platforms.windows.native import desktop, handles, ntdll
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import INT, LPCWSTR, POINTER, PVOID
from hostscope.platforms.windows.parse import split_command_line
from hostscope.platforms.windows.peb import Block
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.views import views as every_view
from tests.windows.children import Child
from tests.windows.missing import skip_missing, unless_missing

Start = Callable[..., Child]
WHOLE = frozenset({"open_files", "maps", "threads", "sockets", "environment", "modules", "windows"})
TELL = "say(pid=os.getpid(), cwd=os.getcwd())\nwait()\n"


@pytest.fixture(scope="module")
def host() -> Host:
    return open_host()


def everything(host: Host, method: str | None = None) -> tuple[dict[int, Process], Tally]:
    tally = Tally()
    rows = {row.pid: row for row in host.processes.sweep(ProcessRequest(fields=FULL, method=method), tally)}
    return rows, tally


def gap(process: Process, field: str) -> Reason | None:
    return next((gap.reason for gap in process.gaps if gap.field == field), None)


@pytest.mark.parametrize("method", ["native", "toolhelp"])
def test_a_child_is_what_it_says(host: Host, child: Start, tmp_path: Path, method: str) -> None:
    before = time.time_ns()
    odd = 'quoted "x y" \\" end\\ \u00e9\u4e2d'
    one = child(TELL, odd, "", cwd=str(tmp_path), env={**os.environ, "HOSTSCOPE_MARK": "5"})
    rows, tally = everything(host, method)
    row = rows[one.pid]
    assert tally.method == method
    assert one.told["pid"] == row.pid
    assert row.argv == tuple(one.command)
    assert row.exe is not None and Path(row.exe.path).samefile(sys.executable)
    assert row.ppid == os.getpid()
    assert row.cwd is not None and row.cwd.lower() == one.told["cwd"].lower()
    assert row.started_at_ns is not None and abs(row.started_at_ns - before) < 60 * 10**9
    assert row.session is not None and row.session.session is not None
    assert row.threads is not None and row.threads >= 1
    assert row.memory is not None and row.memory.resident_bytes > 1 << 20 and row.memory.virtual_bytes > 1 << 20
    assert row.cpu is not None and row.cpu.user_ns >= 0
    assert row.windows is not None
    assert (row.windows.architecture, row.windows.wow64) == ("x64", False)
    assert row.windows.native_path is not None and row.windows.native_path.startswith("\\Device\\")
    assert row.windows.priority == "normal"
    assert row.key == host.processes.read(one.pid, ProcessRequest(fields=frozenset())).key


def test_a_sweep_is_in_ascending_order_and_has_us_and_all_that_are_listed(host: Host) -> None:
    rows, tally = everything(host)
    assert list(rows) == sorted(rows)
    assert os.getpid() in rows
    assert len(rows) + tally.vanished == tally.seen
    assert tally.failed == tally.denied == 0


def test_both_methods_agree(host: Host, child: Start) -> None:
    one = child(TELL)
    by_list, by_toolhelp = everything(host)[0][one.pid], everything(host, "toolhelp")[0][one.pid]
    for name in ("key", "ppid", "name", "started_at_ns", "exe", "argv", "cwd", "session", "threads", "owner"):
        assert getattr(by_list, name) == getattr(by_toolhelp, name), name


@pytest.mark.parametrize(("flag", "name"), [(0x40, "idle"), (0x4000, "below-normal"), (0x80, "high")])
def test_priorities(host: Host, child: Start, flag: int, name: str) -> None:
    code = (
        f"import ctypes\nk = ctypes.windll.kernel32\nsay(set=k.SetPriorityClass(ctypes.c_void_p(-1), {flag}))\nwait()\n"
    )
    one = child(code)
    assert one.told["set"]
    row = host.processes.read(one.pid, ProcessRequest(fields=frozenset({"schedule"})))
    assert row.windows is not None and row.windows.priority == name


def test_processor_time_and_memory_grow_with_work(host: Host, child: Start) -> None:
    code = (
        "say()\nif wait():\n    kept = b'x' * (64 << 20)\n    for n in range(20_000_000): pass\n    say()\n    wait()\n"
    )
    one = child(code)
    request = ProcessRequest(fields=frozenset({"cpu", "memory"}))
    before = host.processes.read(one.pid, request)
    one.ask()
    after = host.processes.read(one.pid, request)
    assert before.cpu and after.cpu and before.memory and after.memory
    assert after.cpu.user_ns + after.cpu.system_ns > before.cpu.user_ns + before.cpu.system_ns
    assert after.memory.resident_bytes >= before.memory.resident_bytes + (60 << 20)
    assert after.memory.virtual_bytes >= after.memory.resident_bytes


def test_threads_are_counted(host: Host, child: Start) -> None:
    code = "import threading\nfor n in range(7): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    one = child(code + "say()\nwait()\nos._exit(0)\n")
    row = host.processes.read(one.pid, ProcessRequest(fields=frozenset({"threads", "state"})))
    assert row.threads is not None and row.threads >= 8
    if gap(row, "state"):
        skip_missing("NtQuerySystemInformation", "gives no states of threads")
    assert row.state == "sleeping"


def test_one_that_ended_is_gone(host: Host, child: Start) -> None:
    one = child(TELL)
    key = host.processes.read(one.pid, ProcessRequest(fields=frozenset())).key
    one.end()
    with pytest.raises(Gone):
        host.processes.read(key.pid, ProcessRequest())
    with pytest.raises(Gone):
        host.processes.detail(key, WHOLE)
    assert key.pid not in everything(host)[0]


def test_a_grandchild_whose_parent_ended_keeps_the_number(host: Host, child: Start) -> None:
    code = (
        "import subprocess\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=sys.stdin)\n"
        "say(grandchild=p.pid)\nos._exit(0)\n"
    )
    one = child(code)
    one.process.wait(60)
    row = host.processes.read(one.told["grandchild"], ProcessRequest(fields=frozenset()))
    assert row.ppid == one.pid or (row.ppid is None and gap(row, "ppid") is Reason.GONE)


# Command lines against Windows' own --------------------------------------------------------------------------------

shell32 = Library("shell32", {"CommandLineToArgvW": (POINTER(PVOID), (LPCWSTR, POINTER(INT)))})
local = Library("kernel32", {"LocalFree": (PVOID, (PVOID,))})


def by_windows(text: str) -> tuple[str, ...]:
    count = INT()
    found: Any = shell32.CommandLineToArgvW(text, ctypes.byref(count))
    try:
        return tuple(ctypes.wstring_at(found[place]) for place in range(count.value))
    finally:
        local.LocalFree(ctypes.cast(found, ctypes.c_void_p))


@settings(max_examples=3000, deadline=None)
@given(st.text('ab" \\\t', min_size=1, max_size=24))
def test_command_lines_are_split_as_by_windows(text: str) -> None:
    assert split_command_line(text) == by_windows(text)


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(codec="utf-16", exclude_characters="\0"), min_size=1, max_size=60))
def test_any_command_line_is_split_as_by_windows(text: str) -> None:
    assert split_command_line(text) == by_windows(text)


# Environment blocks -------------------------------------------------------------------------------------------------


def test_the_kernel_and_the_block_tell_the_same_command_line(host: Host, child: Start) -> None:
    one = child(TELL, "x y")
    row = host.processes.read(one.pid, ProcessRequest(fields=frozenset({"argv"})))
    access = handles.PROCESS_QUERY_LIMITED_INFORMATION | handles.PROCESS_VM_READ
    with handles.opened(one.pid, access) as handle:
        assert split_command_line(Block(handle).command_line()) == row.argv == tuple(one.command)


def test_the_environment_of_a_child(host: Host, child: Start) -> None:
    environment = {**os.environ, "HOSTSCOPE_MARK": "\u00e9=5", "LONG": "x" * 30_000}
    one = child(TELL, env=environment)
    key = host.processes.read(one.pid, ProcessRequest(fields=frozenset())).key
    found = host.processes.detail(key, frozenset({"environment"}))
    told = {variable.name: variable.value for variable in found.environment or ()}
    assert (told["HOSTSCOPE_MARK"], told["LONG"]) == ("\u00e9=5", "x" * 30_000)
    assert found.gaps == ()


def test_a_32_bit_program_is_read_from_its_own_block(host: Host, tmp_path: Path) -> None:
    """Its directory after a change of it stands in its 32-bit block: the 64-bit one is not what it uses."""
    shell, below = Path(os.environ["SYSTEMROOT"]) / "SysWOW64" / "cmd.exe", tmp_path / "below"
    if not shell.exists():
        pytest.skip("no 32-bit programs run here: SysWOW64 is empty (Wine without wine32)")
    below.mkdir()
    command = [str(shell), "/q", "/k", "rem", "two words"]
    marked = {**os.environ, "HOSTSCOPE_MARK": "32"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=marked) as one:
        assert one.stdin and one.stdout
        one.stdin.write(b"cd below & echo re^ady\r\n")  # a line at a time: Wine's shell forgets what came with one
        one.stdin.flush()
        assert any(b"ready" in line for line in one.stdout)
        row = everything(host)[0][one.pid]
        found = host.processes.detail(row.key, frozenset({"environment", "modules", "threads"}))
        one.stdin.write(b"exit\r\n")
    assert row.windows is not None and (row.windows.architecture, row.windows.wow64) == ("x86", True)
    assert row.argv == tuple(command)
    assert row.cwd is not None and Path(row.cwd).samefile(below)
    assert ("HOSTSCOPE_MARK", "32") in {(one.name, one.value) for one in found.environment or ()}
    modules = {module.name.lower(): module.base for module in found.modules or ()}
    assert {"cmd.exe", "kernel32.dll"} <= modules.keys() and modules["kernel32.dll"] < 1 << 32
    assert found.threads


# What it holds ------------------------------------------------------------------------------------------------------


def test_what_a_child_holds(host: Host, child: Start, tmp_path: Path) -> None:
    kept = tmp_path / "kept-open.txt"
    code = (
        "import ctypes, threading\n"
        f"file = open({str(kept)!r}, 'wb')\n"
        "event = ctypes.windll.kernel32.CreateEventW(None, 0, 0, 'hostscope-named-event')\n"
        "thread = threading.Thread(target=sys.stdin.readline, daemon=True); thread.start()\n"  # waits on the pipe
        "say(tid=thread.native_id, main=threading.get_native_id())\n"
        "threading.Event().wait()\n"
    )
    one = child(code)
    key = host.processes.read(one.pid, ProcessRequest(fields=frozenset())).key
    found = host.processes.detail(key, WHOLE - {"sockets"})
    paths = {file.path: file for file in found.open_files or ()}
    mine = next(file for path, file in paths.items() if path.lower().endswith("kept-open.txt"))
    assert (mine.kind, mine.mode) == ("file", "w")
    assert any(path.endswith("hostscope-named-event") and file.kind == "event" for path, file in paths.items())
    assert {one.told["tid"], one.told["main"]} <= {thread.tid for thread in found.threads or ()}
    names = {module.name.lower(): module for module in found.modules or ()}
    assert {"python.exe", "ntdll.dll", "kernel32.dll"} <= names.keys()
    assert found.modules is not None and found.modules[0].name.lower() == "python.exe"
    assert all(module.size_bytes > 0 and module.base for module in names.values())
    assert any(mapping.path and mapping.path.lower().endswith("python.exe") for mapping in found.maps or ())
    main = next(thread for thread in found.threads or () if thread.tid == one.told["main"])
    if main.start_address is None:
        skip_missing("NtQueryInformationThread", "gives no start addresses")
    assert main.start_module is not None and main.start_module.lower().endswith("python.exe")


def test_windows_of_a_child(host: Host, child: Start) -> None:
    code = (
        "import ctypes\nfrom ctypes import wintypes\n"
        "make = ctypes.windll.user32.CreateWindowExW\nmake.restype = wintypes.HWND\n"
        "window = make(0, 'STATIC', 'hostscope \\u00e9', 0, 0, 0, 9, 9, None, None, None, None)\n"
        "say(window=window, error=ctypes.windll.kernel32.GetLastError())\nwait()\n"
    )
    one = child(code)
    if not one.told["window"]:
        pytest.skip(f"no window can be made here: error {one.told['error']}")
    key = host.processes.read(one.pid, ProcessRequest(fields=frozenset())).key
    found = host.processes.detail(key, frozenset({"windows"})).windows
    assert found is not None
    mine = [window for window in found if window.handle == one.told["window"]]
    assert [(w.title, w.window_class.lower(), w.visible) for w in mine] == [("hostscope \u00e9", "static", False)]


def test_a_window_that_is_asked_to_close_ends_its_loop(child: Start) -> None:
    """What `kill` does first: the program sees it as a click on its cross."""
    code = (
        "import ctypes\nfrom ctypes import wintypes\n"
        "user32 = ctypes.windll.user32\nuser32.CreateWindowExW.restype = wintypes.HWND\n"
        "window = user32.CreateWindowExW(0, 'STATIC', 'close me', 0, 0, 0, 9, 9, None, None, None, None)\n"
        "say(window=window, error=ctypes.windll.kernel32.GetLastError())\n"
        "message = wintypes.MSG()\n"
        "while user32.IsWindow(window) and user32.GetMessageW(ctypes.byref(message), None, 0, 0):\n"
        "    user32.DispatchMessageW(ctypes.byref(message))\n"
        "say(closed=True)\n"
    )
    one = child(code)
    if not one.told["window"]:
        pytest.skip(f"no window can be made here: error {one.told['error']}")
    assert not desktop.ask_to_close(os.getpid())
    assert desktop.ask_to_close(one.pid)
    assert one.hear() == {"closed": True}


def test_another_process_than_the_one_that_was_meant_is_refused(host: Host) -> None:
    from msgspec.structs import replace

    ours = host.processes.read(os.getpid(), ProcessRequest(fields=frozenset())).key
    with pytest.raises(Mismatch):
        host.processes.detail(replace(ours, start=ours.start + 1), WHOLE)


def test_the_digest_is_of_the_program_that_runs(host: Host, child: Start) -> None:
    one = child(TELL)
    row = host.processes.read(one.pid, ProcessRequest(fields=frozenset({"exe"})))
    assert row.exe is not None
    found = host.files.digest(row.key, row.exe)
    content = Path(sys.executable).read_bytes()
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))


# Each call by itself, so that a report shows what this Windows has --------------------------------------------------


def test_the_kernel_tells_command_lines() -> None:
    from hostscope.platforms.windows.peb import command_line

    with unless_missing():
        assert "python" in command_line(2**64 - 1).lower()


def test_the_kernel_tells_images_of_unopened_processes() -> None:
    with unless_missing():
        assert ntdll.image_of(os.getpid()).lower().endswith("python.exe")


def test_handles_are_counted(child: Start) -> None:
    one = child(TELL)
    with handles.opened(one.pid, handles.PROCESS_QUERY_LIMITED_INFORMATION) as handle, unless_missing():
        count = native.handle_count(handle)
    if not count:
        skip_missing("GetProcessHandleCount", "gives zero")
    assert count > 3


def test_gui_objects_are_counted(child: Start) -> None:
    one = child(TELL)
    with handles.opened(one.pid, handles.PROCESS_QUERY_INFORMATION) as handle, unless_missing():
        assert native.gui_objects(handle, native.GR_USEROBJECTS) >= 0


def test_a_process_outside_of_packages_has_none() -> None:
    with handles.opened(os.getpid(), handles.PROCESS_QUERY_LIMITED_INFORMATION) as handle, unless_missing():
        assert native.package_name(handle) is None


def test_transferred_bytes_are_counted(host: Host, child: Start, tmp_path: Path) -> None:
    one = child(
        f"say()\nif wait():\n    open({str(tmp_path / 'x')!r}, 'wb').write(bytes(1 << 20))\n    say()\n    wait()\n"
    )
    one.ask()
    row = host.processes.read(one.pid, ProcessRequest(fields=frozenset({"io"})))
    assert row.io is not None
    if not row.io.written_call_bytes:
        skip_missing("NtQuerySystemInformation", "counts no bytes of I/O")
    assert row.io.written_call_bytes >= 1 << 20


# Views --------------------------------------------------------------------------------------------------------------


def test_every_view_shows_a_child(child: Start) -> None:
    one = child(TELL)
    views = {view.name: view for view in every_view(probe_budget_s=120)}
    assert list(views) == ["listing", "toolhelp", "enum_processes", "probe"]
    for view in views.values():
        assert one.pid in view.pids, view.name
        assert view.gaps == ()


def test_creation_times_of_the_list_and_of_handles_are_equal() -> None:
    for listed in read_processes():
        try:
            with handles.opened(listed.pid, handles.PROCESS_QUERY_LIMITED_INFORMATION) as handle:
                assert native.times(handle)[0] == listed.created, listed.name
        except OSError as ended:
            assert getattr(ended, "winerror", None) in (5, 87)
