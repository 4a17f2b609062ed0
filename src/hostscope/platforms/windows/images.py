"""The program that a process runs: its file, its machine, its package; and processes that run none."""

from collections.abc import Callable
from typing import NamedTuple

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap
from hostscope.model.process import Executable
from hostscope.platforms.windows.attempts import as_gap, attempt, value_of
from hostscope.platforms.windows.native import ntdll, paths
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.parse_memory import by_drive
from hostscope.platforms.windows.parse_processes import Listed

IDLE, SYSTEM = 0, 4
"""Pids that are never given to others: what idle processors count, and the kernel's own threads."""
VIRTUAL = {"Registry": "registry", "Memory Compression": "memory-compression", "Secure System": "secure-system"}
"""Processes that the kernel starts without a program, by their names; their parent is the System process."""
MACHINES = {
    native.IMAGE_FILE_MACHINE_I386: "x86",
    native.IMAGE_FILE_MACHINE_AMD64: "x64",
    native.IMAGE_FILE_MACHINE_ARM64: "arm64",
    native.IMAGE_FILE_MACHINE_ARMNT: "arm",
}


class ImageFacts(NamedTuple):
    """What is known of a program; None where there is none or a gap says why."""

    exe: Executable | None = None
    native_path: str | None = None
    """As it was when the process was made; `exe` is as its file is called now."""
    architecture: str | None = None
    wow64: bool | None = None
    package: str | None = None


class Images:
    """Programs of one sweep. Not for use by several threads."""

    def __init__(self) -> None:
        self._drives: dict[str, str] | None = None
        self._executables: dict[str, Executable] = {}

    def virtual(self, listed: Listed) -> str | None:
        """Which process without a program it is, as in `WindowsContext.virtual`; None for ordinary ones.

        A program may be called like one of them: then the kernel knows its file, and it is none. Without that answer
        (before Windows Vista, or refused) only the children of the System process, which starts no programs but the
        session manager, are believed.
        """
        if listed.pid in (IDLE, SYSTEM):
            return "system" if listed.pid else "idle"
        kind = VIRTUAL.get(listed.name) or ("vmmem" if listed.name.startswith("vmmem") else None)
        if kind is None:
            return None
        try:
            return None if ntdll.image_of(listed.pid).startswith("\\") else kind
        except (OSError, Unsupported):
            return kind if listed.ppid == SYSTEM else None

    def read(self, pid: int, handle: Callable[[], int], gaps: list[Gap]) -> ImageFacts:
        """The program of a process; `handle` gives its handle, or raises OSError as opening it did."""
        path = attempt("exe", lambda: native.image_name(handle()))
        by_device = attempt("windows.native_path", lambda: native.image_name(handle(), native.PROCESS_NAME_NATIVE))
        if isinstance(by_device, Gap):
            by_device = _unopened(pid, by_device)
        if isinstance(path, Gap) and isinstance(by_device, str):
            path = by_drive(by_device, self._known_drives())
        architecture, wow64 = _machine(handle, gaps)
        found = value_of(path, gaps)
        return ImageFacts(
            self._executable(found) if found else None,
            value_of(by_device, gaps),
            architecture,
            wow64,
            value_of(attempt("windows.package", lambda: native.package_name(handle())), gaps),
        )

    def _executable(self, path: str) -> Executable:
        found = self._executables.get(path)
        if found is None:
            found = self._executables[path] = Executable(path)
        return found

    def _known_drives(self) -> dict[str, str]:
        if self._drives is None:
            self._drives = paths.drives()
        return self._drives


def _unopened(pid: int, refused: Gap) -> str | Gap:
    """The path by its device, which the kernel tells of processes that may not be opened; else the gap."""
    try:
        found = ntdll.image_of(pid)
    except (OSError, Unsupported):
        return refused
    return found if found.startswith("\\") else refused


def _machine(handle: Callable[[], int], gaps: list[Gap]) -> tuple[str | None, bool | None]:
    """Architecture of its code, and whether WOW64 runs it."""
    try:
        emulated, computer = native.machines(handle())
    except (OSError, Unsupported) as failed:
        gaps += (as_gap("windows.architecture", failed), as_gap("windows.wow64", failed))
        return None, None
    machine = emulated or computer
    if not emulated and computer == native.IMAGE_FILE_MACHINE_ARM64:
        machine = value_of(attempt("windows.architecture", lambda: native.machine_of_code(handle())), gaps) or 0
    if not machine:
        return None, bool(emulated)
    return MACHINES.get(machine, f"machine {machine:#06x}"), bool(emulated)
