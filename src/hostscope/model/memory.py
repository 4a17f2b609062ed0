"""Address spaces."""

from msgspec import Struct

from hostscope.model.gap import Gap


class Region(Struct, frozen=True, gc=False):
    """One mapping of an address space. Source: /proc/PID/maps, smaps."""

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
    resident_bytes: int | None = None
    private_dirty_bytes: int | None = None
    backed_bytes: int | None = None
    """As many of it, in whole pages, as its file has: there is nothing behind its end. None when that is not known."""
    special: bool = False
    """Neither memory nor a regular file: a device, or an object of the kernel. Reading it may act on it."""
    served_by: str | None = None
    """Type of its file system (``fuse.sshfs``, ``nfs4``) when somebody else has to answer for what is not in memory;
    ``tmpfs`` for shared memory whose file we may not look at: to ask for more than the process mapped takes memory."""
    flags: tuple[str, ...] = ()
    """Of smaps VmFlags, such as ``io``, ``dd``, ``ht``; only when details were asked for."""
    kind: str | None = None
    """Windows: ``image`` (a program or library), ``mapped`` (a file or shared memory), ``private``."""
    state: str | None = None
    """Windows: ``committed``, or ``reserved``: addresses without memory behind them."""
    guard: bool = False
    """Windows: the first access of a page is told to the program, and takes its guard away."""
    allocation: int | None = None
    """Windows: where the allocation begins that it is a part of; an image's base."""
    initial: str | None = None
    """Windows: permissions of the allocation when it was made."""
    gaps: tuple[Gap, ...] = ()

    @property
    def has_file(self) -> bool:
        """Whether a file is behind it: of an image there is one, even if its name could not be read."""
        unnamed = self.kind == "image" and any(gap.field == "path" for gap in self.gaps)
        return bool(self.inode) or unnamed or (self.kind in ("image", "mapped") and self.path is not None)

    @property
    def size_bytes(self) -> int:
        """Virtual size."""
        return self.end - self.start


class ThreadState(Struct, frozen=True, gc=False):
    """One thread of a stopped process."""

    tid: int
    name: str
    registers: bytes
    """As the system's debugger interface gives them (Linux: struct elf_gregset_t; Windows: CONTEXT)."""
    float_registers: bytes = b""
    extended_registers: bytes = b""
    """XSAVE area on x86-64."""
    signal: int = 0
    signal_info: bytes = b""
    stopped_ns: int = 0
    """How long it stood still for this; 0 while it still does."""
    asked_mono_ns: int = 0
    """When it was asked to stop, by the monotonic clock."""
    state: str = ""
    """As in `Process.state`, before it was stopped."""
    pending_signals: int = 0
    """Mask of the thread's own, bit 0 for signal 1."""
    blocked_signals: int = 0
    user_ns: int = 0
    """Processor time."""
    system_ns: int = 0
    other_registers: tuple[tuple[int, bytes], ...] = ()
    """Register sets by their note type (arm64: thread pointer, system call)."""
    unread: str | None = None
    """Why there are no registers."""
    block: int | None = None
    """Windows: address of its environment block (TEB)."""
    start_address: int | None = None
    """Windows: of the function that it began with."""
    priority: int | None = None
