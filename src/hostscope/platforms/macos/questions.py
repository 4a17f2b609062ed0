"""What is asked about one process after another, with buffers that are made once. Not for several threads."""

from hostscope.model.macos import Entitlement
from hostscope.model.text import decode
from hostscope.platforms.macos import parse
from hostscope.platforms.macos.native import csops, errnos, kern_proc, libproc, sip
from hostscope.platforms.macos.native.csops import (
    CS_OPS_DER_ENTITLEMENTS_BLOB,
    CS_OPS_ENTITLEMENTS_BLOB,
    CS_OPS_IDENTITY,
    CS_OPS_TEAMID,
)
from hostscope.platforms.macos.parse_signing import parse_entitlements, parse_string

_DESCRIPTOR_BYTES = 8


class Questions:
    """Each method asks one thing of one process.

    Raises:
        OSError: with Darwin's number.
        Unsupported: this macOS has no such call.
        ValueError: the answer makes no sense.
    """

    def __init__(self) -> None:
        self._task = libproc.Question(libproc.PROC_PIDTASKALLINFO, libproc.proc_taskallinfo)
        self._architecture = libproc.Question(libproc.PROC_PIDARCHINFO, libproc.proc_archinfo)
        self._paths = libproc.Question(libproc.PROC_PIDVNODEPATHINFO, libproc.proc_vnodepathinfo)
        self._coalition = libproc.Question(libproc.PROC_PIDCOALITIONINFO, libproc.proc_pidcoalitioninfo)
        self._unique = libproc.Question(libproc.PROC_PIDUNIQIDENTIFIERINFO, libproc.proc_uniqidentifierinfo)
        self._region = libproc.Question(libproc.PROC_PIDREGIONPATHINFO, libproc.proc_regionwithpathinfo)
        self._usage = libproc.Usage()
        self._arguments: kern_proc.ArgumentReader | None = None
        self._signatures = csops.Signatures()
        self._path = libproc.path_buffer()

    def task(self, pid: int) -> parse.Task:
        """Credentials, start, counters."""
        return parse.parse_task(self._task.ask(pid))

    def start_us(self, pid: int) -> int:
        """When it started; what tells it from another with its pid."""
        return parse.parse_start(self._task.ask(pid))

    def usage(self, pid: int) -> parse.Usage:
        """Footprint, energy, disk."""
        return parse.parse_usage(self._usage.read(pid))

    def path(self, pid: int) -> str:
        """Of its program."""
        return decode(libproc.read_path(pid, self._path))

    def arguments(self, pid: int) -> parse.Arguments:
        """Arguments and environment."""
        if self._arguments is None:
            self._arguments = kern_proc.ArgumentReader()
        return parse.parse_arguments(self._arguments.read(pid))

    def directories(self, pid: int) -> tuple[str | None, str]:
        """Current directory, None when it has no name any more, and root."""
        raw = self._paths.ask(pid)
        return parse.parse_path(raw, 0) or None, parse.parse_path(raw, 1) or "/"

    def architecture(self, pid: int) -> str:
        """Such as ``arm64e``."""
        return parse.parse_architecture(self._architecture.ask(pid))

    def session(self, pid: int) -> int:
        return libproc.session(pid)

    def open_files(self, pid: int) -> int:
        """Number of open descriptors."""
        raw, _ = libproc.read_list(pid, libproc.PROC_PIDLISTFDS, _DESCRIPTOR_BYTES, most=1 << 24)
        return len(raw) // _DESCRIPTOR_BYTES

    def coalition(self, pid: int) -> int:
        """Its resource coalition."""
        return int.from_bytes(self._coalition.ask(pid)[:8], "little")

    def unique(self, pid: int) -> tuple[int, int]:
        """Numbers that no other process of this boot gets: its own, and that of the one that started it."""
        raw = self._unique.ask(pid)
        return int.from_bytes(raw[16:24], "little"), int.from_bytes(raw[24:32], "little")

    def responsible(self, pid: int) -> int:
        """Whose permissions count for it."""
        return libproc.responsible(pid)

    def sandboxed(self, pid: int) -> bool:
        return sip.sandboxed(pid)

    def flags(self, pid: int) -> int:
        """Of its signature."""
        return self._signatures.status(pid)

    def cdhash(self, pid: int) -> str:
        """Hexadecimal."""
        return self._signatures.cdhash(pid).hex()

    def identity(self, pid: int) -> str | None:
        """Signing identifier."""
        return parse_string(self._signatures.blob(pid, CS_OPS_IDENTITY))

    def team(self, pid: int) -> str | None:
        """Team identifier."""
        return parse_string(self._signatures.blob(pid, CS_OPS_TEAMID))

    def entitlements(self, pid: int) -> tuple[Entitlement, ...]:
        """From the DER; before macOS 12 there is only XML."""
        der = self._der(pid)
        return parse_entitlements(der, b"" if der else self._signatures.blob(pid, CS_OPS_ENTITLEMENTS_BLOB))

    def _der(self, pid: int) -> bytes:
        try:
            return self._signatures.blob(pid, CS_OPS_DER_ENTITLEMENTS_BLOB)
        except OSError as failed:
            if failed.errno != errnos.EINVAL:
                raise
            return b""
