"""Windows' error codes, told apart."""

from hostscope.errors import Denied, Error, Gone, NativeError
from hostscope.model.gap import Gap, Reason

ERROR_INVALID_FUNCTION = 1
ERROR_ACCESS_DENIED = 5
ERROR_NOT_SUPPORTED = 50
ERROR_INVALID_PARAMETER = 87
"""OpenProcess answers this for a pid that no process has."""
ERROR_CALL_NOT_IMPLEMENTED = 120
ERROR_INVALID_LEVEL = 124
ERROR_PARTIAL_COPY = 299
"""ReadProcessMemory: only a part of the range was readable."""
ERROR_PRIVILEGE_NOT_HELD = 1314
STATUS_PARTIAL_COPY = 0x8000000D
STATUS_NOT_IMPLEMENTED = 0xC0000002
STATUS_INVALID_INFO_CLASS = 0xC0000003
STATUS_INVALID_CID = 0xC000000B
STATUS_ACCESS_DENIED = 0xC0000022
STATUS_PRIVILEGE_NOT_HELD = 0xC0000061
STATUS_NOT_SUPPORTED = 0xC00000BB
STATUS_PROCESS_IS_TERMINATING = 0xC000010A

REFUSED = frozenset({ERROR_ACCESS_DENIED, ERROR_PRIVILEGE_NOT_HELD, STATUS_ACCESS_DENIED, STATUS_PRIVILEGE_NOT_HELD})
VANISHED = frozenset({ERROR_INVALID_PARAMETER, STATUS_INVALID_CID, STATUS_PROCESS_IS_TERMINATING})
PARTIAL = frozenset({ERROR_PARTIAL_COPY, STATUS_PARTIAL_COPY})
LACKING = frozenset(
    {
        ERROR_INVALID_FUNCTION,
        ERROR_NOT_SUPPORTED,
        ERROR_CALL_NOT_IMPLEMENTED,
        ERROR_INVALID_LEVEL,
        STATUS_NOT_IMPLEMENTED,
        STATUS_INVALID_INFO_CLASS,
        STATUS_NOT_SUPPORTED,
    }
)
"""This Windows does not have the call or class of information."""
FACILITY_WIN32 = 0x8007
"""Begins the HRESULTs that are error codes of Windows'."""

DEBUG_HINT = "needs an administrator with SeDebugPrivilege"


def error(call: str, failed: OSError, pid: int | None = None) -> Error:
    """Our error for one of the system's."""
    who = f"process {pid}" if pid is not None else call
    code = _code(failed)
    if code in REFUSED:
        return Denied(f"{who}: access denied", DEBUG_HINT)
    if pid is not None and code in VANISHED:
        return Gone(f"{who}: there is no such process")
    return NativeError(call, code, failed.strerror or str(failed))


def gap(field: str, failed: OSError) -> Gap:
    """Our gap for a field that could not be read."""
    code = _code(failed)
    if code in REFUSED:
        return Gap(field, Reason.DENIED, DEBUG_HINT)
    if code in VANISHED:
        return Gap(field, Reason.GONE)
    if code in PARTIAL:
        return Gap(field, Reason.TRUNCATED, failed.strerror)
    if code in LACKING:
        return Gap(field, Reason.UNSUPPORTED, failed.strerror)
    return Gap(field, Reason.UNAVAILABLE, failed.strerror)


def _code(failed: OSError) -> int:
    # `winerror` exists on Windows only; errno there is the C library's poorer guess.
    code = getattr(failed, "winerror", None)
    if not isinstance(code, int):
        return failed.errno or 0
    return code & 0xFFFF if code >> 16 == FACILITY_WIN32 else code
