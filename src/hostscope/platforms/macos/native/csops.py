"""What the kernel knows of a process's code signature. Source: csops(2), not in Apple's SDK.

Layouts and numbers: bsd/sys/codesign.h and osfmk/kern/cs_blobs.h in xnu (unchanged since 10.15). Everybody may ask this
of any process, unless a sandbox forbids it.
"""

import ctypes
from ctypes import c_int32, c_uint32, c_uint64, c_void_p

from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, clear_errno, failed

CS_OPS_STATUS, CS_OPS_CDHASH, CS_OPS_ENTITLEMENTS_BLOB = 0, 5, 7
CS_OPS_IDENTITY, CS_OPS_TEAMID, CS_OPS_DER_ENTITLEMENTS_BLOB = 11, 14, 16
CS_CDHASH_LEN = 20
CS_VALID, CS_ADHOC, CS_GET_TASK_ALLOW, CS_INSTALLER, CS_FORCED_LV = 0x1, 0x2, 0x4, 0x8, 0x10
CS_HARD, CS_KILL, CS_RESTRICT, CS_ENFORCEMENT, CS_REQUIRE_LV = 0x100, 0x200, 0x800, 0x1000, 0x2000
CS_ENTITLEMENTS_VALIDATED, CS_NVRAM_UNRESTRICTED, CS_RUNTIME, CS_LINKER_SIGNED = 0x4000, 0x8000, 0x10000, 0x20000
CS_PLATFORM_BINARY, CS_PLATFORM_PATH, CS_DEBUGGED, CS_SIGNED = 0x4000000, 0x8000000, 0x10000000, 0x20000000
_HEADER_BYTES = 8
_FIRST_BYTES, _MOST_BYTES = 4096, 1 << 20

SIGNATURES = {"csops": (c_int32, (c_int32, c_uint32, c_void_p, c_uint64))}
NOT_IN_HEADERS = dict.fromkeys(
    ("csops", *(name for name in globals() if name.startswith("CS_"))),
    "bsd/sys/codesign.h and osfmk/kern/cs_blobs.h in xnu; no SDK has them",
)
codesign = Library(LIBSYSTEM, SIGNATURES)


class Signatures:
    """Asks for one process after another, with the same buffer."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(_FIRST_BYTES)
        self._word = c_uint32()

    def status(self, pid: int) -> int:
        """Flags. Raises OSError: ESRCH."""
        clear_errno()
        if codesign.csops(pid, CS_OPS_STATUS, ctypes.byref(self._word), 4) != 0:
            raise failed("csops")
        return self._word.value

    def cdhash(self, pid: int) -> bytes:
        """The code directory's hash. Raises OSError: ESRCH, EINVAL without a valid signature."""
        clear_errno()
        if codesign.csops(pid, CS_OPS_CDHASH, self._buffer, CS_CDHASH_LEN) != 0:
            raise failed("csops")
        return self._buffer.raw[:CS_CDHASH_LEN]

    def blob(self, pid: int, operation: int) -> bytes:
        """What stands behind a blob's header of magic and length; empty when there is none.

        Raises:
            OSError: ESRCH, EINVAL without a valid signature or on a macOS without the operation, EPERM.
        """
        clear_errno()
        if codesign.csops(pid, operation, self._buffer, len(self._buffer)) == 0:
            return self._content()
        error = failed("csops")
        if error.errno == errnos.ENOENT:
            return b""
        length = self._length()
        if error.errno != errnos.ERANGE or not len(self._buffer) < length <= _MOST_BYTES:
            raise error
        self._buffer = ctypes.create_string_buffer(length)
        return self.blob(pid, operation)

    def _length(self) -> int:
        """As the header says, in the order of bytes of the network; it comes even when the buffer is too short."""
        return int.from_bytes(self._buffer.raw[4:_HEADER_BYTES], "big")

    def _content(self) -> bytes:
        return self._buffer.raw[_HEADER_BYTES : min(self._length(), len(self._buffer))]
