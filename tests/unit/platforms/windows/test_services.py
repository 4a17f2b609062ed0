"""Services on scripted answers of the service control manager, and its bytes parsed."""

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, Gone, Unavailable
from hostscope.model.event import CoverageChange, Loss, ServiceChange
from hostscope.model.gap import Reason
from hostscope.platforms.windows.native import folders
from hostscope.platforms.windows.native import services as native
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_services import (
    parse_config,
    parse_delayed,
    parse_description,
    parse_list,
    parse_status,
    parse_triggers,
    program_of,
)
from hostscope.platforms.windows.services import KEYS, Services, services_by_pid
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_security import Registry

RUNNING, STOPPED, START_PENDING = 4, 1, 2
OWN, SHARE, DRIVER = 0x10, 0x20, 0x01
ADDRESS = 0x10000


class Manager:
    """A service control manager with a script: services by name, with the fields of their status."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.services: dict[str, dict[str, int]] = {}
        self.refused: dict[str, int] = {}
        """Error by call, or by name of a service."""
        self.handles: dict[int, str] = {}
        self.closed = 0
        self.notices: dict[int, Any] = {}
        self.asleep: list[Callable[[], None]] = []
        scripted = {name: getattr(self, name) for name in native.SIGNATURES if hasattr(self, name)}
        script(patch, native.advapi32, **scripted)
        script(patch, native.kernel32, SleepEx=self.SleepEx)
        script(patch, folders.kernel32, GetSystemWindowsDirectoryW=self.GetSystemWindowsDirectoryW)
        self.commands: dict[str, str | None] = {}
        """Of services that have another one than all others."""

    def add(self, name: str, state: int = RUNNING, kind: int = OWN, pid: int = 7, code: int = 0, own: int = 0) -> None:
        self.services[name] = {
            "dwServiceType": kind, "dwCurrentState": state, "dwProcessId": pid, "dwWin32ExitCode": code,
            "dwServiceSpecificExitCode": own,
        }  # fmt: skip

    def refuse(self, code: int) -> int:
        set_last_error(code)
        return 0

    def GetSystemWindowsDirectoryW(self, buffer: Any, units: int) -> int:
        raw = r"C:\Windows".encode("utf-16-le")
        ctypes.memmove(buffer, raw, len(raw))
        return len(raw) // 2

    def OpenSCManagerW(self, *_: object) -> int:
        return self.refuse(self.refused["OpenSCManagerW"]) if "OpenSCManagerW" in self.refused else 1

    def OpenServiceW(self, manager: int, name: str, access: int) -> int:
        if name in self.refused or name not in self.services:
            return self.refuse(self.refused.get(name, native.ERROR_SERVICE_DOES_NOT_EXIST))
        handle = len(self.handles) + 100
        self.handles[handle] = name
        return handle

    def CloseServiceHandle(self, handle: int) -> int:
        self.closed += 1
        return 1

    def EnumServicesStatusExW(
        self, manager: int, level: int, kinds: int, states: int, buffer: Any, size: int, needed: Any, count: Any,
        resume: Any, group: object,
    ) -> int:  # fmt: skip
        if "EnumServicesStatusExW" in self.refused:
            return self.refuse(self.refused["EnumServicesStatusExW"])
        chosen = [(name, status) for name, status in self.services.items() if status["dwServiceType"] & kinds]
        page = chosen[resume._obj.value : resume._obj.value + 2]
        entries = (native.ENUM_SERVICE_STATUS_PROCESSW * len(page)).from_buffer(buffer)
        texts = Texts(buffer, size)
        for entry, (name, status) in zip(entries, page, strict=True):
            entry.lpServiceName, entry.lpDisplayName = texts.add(name), texts.add(name.upper())
            entry.ServiceStatusProcess = native.SERVICE_STATUS_PROCESS(**status)
        count._obj.value = len(page)
        resume._obj.value += len(page)
        return 1 if resume._obj.value >= len(chosen) else self.refuse(native.ERROR_MORE_DATA)

    def QueryServiceConfigW(self, service: int, buffer: Any, size: int, needed: Any) -> int:
        if "QueryServiceConfigW" in self.refused:
            return self.refuse(self.refused["QueryServiceConfigW"])
        if size < 4096:
            needed._obj.value = 4096
            return self.refuse(native.ERROR_INSUFFICIENT_BUFFER)
        texts, config = Texts(buffer, size), native.QUERY_SERVICE_CONFIGW.from_buffer(buffer)
        config.dwStartType, config.dwErrorControl = 2, 1
        command = self.commands.get(self.handles[service], r"C:\x.exe -k group")
        config.lpBinaryPathName = texts.add(command) if command is not None else 0
        config.lpServiceStartName = texts.add("LocalSystem")
        config.lpLoadOrderGroup = texts.add("")
        config.lpDependencies = texts.add("RpcSs\0+TDI\0")
        return 1

    def QueryServiceConfig2W(self, service: int, level: int, buffer: Any, size: int, needed: Any) -> int:
        if level == native.SERVICE_CONFIG_TRIGGER_INFO and "triggers" in self.refused:
            return self.refuse(self.refused["triggers"])
        texts = Texts(buffer, size)
        if level == native.SERVICE_CONFIG_DESCRIPTION:
            struct.pack_into("<Q", buffer, 0, texts.add("What it does"))
        elif level == native.SERVICE_CONFIG_DELAYED_AUTO_START_INFO:
            struct.pack_into("<I", buffer, 0, 1)
        else:
            start = ctypes.addressof(buffer)
            struct.pack_into("<I4xQQ", buffer, 0, 1, start + 32, 0)
            struct.pack_into("<IIQI4xQ", buffer, 32, 2, 1, start + 64, 0, 0)
            buffer[64:80] = bytes(range(16))
        return 1

    def QueryServiceStatusEx(self, service: int, level: int, status: Any, size: int, needed: Any) -> int:
        for field, value in self.services[self.handles[service]].items():
            setattr(status._obj, field, value)
        return 1

    def NotifyServiceStatusChangeW(self, service: int, mask: int, notice: Any) -> int:
        name = self.handles[service]
        if "NotifyServiceStatusChangeW" in self.refused:
            return self.refused["NotifyServiceStatusChangeW"]
        if f"again {name}" in self.refused and service in self.notices:
            return self.refused[f"again {name}"]
        self.notices[service] = notice._obj
        return 0

    def SleepEx(self, milliseconds: int, alertable: int) -> int:
        if self.asleep:
            self.asleep.pop(0)()
        return 0

    def change(self, name: str, **status: int) -> None:
        """Changes a service's state and tells whoever asked to be told."""
        self.services[name].update(status)
        for handle, notice in self.notices.items():
            if self.handles[handle] == name:
                notice.ServiceStatus = native.SERVICE_STATUS_PROCESS(**self.services[name])
                notice.pfnNotifyCallback(0)


class Texts:
    """Puts texts at the end of a buffer, as the manager does."""

    def __init__(self, buffer: Any, size: int) -> None:
        self.buffer, self.at = buffer, size

    def add(self, text: str) -> int:
        raw = text.encode("utf-16-le") + b"\0\0"
        self.at -= len(raw)
        self.buffer[self.at : self.at + len(raw)] = raw
        return ctypes.addressof(self.buffer) + self.at


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    return Manager(monkeypatch)


def test_services_with_their_configuration(manager: Manager) -> None:
    manager.add("Spooler", kind=SHARE, pid=900)
    manager.add("disk", kind=DRIVER, pid=0)
    manager.add("Broken", STOPPED, pid=0, code=1066, own=42)
    rows = {row.name: row for row in Services().services()}
    spooler, broken, disk = rows["Spooler"], rows["Broken"], rows["disk"]
    assert (spooler.state, spooler.substate, spooler.main_pid, spooler.start_mode) == ("active", "running", 900, "auto")
    assert spooler.scm and (spooler.scm.kind, spooler.scm.account) == ("share-process", "LocalSystem")
    assert spooler.scm.dependencies == ("RpcSs", "+TDI") and spooler.scm.delayed is True
    assert spooler.scm.triggers == ("start on ip-address {03020100-0504-0706-0809-0a0b0c0d0e0f}",)
    assert spooler.description == "What it does" and spooler.path == r"C:\x.exe -k group"
    assert disk.type == "driver" and disk.scm and disk.scm.account is None and disk.main_pid is None
    assert (broken.state, broken.scm and broken.scm.exit_code) == ("failed", 42)
    assert not spooler.gaps


def test_programs_and_libraries(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Registry(monkeypatch, {
        f"{KEYS}\\Hosted\\Parameters": {"ServiceDll": r"%SystemRoot%\System32\hosted.dll"},
        f"{KEYS}\\Older": {"ServiceDll": r"C:\older.dll"},
    })  # fmt: skip
    manager.add("disk", kind=DRIVER, pid=0)
    for name in ("Hosted", "Older", "Shut", "Own"):
        manager.add(name)
    host = r"C:\Windows\system32\svchost.exe -k netsvcs -p"
    manager.commands = {"disk": None, "Hosted": host, "Older": host, "Shut": host, "Own": r'"C:\A B\x.exe" -s'}
    keys.refusals[f"{KEYS}\\Shut\\Parameters"] = 5
    rows = {row.name: row for row in Services().services()}
    found = {name: (row.scm.program, row.scm.library) for name, row in rows.items() if row.scm}
    assert found == {
        "disk": (r"C:\Windows\System32\drivers\disk.sys", None),
        "Hosted": (r"C:\Windows\system32\svchost.exe", r"C:\Windows\System32\hosted.dll"),
        "Older": (r"C:\Windows\system32\svchost.exe", r"C:\older.dll"),
        "Shut": (r"C:\Windows\system32\svchost.exe", None),
        "Own": (r"C:\A B\x.exe", None),
    }
    assert [(gap.field, gap.reason) for gap in rows["Shut"].gaps] == [("scm.library", Reason.DENIED)]
    assert not any(row.gaps for name, row in rows.items() if name != "Shut")


COMMANDS = {
    r'"C:\Program Files\A\a.exe" --service': r"C:\Program Files\A\a.exe",
    r"C:\Program Files\A\a.exe --service": r"C:\Program Files\A\a.exe",
    r"c:\a.EXE": r"c:\a.EXE",
    r"\SystemRoot\System32\drivers\x.sys": r"C:\Windows\System32\drivers\x.sys",
    r"system32\DRIVERS\x.sys": r"C:\Windows\system32\DRIVERS\x.sys",
    r"%windir%\x.exe -a": r"C:\Windows\x.exe",
    r"\??\D:\x.sys": r"D:\x.sys",
    "program argument": "program",
    '"': None,
    "  ": None,
}


@pytest.mark.parametrize(("command", "program"), COMMANDS.items())
def test_the_program_of_a_command(command: str, program: str | None) -> None:
    assert program_of(command, r"C:\Windows") == program


@given(st.text(), st.text())
def test_any_command_has_a_program_or_none(command: str, root: str) -> None:
    found = program_of(command, root)
    assert found is None or isinstance(found, str)


def test_one_service_and_none(manager: Manager) -> None:
    manager.add("Never", STOPPED, pid=0, code=native.ERROR_SERVICE_NEVER_STARTED)
    found = Services().service("Never")
    assert found.state == "inactive" and found.scm and found.scm.exit_code is None
    with pytest.raises(Gone, match="no service is called 'other'"):
        Services().service("other")


def test_what_is_refused_is_a_gap_of_that_service(manager: Manager) -> None:
    manager.add("Open")
    manager.add("Shut")
    manager.refused["Shut"] = 5
    rows = {row.name: row for row in Services().services()}
    assert not rows["Open"].gaps
    assert {gap.field for gap in rows["Shut"].gaps} == {"start_mode", "path", "description", "scm"}
    assert {gap.reason for gap in rows["Shut"].gaps} == {Reason.DENIED}
    assert rows["Shut"].state == "active"


def test_a_class_of_information_that_is_missing_is_unsupported(manager: Manager) -> None:
    manager.add("Old")
    manager.refused["triggers"] = 124
    (row,) = Services().services()
    assert [(gap.field, gap.reason) for gap in row.gaps] == [("scm.triggers", Reason.UNSUPPORTED)]


def test_a_manager_that_refuses(manager: Manager) -> None:
    manager.refused["OpenSCManagerW"] = 5
    with pytest.raises(Denied):
        list(Services().services())


def test_services_of_a_process(manager: Manager) -> None:
    manager.add("A", kind=SHARE, pid=8)
    manager.add("B", kind=SHARE, pid=8)
    manager.add("C", STOPPED, pid=0)
    assert services_by_pid() == {8: ("A", "B")}


def test_handles_are_closed(manager: Manager) -> None:
    for name in "abc":
        manager.add(name)
    list(Services().services())
    assert manager.closed == len(manager.handles) + 1


def test_notices_tell_of_changes(manager: Manager) -> None:
    manager.add("S", STOPPED, pid=0, code=native.ERROR_SERVICE_NEVER_STARTED)
    stop = threading.Event()
    manager.asleep = [
        lambda: manager.change("S", dwCurrentState=START_PENDING, dwProcessId=9, dwWin32ExitCode=0),
        lambda: manager.change("S", dwCurrentState=RUNNING),
        stop.set,
    ]
    events = list(Services().changes(stop, 60))
    assert isinstance(events[0].body, CoverageChange) and events[0].body.coverage.method == "scm"
    seen = [event.body.after for event in events[1:] if isinstance(event.body, ServiceChange)]
    assert [(after and after.state, after and after.main_pid) for after in seen] == [("activating", 9), ("active", 9)]
    assert [event.seq for event in events] == [1, 2, 3] and {event.source for event in events} == {"scm"}


def test_a_notice_that_came_too_late_is_a_loss(manager: Manager) -> None:
    manager.add("S")
    stop = threading.Event()
    manager.refused["again S"] = native.ERROR_SERVICE_NOTIFY_CLIENT_LAGGING
    manager.asleep = [lambda: manager.change("S", dwCurrentState=3), stop.set]
    bodies = [event.body for event in Services().changes(stop, 60)]
    assert isinstance(bodies[1], ServiceChange) and isinstance(bodies[2], Loss)


def test_polling_where_there_are_no_notices(manager: Manager) -> None:
    manager.add("S")
    manager.add("T")
    manager.refused["NotifyServiceStatusChangeW"] = 50
    stop = threading.Event()
    stream = Services().changes(stop, 0)
    first = next(stream)
    assert isinstance(first.body, CoverageChange) and first.source == "polling"
    assert "gives no notices" in (first.body.coverage.method_reason or "")
    manager.change("S", dwCurrentState=STOPPED, dwProcessId=0)
    del manager.services["T"]
    changes = [next(stream), next(stream)]
    stop.set()
    assert not list(stream)
    bodies = [event.body for event in changes if isinstance(event.body, ServiceChange)]
    assert [body.after and body.after.substate for body in bodies] == ["stopped", None]


def test_texts_outside_of_the_answer_are_refused() -> None:
    raw = struct.pack("<QQ9I4x", 1, 2, *[0] * 9)
    with pytest.raises(ValueError, match="leads out"):
        list(parse_list(memoryview(raw), ADDRESS, 1))
    with pytest.raises(ValueError, match="does not end"):
        parse_description(memoryview(struct.pack("<Q", ADDRESS + 8) + b"a\0b\0"), ADDRESS)
    with pytest.raises(ValueError, match="services in"):
        list(parse_list(memoryview(raw), ADDRESS, 3))


def test_nonsense_ends_in_one_line(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.add("S")
    monkeypatch.setattr(native, "list_services", lambda *_: iter([(memoryview(bytes(4)), 0, 9)]))
    with pytest.raises(Unavailable, match="9 services in 4 bytes"):
        list(Services().services())


@given(st.binary(max_size=300), st.integers(0, 40), st.integers(0, 2**64 - 1))
def test_any_bytes_are_parsed_or_refused(raw: bytes, count: int, address: int) -> None:
    view = memoryview(raw)
    for parse in (
        lambda: list(parse_list(view, address, count)),
        lambda: parse_config(view, address),
        lambda: parse_triggers(view, address),
        lambda: parse_description(view, address),
        lambda: parse_delayed(view),
        lambda: parse_status(view),
    ):
        try:
            parse()
        except ValueError:
            continue


@given(st.binary(min_size=24, max_size=300), st.integers(0, 5))
def test_pointers_that_lead_somewhere_inside(raw: bytes, count: int) -> None:
    view = memoryview(struct.pack("<I4xQQ", count, ADDRESS + 24, 0) + raw)
    try:
        assert len(parse_triggers(view, ADDRESS)) == count
    except ValueError:
        assert count
