"""System calls."""

from msgspec import Struct

from hostscope.model.key import ProcessKey

DEFAULT_CALLS = ("mprotect", "mmap", "munmap")
CALLS_OF = {"windows": ("memory", "process")}
"""What is traced on systems without those calls, unless told otherwise."""


def usual_calls(system: str) -> tuple[str, ...]:
    """What is traced on a system unless told otherwise."""
    return CALLS_OF.get(system, DEFAULT_CALLS)


class Argument(Struct, frozen=True, gc=False):
    """One argument of a call."""

    name: str
    value: int
    text: str
    """Decoded: flags by name, strings quoted."""


class TraceRequest(Struct, frozen=True):
    """What to trace of which processes."""

    keys: tuple[ProcessKey, ...] = ()
    calls: tuple[str, ...] = DEFAULT_CALLS
    """Names of calls, or of the groups ``memory process file network all``; none are the system's usual ones."""
    children: bool = True
    """Follow processes that the traced ones start."""
    durations: bool = False
    method: str | None = None
    """Linux: ``ebpf`` or ``ptrace``; Windows: ``debugger`` or ``regions``."""
