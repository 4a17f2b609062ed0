"""What the iterator's records leave to /proc, read for the few processes that need it.

What takes the start of the process that a record is of looks whether the pid is still its, so that a row never mixes
two processes. Names and labels do without: they are read moments after the record, and the kernel gives pids out in
turn, so that one comes back only after all others.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Executable
from hostscope.model.text import decode
from hostscope.platforms.linux import translate
from hostscope.platforms.linux.clock import PAGE_BYTES
from hostscope.platforms.linux.executable import deleted_executable, read_executable
from hostscope.platforms.linux.parse import parse_cmdline, parse_stat
from hostscope.platforms.linux.read import LIMIT, PATH_ONLY, read_at, read_file


@contextmanager
def opened(pid: int, start: int) -> Iterator[int]:
    """A descriptor of /proc/PID of the very process that started then.

    Raises:
        ProcessLookupError: it ended.
        OSError
    """
    directory = os.open(f"/proc/{pid}", PATH_ONLY)
    try:
        if parse_stat(read_at(directory, "stat")).start != start:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        yield directory
    finally:
        os.close(directory)


def read_name(pid: int) -> str | None:
    """Of a kernel thread: /proc adds what a worker works on, and has more than 15 bytes. None when it is gone."""
    try:
        return decode(read_file(f"/proc/{pid}/comm").rstrip(b"\n"))
    except OSError:
        return None


def read_argv(pid: int, start: int, gaps: list[Gap]) -> tuple[str, ...] | None:
    """Arguments that are longer than a record holds, or were written over (setproctitle)."""
    try:
        with opened(pid, start) as directory:
            raw = read_at(directory, "cmdline")
    except OSError as failed:
        gaps.append(translate.gap("argv", failed))
        return None
    if len(raw) >= LIMIT:
        gaps.append(Gap("argv", Reason.TRUNCATED, f"longer than {LIMIT} bytes"))
    return parse_cmdline(raw)


def read_link(name: str, pid: int, start: int, gaps: list[Gap]) -> str | None:
    """`cwd` or `root` whose path the kernel program could not tell."""
    try:
        with opened(pid, start) as directory:
            return decode(os.readlink(name.encode(), dir_fd=directory))
    except OSError as failed:
        gaps.append(translate.gap(name, failed))
        return None


def read_exe(pid: int, start: int, unlinked: bytes | None, identify: bool, gaps: list[Gap]) -> Executable | None:
    """An executable that needs a closer look; `unlinked` is the path of one that the kernel says has no name."""
    try:
        with opened(pid, start) as directory:
            if unlinked is not None:
                return deleted_executable(directory, unlinked, identify)
            return read_executable(directory, identify, {})
    except OSError as failed:
        gaps.append(translate.gap("exe", failed))
        return None


def read_label(pid: int, gaps: list[Gap]) -> str | None:
    """What the security module calls it."""
    try:
        return decode(read_file(f"/proc/{pid}/attr/current").rstrip(b"\n\0")) or None
    except OSError as failed:
        gaps.append(translate.gap("linux.lsm_label", failed))
        return None


def read_total_pages() -> int:
    """Memory and swap of the host, which OOM scores are a share of. Source: /proc/meminfo."""
    values = dict(line.split(b":", 1) for line in read_file("/proc/meminfo").splitlines())
    kib = sum(int(values[name].split()[0]) for name in (b"MemTotal", b"SwapTotal"))
    return kib * 1024 // PAGE_BYTES


def count_threads() -> int:
    """Threads of the whole host. Source: /proc/loadavg, fourth field."""
    return int(read_file("/proc/loadavg").split()[3].split(b"/")[1])


def count_threads_of(pid: int) -> int:
    """Threads of one process; 0 when it is gone."""
    try:
        return parse_stat(read_file(f"/proc/{pid}/stat")).threads
    except (OSError, ValueError):
        return 0
