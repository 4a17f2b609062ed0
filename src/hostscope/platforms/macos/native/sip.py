"""System Integrity Protection, and whether a process is sandboxed. Neither is in Apple's SDK.

Source: csr_get_active_config (bsd/sys/csr.h in xnu), sandbox_check (libsystem_sandbox).
"""

import ctypes
from ctypes import c_char_p, c_int32, c_uint32, c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, clear_errno, failed

CSR_ALLOW_UNTRUSTED_KEXTS, CSR_ALLOW_UNRESTRICTED_FS, CSR_ALLOW_TASK_FOR_PID = 1 << 0, 1 << 1, 1 << 2
CSR_ALLOW_KERNEL_DEBUGGER, CSR_ALLOW_APPLE_INTERNAL, CSR_ALLOW_UNRESTRICTED_DTRACE = 1 << 3, 1 << 4, 1 << 5
CSR_ALLOW_UNRESTRICTED_NVRAM, CSR_ALLOW_DEVICE_CONFIGURATION, CSR_ALLOW_ANY_RECOVERY_OS = 1 << 6, 1 << 7, 1 << 8
CSR_ALLOW_UNAPPROVED_KEXTS, CSR_ALLOW_EXECUTABLE_POLICY_OVERRIDE = 1 << 9, 1 << 10
CSR_ALLOW_UNAUTHENTICATED_ROOT, CSR_ALLOW_RESEARCH_GUESTS = 1 << 11, 1 << 12
SANDBOX_FILTER_NONE = 0

SIGNATURES = {
    "csr_get_active_config": (c_int32, (c_void_p,)),
    "sandbox_check": (c_int32, (c_int32, c_char_p, c_int32)),
}
NOT_IN_HEADERS = {
    **dict.fromkeys(
        ("csr_get_active_config", *(name for name in globals() if name.startswith("CSR_"))),
        "bsd/sys/csr.h in xnu; no SDK has it",
    ),
    "sandbox_check": "libsystem_sandbox's, variadic after the filter's type; used by WebKit's and Chromium's sources",
    "SANDBOX_FILTER_NONE": "enum sandbox_filter_type, as WebKit's sources have it",
}
sip = Library(LIBSYSTEM, SIGNATURES)


def active_config() -> int:
    """What System Integrity Protection allows, by bit: 0 when all of it protects. Raises OSError."""
    word = c_uint32()
    clear_errno()
    if sip.csr_get_active_config(ctypes.byref(word)) != 0:
        raise failed("csr_get_active_config")
    return word.value


def sandboxed(pid: int) -> bool:
    """Whether a sandbox profile holds the process. Raises OSError."""
    clear_errno()
    answer: int = sip.sandbox_check(pid, None, SANDBOX_FILTER_NONE)
    if answer < 0:
        raise failed("sandbox_check")
    return answer > 0
