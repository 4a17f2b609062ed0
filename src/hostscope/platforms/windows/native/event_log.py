"""The event log, as those that write to it see it (advapi32)."""

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, POINTER, PVOID, WORD

EVENTLOG_ERROR_TYPE = 0x0001
EVENTLOG_WARNING_TYPE = 0x0002
EVENTLOG_INFORMATION_TYPE = 0x0004

SIGNATURES = {
    "RegisterEventSourceW": (HANDLE, (LPCWSTR, LPCWSTR)),
    "ReportEventW": (BOOL, (HANDLE, WORD, WORD, DWORD, PVOID, WORD, DWORD, POINTER(LPCWSTR), PVOID)),
    "DeregisterEventSource": (BOOL, (HANDLE,)),
}
advapi32 = Library("advapi32", SIGNATURES)


def report(source: str, kind: int, number: int, text: str) -> None:
    """Writes one entry to the application log.

    Raises:
        SystemRefused: such as 1502, the log is full.
    """
    log = advapi32.RegisterEventSourceW(None, source)
    if not log:
        raise failed("RegisterEventSourceW")
    try:
        texts = (LPCWSTR * 1)(text)
        if not advapi32.ReportEventW(log, kind, 0, number, None, 1, 0, texts, None):
            raise failed("ReportEventW")
    finally:
        advapi32.DeregisterEventSource(log)
