"""The service control manager (advapi32)."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hostscope.platforms.windows.native.library import Library, SystemRefused, failed, last_error
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, INT, LPCWSTR, POINTER, PVOID

SC_MANAGER_CONNECT = 0x0001
SC_MANAGER_CREATE_SERVICE = 0x0002
SC_MANAGER_ENUMERATE_SERVICE = 0x0004
SERVICE_QUERY_CONFIG = 0x0001
SERVICE_QUERY_STATUS = 0x0004
SERVICE_START = 0x0010
SERVICE_STOP = 0x0020
DELETE = 0x00010000
SC_ENUM_PROCESS_INFO = 0
SC_STATUS_PROCESS_INFO = 0
SERVICE_DRIVER = 0x0000000B
SERVICE_WIN32 = 0x00000030
SERVICE_STATE_ALL = 0x00000003
SERVICE_CONFIG_DESCRIPTION = 1
SERVICE_CONFIG_DELAYED_AUTO_START_INFO = 3
SERVICE_CONFIG_TRIGGER_INFO = 8
SERVICE_WIN32_OWN_PROCESS = 0x00000010
SERVICE_DEMAND_START = 0x00000003
SERVICE_ERROR_NORMAL = 0x00000001
SERVICE_CONTROL_STOP = 0x00000001
SERVICE_NOTIFY_STATUS_CHANGE = 2
SERVICE_NOTIFY_STOPPED = 0x00000001
SERVICE_NOTIFY_START_PENDING = 0x00000002
SERVICE_NOTIFY_STOP_PENDING = 0x00000004
SERVICE_NOTIFY_RUNNING = 0x00000008
SERVICE_NOTIFY_CONTINUE_PENDING = 0x00000010
SERVICE_NOTIFY_PAUSE_PENDING = 0x00000020
SERVICE_NOTIFY_PAUSED = 0x00000040
SERVICE_NOTIFY_CREATED = 0x00000080
SERVICE_NOTIFY_DELETED = 0x00000100
SERVICE_NOTIFY_DELETE_PENDING = 0x00000200
ERROR_INSUFFICIENT_BUFFER = 122
ERROR_MORE_DATA = 234
ERROR_SERVICE_DOES_NOT_EXIST = 1060
ERROR_SERVICE_MARKED_FOR_DELETE = 1072
ERROR_SERVICE_NEVER_STARTED = 1077
ERROR_SERVICE_NOTIFY_CLIENT_LAGGING = 1294

NOT_IN_HEADERS = {
    "SERVICE_TRIGGER": "winsvc.h of the Windows SDK, since Windows 7",
    "SERVICE_TRIGGER_INFO": "winsvc.h of the Windows SDK, since Windows 7",
    "SERVICE_NOTIFY_2W": "winsvc.h of the Windows SDK, since Windows Vista; live under Wine",
}

_FIRST_BYTES = 1 << 16
_LIMIT = 1 << 26
_CALLBACK: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)(None, PVOID)


class SERVICE_STATUS(ctypes.Structure):
    _fields_ = [
        ("dwServiceType", DWORD),
        ("dwCurrentState", DWORD),
        ("dwControlsAccepted", DWORD),
        ("dwWin32ExitCode", DWORD),
        ("dwServiceSpecificExitCode", DWORD),
        ("dwCheckPoint", DWORD),
        ("dwWaitHint", DWORD),
    ]


class SERVICE_STATUS_PROCESS(ctypes.Structure):
    _fields_ = [
        ("dwServiceType", DWORD),
        ("dwCurrentState", DWORD),
        ("dwControlsAccepted", DWORD),
        ("dwWin32ExitCode", DWORD),
        ("dwServiceSpecificExitCode", DWORD),
        ("dwCheckPoint", DWORD),
        ("dwWaitHint", DWORD),
        ("dwProcessId", DWORD),
        ("dwServiceFlags", DWORD),
    ]


class ENUM_SERVICE_STATUS_PROCESSW(ctypes.Structure):
    _fields_ = [
        ("lpServiceName", PVOID),
        ("lpDisplayName", PVOID),
        ("ServiceStatusProcess", SERVICE_STATUS_PROCESS),
    ]


class QUERY_SERVICE_CONFIGW(ctypes.Structure):
    _fields_ = [
        ("dwServiceType", DWORD),
        ("dwStartType", DWORD),
        ("dwErrorControl", DWORD),
        ("lpBinaryPathName", PVOID),
        ("lpLoadOrderGroup", PVOID),
        ("dwTagId", DWORD),
        ("lpDependencies", PVOID),
        ("lpServiceStartName", PVOID),
        ("lpDisplayName", PVOID),
    ]


class SERVICE_TRIGGER(ctypes.Structure):
    _fields_ = [
        ("dwTriggerType", DWORD),
        ("dwAction", DWORD),
        ("pTriggerSubtype", PVOID),
        ("cDataItems", DWORD),
        ("pDataItems", PVOID),
    ]


class SERVICE_TRIGGER_INFO(ctypes.Structure):
    _fields_ = [("cTriggers", DWORD), ("pTriggers", PVOID), ("pReserved", PVOID)]


class SERVICE_NOTIFY_2W(ctypes.Structure):
    """`dwNotificationStatus` is an error code; `pszServiceNames` is for SERVICE_NOTIFY_CREATED and DELETED."""

    _fields_ = [
        ("dwVersion", DWORD),
        ("pfnNotifyCallback", _CALLBACK),
        ("pContext", PVOID),
        ("dwNotificationStatus", DWORD),
        ("ServiceStatus", SERVICE_STATUS_PROCESS),
        ("dwNotificationTriggered", DWORD),
        ("pszServiceNames", PVOID),
    ]


SIGNATURES = {
    "OpenSCManagerW": (HANDLE, (LPCWSTR, LPCWSTR, DWORD)),
    "OpenServiceW": (HANDLE, (HANDLE, LPCWSTR, DWORD)),
    "CloseServiceHandle": (BOOL, (HANDLE,)),
    "EnumServicesStatusExW": (
        BOOL,
        (HANDLE, INT, DWORD, DWORD, PVOID, DWORD, POINTER(DWORD), POINTER(DWORD), POINTER(DWORD), LPCWSTR),
    ),
    "QueryServiceConfigW": (BOOL, (HANDLE, PVOID, DWORD, POINTER(DWORD))),
    "QueryServiceConfig2W": (BOOL, (HANDLE, DWORD, PVOID, DWORD, POINTER(DWORD))),
    "QueryServiceStatusEx": (BOOL, (HANDLE, INT, PVOID, DWORD, POINTER(DWORD))),
    "NotifyServiceStatusChangeW": (DWORD, (HANDLE, DWORD, PVOID)),
    "CreateServiceW": (
        HANDLE,
        (HANDLE, LPCWSTR, LPCWSTR, DWORD, DWORD, DWORD, DWORD, LPCWSTR, LPCWSTR, PVOID, LPCWSTR, LPCWSTR, LPCWSTR),
    ),
    "DeleteService": (BOOL, (HANDLE,)),
    "StartServiceW": (BOOL, (HANDLE, DWORD, PVOID)),
    "ControlService": (BOOL, (HANDLE, DWORD, PVOID)),
}
advapi32 = Library("advapi32", SIGNATURES)
_SLEEP_SIGNATURES = {"SleepEx": (DWORD, (DWORD, BOOL))}
kernel32 = Library("kernel32", _SLEEP_SIGNATURES)


@contextmanager
def opened_manager(access: int = SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE) -> Iterator[int]:
    """The service control manager of this host, for the block.

    Raises:
        SystemRefused
    """
    with _closed(advapi32.OpenSCManagerW(None, None, access), "OpenSCManagerW") as manager:
        yield manager


@contextmanager
def opened_service(manager: int, name: str, access: int) -> Iterator[int]:
    """One service, for the block.

    Raises:
        SystemRefused: 1060 when there is none of that name.
    """
    with _closed(advapi32.OpenServiceW(manager, name, access), "OpenServiceW") as service:
        yield service


@contextmanager
def created_service(manager: int, name: str, command: str) -> Iterator[int]:
    """A new service that starts when asked to, for the block: it stays when the block ends.

    Raises:
        SystemRefused
    """
    made = advapi32.CreateServiceW(
        manager, name, name, DELETE | SERVICE_START | SERVICE_STOP | SERVICE_QUERY_STATUS, SERVICE_WIN32_OWN_PROCESS,
        SERVICE_DEMAND_START, SERVICE_ERROR_NORMAL, command, None, None, None, None, None,
    )  # fmt: skip
    with _closed(made, "CreateServiceW") as service:
        yield service


@contextmanager
def _closed(handle: int | None, call: str) -> Iterator[int]:
    if not handle:
        raise failed(call)
    try:
        yield handle
    finally:
        advapi32.CloseServiceHandle(handle)


def list_services(manager: int, kinds: int = SERVICE_WIN32 | SERVICE_DRIVER) -> Iterator[tuple[memoryview, int, int]]:
    """Pages of the list: bytes, the address that they had, and how many entries there are in them.

    Raises:
        SystemRefused
    """
    resume, size = DWORD(0), _FIRST_BYTES
    while True:
        buffer: Any = (ctypes.c_char * size)()
        needed, count = DWORD(), DWORD()
        done = advapi32.EnumServicesStatusExW(
            manager, SC_ENUM_PROCESS_INFO, kinds, SERVICE_STATE_ALL, buffer, size, ctypes.byref(needed),
            ctypes.byref(count), ctypes.byref(resume), None,
        )  # fmt: skip
        if not done and last_error() != ERROR_MORE_DATA:
            raise failed("EnumServicesStatusExW")
        yield memoryview(buffer).cast("B"), ctypes.addressof(buffer), count.value
        if done:
            return
        if not count.value and size >= _LIMIT:
            raise SystemRefused("EnumServicesStatusExW", ERROR_MORE_DATA)
        if not count.value:
            size = min(max(needed.value, size * 2), _LIMIT)


def read_config(service: int) -> tuple[memoryview, int]:
    """QUERY_SERVICE_CONFIGW with the texts it points to, and the address that they had.

    Raises:
        SystemRefused
    """
    return _grown("QueryServiceConfigW", lambda *room: advapi32.QueryServiceConfigW(service, *room))


def read_extra(service: int, level: int) -> tuple[memoryview, int]:
    """The same of QueryServiceConfig2W.

    Raises:
        SystemRefused
    """
    return _grown("QueryServiceConfig2W", lambda *room: advapi32.QueryServiceConfig2W(service, level, *room))


def read_status(service: int) -> SERVICE_STATUS_PROCESS:
    """The state of one service.

    Raises:
        SystemRefused
    """
    found, needed = SERVICE_STATUS_PROCESS(), DWORD()
    size = ctypes.sizeof(found)
    if not advapi32.QueryServiceStatusEx(
        service, SC_STATUS_PROCESS_INFO, ctypes.byref(found), size, ctypes.byref(needed)
    ):
        raise failed("QueryServiceStatusEx")
    return found


def start_service(service: int) -> None:
    """Starts a service; returns before it runs.

    Raises:
        SystemRefused
    """
    if not advapi32.StartServiceW(service, 0, None):
        raise failed("StartServiceW")


def stop_service(service: int) -> None:
    """Asks a service to stop; returns before it has.

    Raises:
        SystemRefused
    """
    if not advapi32.ControlService(service, SERVICE_CONTROL_STOP, ctypes.byref(SERVICE_STATUS())):
        raise failed("ControlService")


def delete_service(service: int) -> None:
    """Marks a service for deletion: it goes with the last handle of it.

    Raises:
        SystemRefused
    """
    if not advapi32.DeleteService(service):
        raise failed("DeleteService")


def _grown(call: str, ask: Callable[..., int]) -> tuple[memoryview, int]:
    size, needed = 1024, DWORD()
    while True:
        buffer: Any = (ctypes.c_char * size)()
        if ask(buffer, size, ctypes.byref(needed)):
            return memoryview(buffer).cast("B"), ctypes.addressof(buffer)
        if last_error() != ERROR_INSUFFICIENT_BUFFER or not size < needed.value <= _LIMIT:
            raise failed(call)
        size = needed.value


class Notice:
    """One wish to be told of the next change of a service, or of the manager's list.

    The callback runs in this thread, inside `sleep_alertable`. The structure has to live until it ran or the handle was
    closed: whoever drops this must close the handle first.
    """

    def __init__(self, handle: int, mask: int) -> None:
        self._handle, self._mask = handle, mask
        self._callback = _CALLBACK(self._fired)
        self._data = SERVICE_NOTIFY_2W(SERVICE_NOTIFY_STATUS_CHANGE, self._callback)
        self.fired = False

    def ask(self) -> None:
        """Asks for the next change.

        Raises:
            SystemRefused: 1294 when changes were missed and the handle has to be opened anew, 1072 when the service is
                going to be deleted.
        """
        self.fired = False
        code = advapi32.NotifyServiceStatusChangeW(self._handle, self._mask, ctypes.byref(self._data))
        if code:
            raise SystemRefused("NotifyServiceStatusChangeW", code)

    def _fired(self, _: int | None) -> None:
        self.fired = True

    @property
    def status(self) -> SERVICE_STATUS_PROCESS:
        """As it was at the change."""
        found: SERVICE_STATUS_PROCESS = self._data.ServiceStatus
        return found


def sleep_alertable(milliseconds: int) -> None:
    """Sleeps so long, or until callbacks ran."""
    kernel32.SleepEx(milliseconds, True)
