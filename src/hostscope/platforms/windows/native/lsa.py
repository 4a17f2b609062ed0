"""Logon sessions, asked of the local security authority (secur32)."""

from ctypes import Structure, byref
from typing import NamedTuple

from hostscope.platforms.windows.native.library import Library, failed_status
from hostscope.platforms.windows.native.token import LUID
from hostscope.platforms.windows.native.types import LARGE_INTEGER, NTSTATUS, POINTER, PSID, PVOID, ULONG, USHORT


class LSA_UNICODE_STRING(Structure):
    """Counted UTF-16; lengths are bytes."""

    _fields_ = (("Length", USHORT), ("MaximumLength", USHORT), ("Buffer", PVOID))


class LSA_LAST_INTER_LOGON_INFO(Structure):
    """Earlier interactive logons."""

    _fields_ = (
        ("LastSuccessfulLogon", LARGE_INTEGER),
        ("LastFailedLogon", LARGE_INTEGER),
        ("FailedAttemptCountSinceLastSuccessfulLogon", ULONG),
    )


class SECURITY_LOGON_SESSION_DATA(Structure):
    """One logon session. Only fields that `Size` covers are there; those read here are in every version."""

    _fields_ = (
        ("Size", ULONG),
        ("LogonId", LUID),
        ("UserName", LSA_UNICODE_STRING),
        ("LogonDomain", LSA_UNICODE_STRING),
        ("AuthenticationPackage", LSA_UNICODE_STRING),
        ("LogonType", ULONG),
        ("Session", ULONG),
        ("Sid", PSID),
        ("LogonTime", LARGE_INTEGER),
        ("LogonServer", LSA_UNICODE_STRING),
        ("DnsDomainName", LSA_UNICODE_STRING),
        ("Upn", LSA_UNICODE_STRING),
        ("UserFlags", ULONG),
        ("LastLogonInfo", LSA_LAST_INTER_LOGON_INFO),
        ("LogonScript", LSA_UNICODE_STRING),
        ("ProfilePath", LSA_UNICODE_STRING),
        ("HomeDirectory", LSA_UNICODE_STRING),
        ("HomeDirectoryDrive", LSA_UNICODE_STRING),
        ("LogoffTime", LARGE_INTEGER),
        ("KickOffTime", LARGE_INTEGER),
        ("PasswordLastSet", LARGE_INTEGER),
        ("PasswordCanChange", LARGE_INTEGER),
        ("PasswordMustChange", LARGE_INTEGER),
    )


SIGNATURES = {
    "LsaGetLogonSessionData": (NTSTATUS, (POINTER(LUID), POINTER(POINTER(SECURITY_LOGON_SESSION_DATA)))),
    "LsaFreeReturnBuffer": (NTSTATUS, (PVOID,)),
}
secur32 = Library("secur32", SIGNATURES)


class Logon(NamedTuple):
    """What is told of a logon session."""

    kind: int
    """SECURITY_LOGON_TYPE."""
    session: int
    """Terminal session."""


def read_logon(low: int, high: int) -> Logon:
    """The logon session with this LUID.

    Needs: an administrator, or the session's own user.

    Raises:
        SystemRefused
    """
    found = POINTER(SECURITY_LOGON_SESSION_DATA)()
    status = secur32.LsaGetLogonSessionData(byref(LUID(low, high)), byref(found))
    if status != 0 or not found:
        raise failed_status("LsaGetLogonSessionData", status)
    try:
        return Logon(found.contents.LogonType, found.contents.Session)
    finally:
        secur32.LsaFreeReturnBuffer(found)
