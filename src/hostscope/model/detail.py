"""What one process holds: open files, memory maps, threads, sockets, environment."""

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.socket import Socket


class OpenFile(Struct, frozen=True):
    """One descriptor of a process. Source: /proc/PID/fd and fdinfo."""

    fd: int
    kind: str
    """``file directory pipe socket device anon_inode memfd pidfd other``."""
    path: str
    """As the kernel names it."""
    mode: str | None
    """``r w rw``, with ``a`` for append."""
    position: int | None
    inode: int | None
    deleted: bool = False


class MemoryMap(Struct, frozen=True):
    """One mapping. Source: /proc/PID/maps."""

    start: int
    end: int
    permissions: str
    """``rwxp`` or ``rwxs`` with dashes."""
    offset: int
    device: str
    inode: int
    path: str | None
    """File, ``[heap]``, ``[stack]``…; None for anonymous memory."""
    deleted: bool = False


class Thread(Struct, frozen=True):
    """One thread. Source: /proc/PID/task/TID/stat."""

    tid: int
    name: str
    state: str
    user_ns: int
    system_ns: int
    started_at_ns: int
    last_cpu: int | None


class Variable(Struct, frozen=True):
    """One entry of the environment."""

    name: str
    value: str


class ProcessDetail(Struct, frozen=True):
    """What was asked for about one process; None with a gap where it could not be read."""

    open_files: tuple[OpenFile, ...] | None = None
    maps: tuple[MemoryMap, ...] | None = None
    threads: tuple[Thread, ...] | None = None
    sockets: tuple[Socket, ...] | None = None
    """One for each descriptor; `owners` names only this process, with that descriptor. Linux: without what
    /proc/PID/net does not tell; ``hostscope net PID`` tells more."""
    environment: tuple[Variable, ...] | None = None
    gaps: tuple[Gap, ...] = ()
