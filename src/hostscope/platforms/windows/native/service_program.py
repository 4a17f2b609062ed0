"""Being a service: what the service control manager calls in a program that it started (advapi32)."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from hostscope.platforms.windows.native.library import Library, SystemRefused, failed, last_error
from hostscope.platforms.windows.native.services import SERVICE_STATUS
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, POINTER, PVOID

SERVICE_WIN32_OWN_PROCESS = 0x00000010
SERVICE_STOPPED = 0x00000001
SERVICE_STOP_PENDING = 0x00000003
SERVICE_RUNNING = 0x00000004
SERVICE_ACCEPT_STOP = 0x00000001
SERVICE_ACCEPT_SHUTDOWN = 0x00000004
SERVICE_CONTROL_STOP = 0x00000001
SERVICE_CONTROL_INTERROGATE = 0x00000004
SERVICE_CONTROL_SHUTDOWN = 0x00000005
NO_ERROR = 0
ERROR_CALL_NOT_IMPLEMENTED = 120
ERROR_SERVICE_SPECIFIC_ERROR = 1066
_WAIT_HINT_MS = 10_000
_PATIENCE_S = 30.0
_make: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
_MAIN: Any = _make(None, DWORD, PVOID)
_HANDLER: Any = _make(DWORD, DWORD, DWORD, PVOID, PVOID)


class SERVICE_TABLE_ENTRYW(ctypes.Structure):
    _fields_ = [("lpServiceName", ctypes.c_wchar_p), ("lpServiceProc", _MAIN)]


SIGNATURES = {
    "StartServiceCtrlDispatcherW": (BOOL, (POINTER(SERVICE_TABLE_ENTRYW),)),
    "RegisterServiceCtrlHandlerExW": (HANDLE, (LPCWSTR, _HANDLER, PVOID)),
    "SetServiceStatus": (BOOL, (HANDLE, POINTER(SERVICE_STATUS))),
}
advapi32 = Library("advapi32", SIGNATURES)


class ServiceProgram:
    """This program as a service: running from `begin` to `end`, in threads beside the main one.

    The dispatcher keeps the thread that called it until the service has stopped, and the manager runs the service's
    function in another: the command itself stays in the program's main thread, where signals and interrupts are.
    """

    def __init__(self, name: str, told: Callable[[str], object]) -> None:
        """`told` is called with ``stop`` or ``shutdown`` when the manager asks for that."""
        self._name, self._told = name, told
        self._main, self._handler = _MAIN(self._service_main), _HANDLER(self._control)
        self._begun, self._ended = threading.Event(), threading.Event()
        self._status: int | None = None
        self._error = 0
        self._thread = threading.Thread(target=self._dispatch, name="service dispatcher", daemon=True)

    def begin(self) -> None:
        """Tells the manager that the service runs.

        Raises:
            SystemRefused: 1063 when it was not the manager who started this program.
        """
        self._thread.start()
        if not self._begun.wait(_PATIENCE_S):
            raise SystemRefused("StartServiceCtrlDispatcherW", 0, "the service control manager did not call back")
        if self._error:
            raise SystemRefused("StartServiceCtrlDispatcherW", self._error)

    def end(self, code: int) -> None:
        """Tells the manager that the service has stopped, and with which exit code of ours."""
        if self._status:
            self._report(SERVICE_STOPPED, code)
        self._ended.set()
        self._thread.join(_PATIENCE_S)

    def _dispatch(self) -> None:
        table = (SERVICE_TABLE_ENTRYW * 2)(SERVICE_TABLE_ENTRYW(self._name, self._main))
        if not advapi32.StartServiceCtrlDispatcherW(table):
            self._error = last_error()
            self._begun.set()

    def _service_main(self, count: int, arguments: int | None) -> None:
        self._status = advapi32.RegisterServiceCtrlHandlerExW(self._name, self._handler, None)
        if self._status:
            self._report(SERVICE_RUNNING)
        else:
            self._error = last_error()
        self._begun.set()
        self._ended.wait()

    def _control(self, control: int, kind: int, data: int | None, context: int | None) -> int:
        if control in (SERVICE_CONTROL_STOP, SERVICE_CONTROL_SHUTDOWN):
            self._report(SERVICE_STOP_PENDING)
            self._told("stop" if control == SERVICE_CONTROL_STOP else "shutdown")
            return NO_ERROR
        return NO_ERROR if control == SERVICE_CONTROL_INTERROGATE else ERROR_CALL_NOT_IMPLEMENTED

    def _report(self, state: int, code: int = 0) -> None:
        status = SERVICE_STATUS(
            dwServiceType=SERVICE_WIN32_OWN_PROCESS,
            dwCurrentState=state,
            dwControlsAccepted=SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN if state == SERVICE_RUNNING else 0,
            dwWin32ExitCode=ERROR_SERVICE_SPECIFIC_ERROR if code else NO_ERROR,
            dwServiceSpecificExitCode=code,
            dwWaitHint=_WAIT_HINT_MS if state == SERVICE_STOP_PENDING else 0,
        )
        if not advapi32.SetServiceStatus(self._status, ctypes.byref(status)):
            raise failed("SetServiceStatus")
