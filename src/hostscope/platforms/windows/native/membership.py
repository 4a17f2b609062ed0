"""Groups that we are in ourselves (advapi32), and whether we are an elevated administrator (shell32)."""

from ctypes import byref, create_string_buffer

from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, HANDLE, POINTER, PSID

SIGNATURES = {
    "CheckTokenMembership": (BOOL, (HANDLE, PSID, POINTER(BOOL))),
    "IsUserAnAdmin": (BOOL, ()),
}
advapi32 = Library("advapi32", SIGNATURES)
shell32 = Library("shell32", SIGNATURES)


def is_administrator() -> bool:
    """A member of Administrators whose membership counts: elevated, where UAC splits logons."""
    return bool(shell32.IsUserAnAdmin())


def is_member(sid: bytes) -> bool:
    """Whether the token of this thread has an enabled group.

    Raises:
        SystemRefused
    """
    found = BOOL()
    if not advapi32.CheckTokenMembership(None, create_string_buffer(sid, len(sid)), byref(found)):
        raise failed("CheckTokenMembership")
    return bool(found.value)
