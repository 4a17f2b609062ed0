"""All processes by one read of the kernel's task iterator: an eBPF program writes a record of each.

`TaskIterator` has the program in the kernel and gives chunks of whole records; `iterator_rows.IteratorRows` makes
processes of them.
The same answers as /proc (`procfs.ProcRows`), for a tenth of the time. What the kernel cannot say here is read from
/proc for the few rows that need it: full names of kernel workers, rewritten or very long arguments, deleted
executables, security labels. `memory_detail` and `digest` are not read here.
"""

import os
from collections.abc import Iterator
from types import TracebackType

from hostscope.errors import Unsupported
from hostscope.platforms.linux import program_cache, translate
from hostscope.platforms.linux.image import Image
from hostscope.platforms.linux.loader import Loaded
from hostscope.platforms.linux.parse import INITIAL_PID_NS, INITIAL_TIME_NS
from hostscope.platforms.linux.task_record import Want

PROGRAMS = ("tasks", "tasks_plain")
"""Best first; the second does without what came with Linux 5.17 and 5.18."""
READ_BYTES = 1 << 16
"""The kernel fills a buffer of 32 KiB between reads and always gives whole records of it."""

_WANTS = {
    "argv": Want.ARGV,
    "exe": Want.EXE,
    "cwd": Want.CWD,
    "root": Want.ROOT,
    "owner": Want.IDS,
    "groups": Want.GROUPS,
    "session": Want.SESSION,
    "schedule": Want.SCHEDULE,
    "cpu": Want.THREADS,
    "io": Want.THREADS,
    "activity": Want.THREADS,
    "memory": Want.MEMORY,
    "open_files": Want.FDS,
    "security": Want.SECURITY | Want.IDS | Want.NAMESPACES,
    "namespaces": Want.NAMESPACES,
    "cgroup": Want.CGROUP,
    "oom": Want.SECURITY | Want.MEMORY,
}


def want_of(fields: frozenset[str]) -> Want:
    """What the program must read for these field groups."""
    want = Want(0)
    for field in fields:
        want |= _WANTS.get(field, Want(0))
    return want


def want_of_columns(fields: frozenset[str]) -> Want:
    """The same for columns, which have no use for what stands behind the name when it is all zeroes."""
    want = want_of(fields)
    return want if want & ~(Want.ARGV | Want.EXE) else want | Want.BRIEF


def obstacle() -> str | None:
    """Why the iterator's answers would not be those of our /proc; None when they are.

    The kernel numbers processes and time as the host does, so from inside a container neither would fit.
    """
    if os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NS:
        return "we are in a PID namespace of our own, where the iterator's pids mean nothing"
    try:
        time_ns = os.stat("/proc/self/ns/time").st_ino
    except FileNotFoundError:  # before 5.6
        return None
    return "we are in a time namespace of our own" if time_ns != INITIAL_TIME_NS else None


def count_cpus() -> int:
    """Highest possible CPU number plus one: how many shares a per-CPU counter has."""
    with open("/sys/devices/system/cpu/possible", "rb") as file:
        return int(file.read().replace(b"-", b",").split(b",")[-1]) + 1


class TaskIterator:
    """The program in the kernel, until closed. One sweep at a time: its records are put together in one place."""

    def __init__(self, want: Want, programs: tuple[str, ...] = PROGRAMS) -> None:
        """Loads the first of `programs` that this kernel takes.

        Raises:
            Unsupported: the kernel lacks iterators or refuses the program, or we are not in the host's namespaces.
            Denied: CAP_BPF or CAP_PERFMON is missing.
        Needs: CAP_BPF, CAP_PERFMON.
        Cost: 4 ms with cached programs, 60 ms without.
        """
        reason = obstacle()
        if reason:
            raise Unsupported(reason)
        found = program_cache.load_image()
        self.cache_note = found.note
        """Why programs were not taken from the cache; None when they were."""
        self.plain_reason: str | None = None
        """Why the lesser program is used; None when it is not."""
        self.want = want
        self._pass: int | None = None
        self._loaded = self._load(found.image, programs, {"want": int(want), "cpus": count_cpus()})

    def _load(self, image: Image, programs: tuple[str, ...], constants: dict[str, int]) -> Loaded:
        *better, last = programs
        for name in better:
            try:
                return Loaded(image, name, constants)
            except Unsupported as refused:
                self.plain_reason = str(refused)
        return Loaded(image, last, constants)

    def chunks(self) -> Iterator[bytes]:
        """One sweep, begun now: chunks of whole records, in ascending pid order.

        Needs: before Linux 5.19, CAP_SYS_ADMIN; later, nothing any more. Reading needs nothing.
        """
        self.end_pass()
        self._pass = self._loaded.open_pass()
        return self._read(self._pass)

    def _read(self, fd: int) -> Iterator[bytes]:
        while self._pass == fd and (chunk := _read_chunk(fd)):
            yield chunk
        if self._pass == fd:
            self.end_pass()

    def end_pass(self) -> None:
        """Ends a sweep that was not read to its end."""
        fd, self._pass = self._pass, None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Ends a sweep that was not read to its end, and takes the program out of the kernel."""
        self.end_pass()
        self._loaded.close()

    def __enter__(self) -> "TaskIterator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failed: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _read_chunk(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError as failed:
        raise translate.error("read the iterator", failed) from failed
