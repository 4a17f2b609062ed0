"""What an answer covers, stated beside its rows."""

from msgspec import Struct

from hostscope.model.gap import Reason


class GapCount(Struct, frozen=True):
    """How many rows have a gap in one field for one reason."""

    field: str
    reason: Reason
    rows: int
    detail: str | None = None
    """The detail of the first such gap."""


class Coverage(Struct, frozen=True):
    """How an answer came about and what it could not see."""

    method: str
    """What was read, such as ``iterator`` or ``proc``."""
    method_reason: str | None = None
    """Why not the better method; None when it was the best one."""
    seen: int = 0
    """Processes (or other things) the system listed."""
    rows: int = 0
    """Rows given after options and filters."""
    denied: int = 0
    """Listed, but nothing more could be read."""
    vanished: int = 0
    """Ended between being listed and being read."""
    failed: int = 0
    """Left out because reading them failed in another way; see `notes`."""
    lost: int = 0
    """Events or rows the kernel dropped."""
    skipped: int = 0
    """Left out by an option (`skip_system_processes`, a filter)."""
    limited: bool = False
    """A limit (`max_processes`, `--limit`) cut the answer short."""
    hidden: str | None = None
    """Why rows may be missing without a trace, such as a hidepid mount."""
    not_asked: tuple[str, ...] = ()
    """Fields that the request left out."""
    gaps: tuple[GapCount, ...] = ()
    """Fields that some rows lack."""
    effects: tuple[str, ...] = ()
    """What looking changed for its duration: eBPF programs loaded, privileges enabled."""
    notes: tuple[str, ...] = ()
    elapsed_ns: int = 0

    @property
    def complete(self) -> bool:
        """Whether every row there was is in the answer (gaps inside rows apart)."""
        return not (self.denied or self.failed or self.lost or self.limited or self.hidden)
