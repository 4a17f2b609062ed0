"""Reading memory, identity and standing still, on scripted answers: what Wine cannot show, failures among it."""

import ctypes
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from hostscope.dumps.anomalies import region_anomalies
from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.gap import Reason
from hostscope.model.memory import Region
from hostscope.platforms.windows import identity, still, syscalls
from hostscope.platforms.windows.address_space import AddressSpace
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.memory import read_regions
from hostscope.platforms.windows.native import control, handles, memory, paths, process, snapshots
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_processes import ThreadEntry

PAGE = 4096
BOOT = Boot("here", 0)
KEY = BOOT.key(77, 4711)


class Privileges:
    """Notes what was raised, and what then can be opened."""

    def __init__(self) -> None:
        self.raised: list[tuple[str, ...]] = []

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        self.raised.append(names)
        return nullcontext()


class Kernel:
    """One process: its creation time, whether it has ended, and pages by number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.created, self.ended, self.opens = 4711, False, [99]
        self.pages: dict[int, bytes] = {}
        self.code, self.closed, self.reads = 299, 0, 0
        self.calls: list[str] = []
        monkeypatch.setitem(vars(handles.kernel32), "CloseHandle", self._close)
        monkeypatch.setitem(vars(handles.kernel32), "OpenProcess", self._open)
        monkeypatch.setitem(vars(process.kernel32), "GetProcessTimes", self._times)
        monkeypatch.setitem(vars(control.kernel32), "WaitForSingleObject", self._wait)
        monkeypatch.setitem(vars(memory.kernel32), "ReadProcessMemory", self._read)
        monkeypatch.setitem(vars(control.ntdll), "NtSuspendProcess", self._call("suspend"))
        monkeypatch.setitem(vars(control.ntdll), "NtResumeProcess", self._call("resume"))

    def _open(self, access: int, inherit: bool, pid: int) -> int:
        handle = self.opens.pop(0) if len(self.opens) > 1 else self.opens[0]
        set_last_error(5 if not handle else 0)
        return handle

    def _close(self, handle: int) -> int:
        self.closed += 1
        return 1

    def _times(self, handle: int, created: object, *others: object) -> int:
        into = created._obj  # type: ignore[attr-defined]
        into.dwLowDateTime, into.dwHighDateTime = self.created & 0xFFFF_FFFF, self.created >> 32
        return 1

    def _wait(self, handle: int, timeout: int) -> int:
        return 0 if self.ended else 258

    def _read(self, handle: int, address: int, into: int, size: int, count: object) -> int:
        """As Windows does: all, or ERROR_PARTIAL_COPY with nothing."""
        self.reads += 1
        numbers = range(address // PAGE, (address + size - 1) // PAGE + 1)
        if self.ended or any(number not in self.pages for number in numbers):
            set_last_error(self.code)
            return 0
        whole = b"".join(self.pages[number] for number in numbers)
        ctypes.memmove(into, whole[address % PAGE : address % PAGE + size], size)
        count._obj.value = size  # type: ignore[attr-defined]
        return 1

    def _call(self, name: str):  # type: ignore[no-untyped-def]
        def call(handle: int) -> int:
            self.calls.append(name)
            return 0

        return call


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


# Reading -------------------------------------------------------------------------------------------------------


def test_a_read_ends_before_the_first_page_that_cannot_be_read(kernel: Kernel) -> None:
    kernel.pages = {number: bytes([number]) * PAGE for number in range(1, 40)}
    space = AddressSpace(99, 77)
    for start, size, expected in (
        (PAGE, 39 * PAGE, 39 * PAGE),
        (PAGE, 64 * PAGE, 39 * PAGE),
        (PAGE + 100, 64 * PAGE, 39 * PAGE - 100),
        (39 * PAGE + 4095, 5000, 1),
        (40 * PAGE, PAGE, 0),
    ):
        found = space.read_bytes(start, size)
        assert len(found) == expected, (start, size)
        assert found == b"".join(kernel.pages.values())[start - PAGE : start - PAGE + expected]


def test_few_calls_find_the_end(kernel: Kernel) -> None:
    kernel.pages = {number: bytes(PAGE) for number in range(200)}
    assert AddressSpace(99, 77).read(0, memoryview(bytearray(256 * PAGE))) == 200 * PAGE
    assert kernel.reads <= 16


def test_a_process_that_ends_and_one_that_is_protected(kernel: Kernel) -> None:
    space = AddressSpace(99, 77)
    kernel.code = 5
    with pytest.raises(Denied):
        space.read_bytes(PAGE, 10)
    kernel.ended = True
    with pytest.raises(Gone):
        space.read_bytes(PAGE, 10)


def test_guards_and_reservations_are_not_read(kernel: Kernel) -> None:
    space = AddressSpace(99, 77)
    common = (0, PAGE, "rw-p", 0, "", 0, None)
    assert list(space.resident(Region(*common, guard=True))) == []
    assert list(space.resident(Region(*common, state="reserved"))) == []
    assert list(space.resident(Region(*common))) == [(0, PAGE)]


def test_of_files_from_servers_only_what_is_in_memory(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(process: int, pages: object, size: int) -> int:
        for index, page in enumerate(pages._obj):  # type: ignore[attr-defined]
            page.VirtualAttributes = index % 3 != 2
        return 1

    monkeypatch.setitem(vars(memory.psapi), "QueryWorkingSetEx", answer)
    region = Region(0, 6 * PAGE, "r--p", 0, "", 0, "\\\\server\\x.dll", served_by="network", kind="image")
    assert list(AddressSpace(99, 77).resident(region)) == [(0, 2 * PAGE), (3 * PAGE, 5 * PAGE)]


# Regions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1006, None), (59, None), (87, None), (5, Reason.DENIED)])
def test_a_file_whose_name_is_refused_is_a_gap(
    monkeypatch: pytest.MonkeyPatch, code: int, reason: Reason | None
) -> None:
    """Where the system says that there is no file, nothing is missing."""
    image = memory.MEMORY_BASIC_INFORMATION(PAGE, PAGE, 0x20, 0, PAGE, memory.MEM_COMMIT, 0x20, memory.MEM_IMAGE)
    monkeypatch.setattr(memory, "query", lambda process, address: image if address <= PAGE else None)
    monkeypatch.setattr(paths, "drives", dict)

    def refuse(*asked: object) -> int:
        set_last_error(code)
        return 0

    monkeypatch.setitem(vars(memory.psapi), "GetMappedFileNameW", refuse)
    (region,) = read_regions(99)
    assert (region.path, [gap.reason for gap in region.gaps]) == (None, [reason] if reason else [])
    assert region.has_file is bool(reason)  # an image has one, whatever it is called
    assert not reason or not list(region_anomalies([region]))


# Identity ------------------------------------------------------------------------------------------------------


def held(kernel: Kernel, key=KEY, privileges: Privileges | None = None) -> Iterator[int]:  # type: ignore[no-untyped-def]
    with identity.hold(BOOT, privileges or Privileges(), key, 0, "a test") as handle:  # type: ignore[arg-type]
        yield handle


def test_a_handle_is_compared_and_closed(kernel: Kernel) -> None:
    assert list(held(kernel)) == [99] and kernel.closed == 1
    kernel.created += 1
    with pytest.raises(Mismatch):
        list(held(kernel))
    kernel.created, kernel.ended = 4711, True
    with pytest.raises(Gone):
        list(held(kernel))
    assert kernel.closed == 3
    with pytest.raises(Mismatch, match="another boot"):
        list(held(kernel, Boot("there", 0).key(77, 4711)))


def test_the_debug_privilege_is_for_what_cannot_be_opened_without(kernel: Kernel) -> None:
    privileges = Privileges()
    list(held(kernel, privileges=privileges))
    assert privileges.raised == []
    kernel.opens = [0, 98]
    assert list(held(kernel, privileges=privileges)) == [98]
    assert privileges.raised == [("SeDebugPrivilege",)]
    kernel.opens = [0, 0]
    with pytest.raises(Denied):
        list(held(kernel, privileges=privileges))


# Standing still ------------------------------------------------------------------------------------------------


@contextmanager
def without_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(still, "_entries", lambda pid: [])
    yield


def missing(*arguments: object) -> int:
    raise Unsupported("there is no such function here")


def test_suspended_by_counting_where_there_is_no_object(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(control.ntdll), "NtCreateProcessStateChange", missing)
    frozen = still.freeze(BOOT, Privileges(), KEY)  # type: ignore[arg-type]
    with without_threads(monkeypatch), pytest.raises(ValueError, match="inside"), frozen:
        assert kernel.calls == ["suspend"]
        raise ValueError("inside")
    assert kernel.calls == ["suspend", "resume"]


def test_suspended_by_an_object_that_ends_with_us(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[int] = []

    def create(into: object, *arguments: object) -> int:
        into._obj.value = 55  # type: ignore[attr-defined]
        return 0

    def change(handle: int, process: int, state: int, *arguments: object) -> int:
        changes.append(state)
        return 0

    monkeypatch.setitem(vars(control.ntdll), "NtCreateProcessStateChange", create)
    monkeypatch.setitem(vars(control.ntdll), "NtChangeProcessState", change)
    with without_threads(monkeypatch), still.freeze(BOOT, Privileges(), KEY):  # type: ignore[arg-type]
        assert changes == [0]
    assert changes == [0, 1] and kernel.calls == [] and kernel.closed == 2


def test_a_snapshot_is_read_while_the_process_runs_on(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []

    def capture(process: int, flags: int, context: int, into: object) -> int:
        assert kernel.calls == ["suspend"] and flags == snapshots.PSS_CAPTURE_VA_CLONE
        into._obj.value = 500  # type: ignore[attr-defined]
        return 0

    def query(snapshot: int, kind: int, into: object, size: int) -> int:
        into._obj.VaCloneHandle = 501  # type: ignore[attr-defined]
        return 0

    monkeypatch.setitem(vars(control.ntdll), "NtCreateProcessStateChange", missing)
    monkeypatch.setitem(vars(snapshots.kernel32), "PssCaptureSnapshot", capture)
    monkeypatch.setitem(vars(snapshots.kernel32), "PssQuerySnapshot", query)
    monkeypatch.setitem(vars(handles.kernel32), "GetCurrentProcess", lambda: -1)
    monkeypatch.setitem(vars(snapshots.kernel32), "PssFreeSnapshot", lambda ours, one: freed.append(one))
    monkeypatch.setattr(still, "read_regions", lambda clone: (Region(clone, clone + 1, "r--p", 0, "", 0, None),))
    kernel.pages = {1: b"x" * PAGE}
    with without_threads(monkeypatch), still.snapshot(BOOT, Privileges(), KEY) as copy:  # type: ignore[arg-type]
        assert kernel.calls == ["suspend", "resume"], "it runs on while its copy is read"
        assert copy.regions[0].start == 501
        assert copy.space.read_bytes(PAGE, 4) == b"xxxx"
        assert "PssCaptureSnapshot" in copy.space.method
    assert freed == [500]
    monkeypatch.setitem(vars(snapshots.kernel32), "PssCaptureSnapshot", missing)
    with without_threads(monkeypatch), pytest.raises(Unsupported), still.snapshot(BOOT, Privileges(), KEY):  # type: ignore[arg-type]
        pass
    assert kernel.calls == ["suspend", "resume"] * 2


def threads_of(monkeypatch: pytest.MonkeyPatch, privileges: Privileges, denied: set[int]) -> list[int]:
    """Three threads, some of which only the debug privilege opens; those that were opened."""
    opened: list[int] = []

    def open_thread(access: int, inherit: bool, tid: int) -> int:
        refused = 87 if tid == 3 else 5 if tid in denied and not privileges.raised else 0
        set_last_error(refused)
        if not refused:
            opened.append(tid)
        return 0 if refused else tid

    entries = [ThreadEntry(0, 0, 1, 0, 0x7FF0, 77, tid, 8, 8, 0, 5, 0) for tid in (1, 2, 3, 4)]
    monkeypatch.setattr(still, "_entries", lambda pid: entries)
    monkeypatch.setattr(still.platform, "machine", lambda: "AMD64")
    for module in (still.threads, syscalls.threads):
        monkeypatch.setattr(module, "suspend", lambda thread: 0)
        monkeypatch.setattr(module, "resume", lambda thread: 1)
        monkeypatch.setattr(module, "context", lambda thread, size, *_: bytes(size))
        monkeypatch.setattr(module, "start_address", lambda thread: 0x1000 + thread)
    monkeypatch.setattr(still, "_block", lambda thread: None)
    monkeypatch.setitem(vars(handles.kernel32), "OpenThread", open_thread)
    return opened


@pytest.mark.parametrize(("denied", "raised"), [(set(), 0), ({1, 2, 4}, 1), ({4}, 1)])
def test_threads_of_other_users_are_read_with_the_debug_privilege(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, denied: set[int], raised: int
) -> None:
    """Administrators may open the process by it; its threads are objects of their own. It is raised once for all."""
    privileges = Privileges()
    opened = threads_of(monkeypatch, privileges, denied)
    found = still.registers(BOOT, privileges, KEY)  # type: ignore[arg-type]
    assert [bool(state.registers) for state in found] == [True, True, False, True] and opened == [1, 2, 4]
    assert [state.start_address for state in found] == [0x1001, 0x1002, None, 0x1004]
    assert found[2].unread
    assert privileges.raised == [("SeDebugPrivilege",)] * raised


def test_threads_that_stay_closed_say_so(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    privileges = Privileges()
    threads_of(monkeypatch, privileges, set())
    monkeypatch.setitem(vars(handles.kernel32), "OpenThread", lambda *_: set_last_error(5) or 0)
    found = still.registers(BOOT, privileges, KEY)  # type: ignore[arg-type]
    assert all(state.unread and not state.registers for state in found)
    assert privileges.raised == [("SeDebugPrivilege",)]


def test_where_threads_begin_is_asked_once_of_each_and_never_made_up(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address in the list of processes is the kernel's: the same for every thread, and in a library."""
    privileges = Privileges()
    opened = threads_of(monkeypatch, privileges, {2, 4})
    listed = type("Found", (), {"name": "a", "pid": 77, "thread_entries": lambda self: still._entries(77)})()
    monkeypatch.setattr(syscalls, "read_processes", lambda: [listed])
    space = type("Space", (), {"regions": lambda self, key, details: ()})()
    look = syscalls._Look(space, privileges, KEY)  # type: ignore[arg-type]
    assert {tid: facts.start_address for tid, facts in look._threads.items()} == {
        1: 0x1001,
        2: 0x1002,
        3: None,
        4: 0x1004,
    }
    assert look.untold and look.again(listed) == [] and opened == [1, 2, 4]
    assert privileges.raised == [("SeDebugPrivilege",)]


def test_an_interrupt_leaves_no_thread_behind(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when a thread was just suspended, which nothing would undo."""
    counts = {1: 0, 2: 0, 4: 0}
    threads_of(monkeypatch, Privileges(), set())

    def suspend(thread: int) -> int:
        counts[thread] += 1
        signal.raise_signal(signal.SIGINT)
        return 0

    def resume(thread: int) -> int:
        counts[thread] -= 1
        return 1

    monkeypatch.setattr(still.threads, "suspend", suspend)
    monkeypatch.setattr(still.threads, "resume", resume)
    with pytest.raises(KeyboardInterrupt):
        still.registers(BOOT, Privileges(), KEY)  # type: ignore[arg-type]
    assert set(counts.values()) == {0}


@pytest.mark.parametrize("name", ["NtSuspendProcess", "NtResumeProcess"])
def test_an_interrupt_leaves_no_process_behind(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(vars(control.ntdll), "NtCreateProcessStateChange", missing)
    act = vars(control.ntdll)[name]

    def interrupted(process: int) -> int:
        signal.raise_signal(signal.SIGINT)
        return int(act(process))

    monkeypatch.setitem(vars(control.ntdll), name, interrupted)
    frozen = still.freeze(BOOT, Privileges(), KEY)  # type: ignore[arg-type]
    with without_threads(monkeypatch), pytest.raises(KeyboardInterrupt), frozen:
        assert name == "NtResumeProcess", "the block is not entered"
    assert kernel.calls == ["suspend", "resume"]
