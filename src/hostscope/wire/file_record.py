"""What capture files say about themselves."""

from msgspec import Struct


class FileInterface(Struct, frozen=True):
    """One interface of a capture file."""

    name: str | None
    link: int
    """LINKTYPE_…"""
    snap_bytes: int | None
    """None for no limit."""
    filter: str | None = None
    """What the packets had to match, as the file says."""
    system: str | None = None
    """The operating system that captured."""
    received: int | None = None
    """Packets by the interface's own count, where the file has statistics."""
    dropped: int | None = None
    """Packets that the interface or the system lost."""


class Ending(Struct, frozen=True):
    """The end of a file that was not understood. All packets before it were."""

    lost_bytes: int
    reason: str
