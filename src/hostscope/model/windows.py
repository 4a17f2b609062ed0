"""What is particular to Windows."""

from msgspec import Struct


class WindowsContext(Struct, frozen=True, gc=False):
    """Windows' own facts about a process."""

    integrity: str | None = None
    """``untrusted low medium high system protected``."""
    protection: str | None = None
    """Protected process type and signer."""
