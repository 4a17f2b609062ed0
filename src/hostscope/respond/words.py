"""What systems call the steps of an act, for people."""

from msgspec import Struct


class Words(Struct, frozen=True):
    """The names of one system."""

    ask: str
    """How a process is asked to end."""
    force: str
    """How it is ended."""
    right: str
    """What acting on others' processes takes."""


SIGNALS = Words("SIGTERM", "SIGKILL", "needs root (CAP_KILL) or the process's own user")
OF_SYSTEM = {
    "windows": Words(
        "WM_CLOSE",
        "TerminateProcess",
        "needs the process's own user, or an administrator with SeDebugPrivilege; nobody may end a protected process",
    ),
}


def words_of(system: str) -> Words:
    """Of a system by its name."""
    return OF_SYSTEM.get(system, SIGNALS)
