"""System calls."""

from msgspec import Struct

from hostscope.model.key import ProcessKey

SYSCALL_SCHEMA = "hostscope.syscall/1"

DEFAULT_CALLS = ("mprotect", "mmap", "munmap")


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
    """Names of calls, or of the groups ``memory process file network all``."""
    children: bool = True
    """Follow processes that the traced ones start."""
    durations: bool = False
    method: str | None = None
    """Linux: ``ebpf`` or ``ptrace``."""
