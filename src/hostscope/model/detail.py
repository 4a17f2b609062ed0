"""What one process holds: open files, memory maps, threads, sockets, environment."""

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.signature import Signature
from hostscope.model.socket import Socket


class OpenFile(Struct, frozen=True):
    """One descriptor or handle. Source: /proc/PID/fd and fdinfo; Windows: the system's table of handles."""

    fd: int
    kind: str
    """``file directory pipe socket device anon_inode memfd pidfd other``; Windows: the type of the object, such as
    ``file key section event process thread token``."""
    path: str
    """As the kernel names it; empty for an object without a name, or whose name could not be asked for."""
    mode: str | None
    """``r w rw``, with ``a`` for append."""
    position: int | None
    inode: int | None
    deleted: bool = False
    access: int | None = None
    """Windows: the access that the handle grants, as bits of its type."""


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


class Module(Struct, frozen=True):
    """One program or library in memory. Source: EnumProcessModulesEx; /proc/PID/maps."""

    name: str
    path: str
    base: int
    """Address of its first byte."""
    size_bytes: int
    entry_point: int | None = None
    """Address of its first instruction; None where it has none or the system does not tell."""
    deleted: bool = False
    """The file that is mapped was deleted or replaced: what is at `path` now, if anything, is another one. Linux."""
    signature: Signature | None = None
    """Who vouches for the file at `path` as it is now, which is not its code in memory. Only when it is asked for."""


class Window(Struct, frozen=True):
    """One top-level window. Source: EnumWindows, which shows those of our own desktop."""

    handle: int
    title: str
    window_class: str
    visible: bool
    tid: int
    """Thread that made it."""


class Thread(Struct, frozen=True):
    """One thread. Source: /proc/PID/task/TID/stat; Windows: SystemProcessInformation."""

    tid: int
    name: str
    """Empty where it has none."""
    state: str
    user_ns: int
    system_ns: int
    started_at_ns: int | None
    """None on macOS, which does not tell."""
    last_cpu: int | None
    start_address: int | None = None
    """Where it began to run; None where the system does not tell."""
    start_module: str | None = None
    """The file that is mapped at `start_address`; None for memory of no file, or where that is not known."""
    wait_reason: str | None = None
    """Windows: what it waits for, such as ``user-request``, ``suspended``; None while it runs."""


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
    modules: tuple[Module, ...] | None = None
    """Windows: the program first. Linux: files that are mapped to be executed, by address."""
    windows: tuple[Window, ...] | None = None
    """None on systems whose kernels know nothing of windows."""
    gaps: tuple[Gap, ...] = ()
