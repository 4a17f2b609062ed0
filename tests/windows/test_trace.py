"""Traces of real children that make the calls, with the arguments they say they gave."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.errors import Unsupported, UsageError
from hostscope.model.event import SystemCall
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.control import Control
from hostscope.platforms.windows.host import open_host
from hostscope.platforms.windows.native import debug
from hostscope.platforms.windows.trace_calls import FUNCTIONS
from tests.windows.children import Child
from tests.windows.keys import key_of

CALLER = """
import ctypes
from ctypes import byref, c_void_p, c_size_t, c_uint
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.VirtualAlloc.restype = kernel32.VirtualAllocEx.restype = kernel32.CreateRemoteThread.restype = c_void_p
kernel32.VirtualAlloc.argtypes = [c_void_p, c_size_t, c_uint, c_uint]
kernel32.VirtualAllocEx.argtypes = [c_void_p, c_void_p, c_size_t, c_uint, c_uint]
kernel32.VirtualProtect.argtypes = [c_void_p, c_size_t, c_uint, c_void_p]
kernel32.VirtualProtectEx.argtypes = [c_void_p, c_void_p, c_size_t, c_uint, c_void_p]
kernel32.WriteProcessMemory.argtypes = [c_void_p, c_void_p, c_void_p, c_size_t, c_void_p]
kernel32.CreateRemoteThread.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_uint, c_void_p]
kernel32.OpenProcess.restype = kernel32.GetCurrentProcess.restype = kernel32.GetModuleHandleW.restype = c_void_p
kernel32.GetProcAddress.restype = c_void_p
kernel32.GetProcAddress.argtypes = [c_void_p, ctypes.c_char_p]
kernel32.WaitForSingleObject.argtypes = [c_void_p, c_uint]
old, written = c_uint(), c_size_t()
ours = kernel32.GetCurrentProcess()
sleep = kernel32.GetProcAddress(kernel32.GetModuleHandleW("kernel32"), b"Sleep")
say(ready=True)
target = wait()
other = kernel32.OpenProcess(0x1fffff, False, int(target)) if target.isdigit() else ours
data = kernel32.VirtualAlloc(None, 0x3000, 0x3000, 4)
kernel32.VirtualProtect(data, 0x1000, 0x20, byref(old))
both = kernel32.VirtualAllocEx(other, None, 0x2000, 0x3000, 0x40)
kernel32.VirtualProtectEx(other, both, 0x1000, 2, byref(old))
kernel32.WriteProcessMemory(other, both + 0x1000, b"payload!", 8, byref(written))
failed = kernel32.VirtualProtect(0x10, 0x1000, 4, byref(old))
thread = kernel32.CreateRemoteThread(other, None, 0, sleep, 0, 0, None)
kernel32.WaitForSingleObject(thread, 10000)
say(data=data, both=both, sleep=sleep, failed=failed)
wait()
say(alive=True)
wait()
"""
DEBUG_PROCESS = 1
WAITER = "say(ready=True); wait()"


@contextmanager
def tracing(*options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`hostscope trace`, once it traces."""
    command = [sys.executable, "-m", "hostscope", "trace", "--format", "ndjson", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout and b'"coverage"' in running.stdout.readline()
            yield running
        finally:
            running.kill()


class Traced:
    """The debugger in a thread of its own, as it wants it: what it yields, until `end`."""

    def __init__(self, one: Child, *calls: str, children: bool = True) -> None:
        self.bodies: queue.Queue[Any] = queue.Queue()
        self.tally = Tally()
        self.events: list[tuple[Any, Any]] = []
        self._stop, self._attached = threading.Event(), threading.Event()
        request = TraceRequest((key_of(one.pid),), calls or ("all",), children, method="debugger")
        self._thread = threading.Thread(target=self._run, args=(request,), daemon=True)
        self._thread.start()
        assert self._attached.wait(60)

    def _run(self, request: TraceRequest) -> None:
        try:
            for event in Control().trace(request, self._stop, self.tally):
                self._attached.set()
                self.events.append((event.key, event.body))
                self.bodies.put(event.body)
        finally:
            self.bodies.put(None)

    def until(self, last: str) -> list[SystemCall]:
        """The calls up to one of this name."""
        found: list[SystemCall] = []
        while not found or found[-1].call != last:
            body = self.bodies.get(timeout=60)
            assert body is not None, "it ended before"
            found += [body] if isinstance(body, SystemCall) else []
        return found

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def bodies(running: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
    assert running.stdout
    for line in running.stdout:
        found = json.loads(line)
        if found["type"] == "event":
            yield found["event"]["body"]


def texts(call: SystemCall) -> dict[str, str]:
    return {argument.name: argument.text for argument in call.arguments}


def test_every_call_with_its_arguments_and_result(child: Callable[..., Child]) -> None:
    target, one = child(WAITER), child(CALLER)
    traced = Traced(one)
    told = one.ask(str(target.pid))
    calls = traced.until("CreateRemoteThread")
    traced.end()
    by_name: dict[str, list[SystemCall]] = {}
    for call in calls:
        by_name.setdefault(call.call, []).append(call)
    assert set(by_name) == {function.name for function in FUNCTIONS}
    alloc = next(call for call in by_name["VirtualAlloc"] if call.result == told["data"])
    assert texts(alloc) == {
        "lpAddress": "NULL", "dwSize": "12288", "flAllocationType": "MEM_COMMIT|MEM_RESERVE",
        "flProtect": "PAGE_READWRITE",
    }  # fmt: skip
    protect = next(call for call in by_name["VirtualProtect"] if texts(call)["lpAddress"] == hex(told["data"]))
    assert texts(protect)["flNewProtect"] == "PAGE_EXECUTE_READ"
    assert texts(protect)["lpflOldProtect"] == "[PAGE_READWRITE]"
    assert list(protect.flags) == ["w-to-x"] and "+0x" in (protect.caller or "")
    (remote,) = by_name["VirtualAllocEx"]
    assert remote.result == told["both"] and f"(process {target.pid})" in texts(remote)["hProcess"]
    assert set(remote.flags) == {"other-process", "executable-anonymous", "writable-executable"}
    (write,) = by_name["WriteProcessMemory"]
    assert (texts(write)["nSize"], texts(write)["lpNumberOfBytesWritten"]) == ("8", "[8]")
    refused = next(call for call in by_name["VirtualProtect"] if texts(call)["lpAddress"] == "0x10")
    assert refused.result == 0 and (refused.error or "").startswith("ERROR_")
    (thread,) = by_name["CreateRemoteThread"]
    assert texts(thread)["lpStartAddress"] == hex(told["sleep"]) and thread.result
    assert by_name["NtCreateThreadEx"][0].result == 0
    assert one.ask() == {"alive": True}, "the process runs on, without breakpoints"


def test_nothing_is_left_in_the_process(child: Callable[..., Child]) -> None:
    """The first bytes of the functions are what they were."""
    one = child(WAITER)
    memory, key = open_host().memory, key_of(one.pid)
    with memory.open(key) as space:
        code = [region for region in memory.regions(key, False) if region.kind == "image" and "x" in region.permissions]
        before = {region.start: space.read_bytes(region.start, region.size_bytes) for region in code}
        with tracing(str(one.pid), "--method", "debugger", "--duration", "2") as running:
            assert running.wait(60) == 0
        after = {region.start: space.read_bytes(region.start, region.size_bytes) for region in code}
    assert before == after
    assert one.process.poll() is None


def test_threads_that_call_all_the_time(child: Callable[..., Child]) -> None:
    """All threads at once, and a detach in the middle of it."""
    code = (
        CALLER.split("say(ready=True)", 1)[0]
        + """
import threading
stop = False
def busy():
    while not stop:
        place = kernel32.VirtualAlloc(None, 0x1000, 0x3000, 4)
        kernel32.VirtualProtect(place, 0x1000, 2, byref(c_uint()))
        kernel32.VirtualFree(c_void_p(place), c_size_t(0), 0x8000)
threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads: thread.start()
say(ready=True)
wait()
stop = True
for thread in threads: thread.join()
say(alive=True)
wait()
"""
    )
    one = child(code)
    traced = Traced(one, "VirtualAlloc", "VirtualProtect")
    found: list[SystemCall] = []
    while len(found) < 200 or len({call.tid for call in found}) < 4:
        body = traced.bodies.get(timeout=60)
        found += [body] if isinstance(body, SystemCall) else []
    traced.end()
    assert {call.error for call in found} == {None}
    assert one.ask() == {"alive": True}


def test_regions_and_threads_without_attaching(child: Callable[..., Child]) -> None:
    one = child(CALLER)
    with tracing(str(one.pid), "--method", "regions", "--duration", "300") as running:
        told = one.ask("self")
        seen: list[dict[str, Any]] = []
        for body in bodies(running):
            seen.append(body)
            if body["type"] == "memory" and body["start"] == told["both"] + 0x1000:
                break
    memory = {body["start"]: body for body in seen if body["type"] == "memory"}
    executable = memory[told["data"]]
    assert (executable["what"], executable["after"]) == ("mapped", "r-xp")
    assert executable["flags"] == ["executable-anonymous"]
    assert set(memory[told["both"] + 0x1000]["flags"]) == {"executable-anonymous", "writable-executable"}
    assert one.ask() == {"alive": True}


def test_a_command_is_traced_from_its_first_instruction() -> None:
    script = CALLER.replace("say(ready=True)", "").replace("wait()", "''").replace("say(", "dict(")
    command = [sys.executable, "-m", "hostscope", "trace", "--format", "ndjson", "--calls", "CreateRemoteThread", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", "import sys\n" + script + "\nsys.exit(17)"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 17, done.stderr
    calls = [json.loads(line) for line in done.stderr.splitlines() if b'"syscall"' in line]
    assert [call["event"]["body"]["call"] for call in calls] == ["CreateRemoteThread"]


def test_who_is_not_asked_for_is_not_stopped(child: Callable[..., Child]) -> None:
    one = child(WAITER)
    request = TraceRequest((key_of(one.pid),), ("memory",))
    with pytest.raises(Unsupported, match="signed security products"):
        open_host().syscalls.watch(request, threading.Event(), Tally())
    with pytest.raises(Unsupported, match="debugger"):
        Control().trace(request, threading.Event(), Tally())
    with pytest.raises(UsageError, match="mprotect"):
        Control().trace(TraceRequest((key_of(one.pid),), ("mprotect",)), threading.Event(), Tally())


LEAF = "import ctypes; ctypes.windll.kernel32.VirtualAlloc(None, 0x7000, 0x2000, 4)"
FAMILY = f"import subprocess,sys; {LEAF}; raise SystemExit(subprocess.call([sys.executable, '-c', {LEAF!r}]))"


def is_leaf(call: SystemCall) -> bool:
    return texts(call)["dwSize"] == str(0x7000)


@pytest.mark.parametrize(("children", "callers"), [(True, 2), (False, 1)])
def test_children_are_followed_or_left_alone(children: bool, callers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started with DEBUG_PROCESS, because Wine does not let an attached process pass its debugger on (0xC0000002)."""
    monkeypatch.setattr(debug, "attach", lambda pid: debug.kernel32.DebugSetProcessKillOnExit(False))
    monkeypatch.setattr(debug, "set_inherits", lambda process, wanted: None)
    command = [sys.executable, "-c", FAMILY]
    tally = Tally()
    with subprocess.Popen(command, creationflags=DEBUG_PROCESS, stdin=subprocess.DEVNULL) as family:
        request = TraceRequest((key_of(family.pid),), ("VirtualAlloc",), children, method="debugger")
        events = Control().trace(request, threading.Event(), tally)
        seen = [each.key for each in events if isinstance(each.body, SystemCall) and is_leaf(each.body)]
        assert family.wait(60) == 0, "its child ran to its end, too"
    assert len(seen) == callers and seen[0] and seen[0].pid == family.pid
    assert any("were stopped as well" in effect for effect in tally.effects) is children


def test_what_an_attached_process_starts_lives(child: Callable[..., Child]) -> None:
    one = child(
        f"import subprocess\nsay(ready=True)\nwait()\nsay(code=subprocess.call([sys.executable, '-c', {LEAF!r}]))"
    )
    traced = Traced(one, "VirtualAlloc")
    assert one.ask() == {"code": 0}
    traced.end()
    followed = {body.call for key, body in traced.events if key and key.pid != one.pid}
    assert followed or any("may not be followed" in note for note in traced.tally.notes)
