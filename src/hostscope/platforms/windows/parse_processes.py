"""The kernel's list of processes and threads, parsed (SYSTEM_PROCESS_INFORMATION of 64-bit Windows). Pure."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from hostscope.model.text import decode_utf16

MAX_ENTRIES = 1 << 20
_HEAD = struct.Struct("<II24x q 16x HH4xQ i4x QQ I I")
"""NextEntryOffset, NumberOfThreads, CreateTime, ImageName, BasePriority, both pids, HandleCount, SessionId."""
_COUNTS = struct.Struct("<8x q II Q q q q 16x i 20x I 12x QQ I4x QQ QQQQ QQ Q 6Q")
ENTRY_BYTES = _COUNTS.size
THREAD = struct.Struct("<qqq I4x Q QQ ii III4x")
THREAD_BYTES = THREAD.size
STATE_OFFSET, REASON_OFFSET = 68, 72
"""Where ThreadState and WaitReason are in a thread."""

View = bytes | memoryview


class Counts(NamedTuple):
    """What the kernel counts for one process, in its own units (times in 100 ns)."""

    private_resident_bytes: int
    hard_faults: int
    threads_peak: int
    cycles: int
    created: int
    user_time: int
    kernel_time: int
    base_priority: int
    handles: int
    peak_virtual_bytes: int
    virtual_bytes: int
    faults: int
    peak_resident_bytes: int
    resident_bytes: int
    peak_paged_pool_bytes: int
    paged_pool_bytes: int
    peak_nonpaged_pool_bytes: int
    nonpaged_pool_bytes: int
    commit_bytes: int
    peak_commit_bytes: int
    private_bytes: int
    reads: int
    writes: int
    others: int
    read_bytes: int
    written_bytes: int
    other_bytes: int


class ThreadEntry(NamedTuple):
    """One thread as the kernel lists it; times in 100 ns."""

    kernel_time: int
    user_time: int
    created: int
    wait_time: int
    start_address: int
    pid: int
    tid: int
    priority: int
    base_priority: int
    switches: int
    state: int
    reason: int


class Listed(Struct, frozen=True, gc=False):
    """One process as a listing shows it, without opening it."""

    pid: int
    ppid: int
    """As the kernel keeps it: the parent may have ended, and its pid may be another process's now."""
    name: str
    """File name of its program; empty for the idle process."""
    created: int | None
    """FILETIME; 0 for the idle process; None where the listing does not tell (Toolhelp)."""
    session: int | None
    threads: int
    base_priority: int
    handles: int | None
    entry: View = b""
    """The whole entry with its threads; empty where the listing has no such thing."""

    def counts(self) -> Counts:
        """What the kernel counts; only with `entry`."""
        return Counts._make(_COUNTS.unpack_from(self.entry))

    def thread_entries(self) -> Iterator[ThreadEntry]:
        """Its threads; none without `entry`."""
        end = ENTRY_BYTES + min(self.threads, max(len(self.entry) - ENTRY_BYTES, 0) // THREAD_BYTES) * THREAD_BYTES
        return map(ThreadEntry._make, THREAD.iter_unpack(self.entry[ENTRY_BYTES:end]))

    def thread_states(self) -> tuple[bytes, bytes]:
        """The states of its threads and why those that wait do (KTHREAD_STATE, KWAIT_REASON), a byte each."""
        threads = bytes(self.entry[ENTRY_BYTES : ENTRY_BYTES + self.threads * THREAD_BYTES])
        return threads[STATE_OFFSET::THREAD_BYTES], threads[REASON_OFFSET::THREAD_BYTES]


def parse_processes(raw: View, address: int) -> Iterator[Listed]:
    """The processes in an answer of NtQuerySystemInformation(SystemProcessInformation), in its order.

    Args:
        address: where `raw` was in our memory; names are pointed to.

    Raises:
        ValueError: an entry is cut short, or does not lead on to the next.
    """
    offset, size = 0, len(raw)
    for _ in range(MAX_ENTRIES):
        if offset + ENTRY_BYTES > size:
            raise ValueError("the list of processes is cut short")
        step, threads, created, length, _, name, priority, pid, ppid, handles, session = _HEAD.unpack_from(raw, offset)
        end = offset + step if step else size
        fits = (end - offset - ENTRY_BYTES) // THREAD_BYTES
        if (step and step < ENTRY_BYTES) or end > size or threads > fits:
            raise ValueError("the list of processes makes no sense")
        text = _text(raw, name - address, length)
        yield Listed(pid, ppid, text, created, session, threads, priority, handles, raw[offset:end])
        if not step:
            return
        offset = end
    raise ValueError(f"more than {MAX_ENTRIES} processes")


def _text(raw: View, at: int, length: int) -> str:
    """A name inside the answer; none for the idle process, whose pointer is null."""
    if not length:
        return ""
    if at < 0 or at + length > len(raw):
        raise ValueError("a name is outside of the list of processes")
    return decode_utf16(bytes(raw[at : at + length]))
