"""What one process holds, as /proc/PID tells it. Pure: bytes in, fields out; nonsense is a `ValueError`."""

import re
import stat

from msgspec import Struct

from hostscope.model.detail import MemoryMap, Variable
from hostscope.model.text import decode

DELETED = b" (deleted)"
O_ACCMODE, O_APPEND, O_PATH = 0o3, 0o2000, 0o10000000
"""Source: include/uapi/asm-generic/fcntl.h; the same on x86 and Arm. O_PATH descriptors cannot read or write."""
_MODES = {0: "r", 1: "w", 2: "rw"}
_NAMED_INODE = re.compile(rb"[a-z]+:\[(\d{1,20})\]")
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


class FdInfo(Struct, frozen=True):
    """/proc/PID/fdinfo/FD, the part that every kind has."""

    position: int
    mode: str | None
    """As in `OpenFile`; None for O_PATH."""
    inode: int | None
    """From Linux 5.14."""


def parse_fdinfo(raw: bytes) -> FdInfo:
    """Source: proc_pid_fdinfo(5)."""
    values = {name: value.strip() for name, _, value in (line.partition(b":") for line in raw.split(b"\n")[:8])}
    if b"pos" not in values or b"flags" not in values:
        raise ValueError("fdinfo lacks pos or flags")
    flags, inode = int(values[b"flags"], 8), values.get(b"ino")
    return FdInfo(int(values[b"pos"]), open_mode(flags), None if inode is None else int(inode))


def open_mode(flags: int) -> str | None:
    """How a descriptor was opened. Access mode 3 is neither reading nor writing (for ioctl alone, open(2))."""
    mode = None if flags & O_PATH else _MODES.get(flags & O_ACCMODE)
    return mode + "a" if mode and flags & O_APPEND else mode


def parse_named_inode(link: bytes) -> int | None:
    """``socket:[123]`` -> 123; None for links that name no inode."""
    found = _NAMED_INODE.fullmatch(link)
    return int(found[1]) if found else None


def kind_of(link: bytes, mode: int | None) -> str:
    """The kind of a descriptor by its link and, for those with a path, its st_mode."""
    for start, kind in ((b"socket:[", "socket"), (b"pipe:[", "pipe"), (b"/memfd:", "memfd")):
        if link.startswith(start):
            return kind
    if link in (b"anon_inode:[pidfd]", b"pidfd") or link.startswith(b"pidfd:["):
        return "pidfd"
    if link.startswith(b"anon_inode:"):
        return "anon_inode"
    return "other" if mode is None else _KINDS.get(stat.S_IFMT(mode), "other")


def parse_maps(raw: bytes) -> list[MemoryMap]:
    r"""/proc/PID/maps. Source: proc_pid_maps(5), show_map_vma() in fs/proc/task_mmu.c.

    The kernel writes a newline in a path as ``\012`` but leaves backslashes alone, so a path with those four
    characters in it reads like one with a newline. In the same way ``(deleted)`` may be part of a name: `deleted` is
    what the text says.
    """
    return [_map(line) for line in raw.split(b"\n") if line]


def _map(line: bytes) -> MemoryMap:
    words = line.split(None, 5)
    if len(words) < 5:
        raise ValueError("maps line is cut short")
    start, separator, end = words[0].partition(b"-")
    if not separator:
        raise ValueError("maps line without a range")
    path = words[5].replace(b"\\012", b"\n") if len(words) > 5 else b""
    return MemoryMap(
        start=int(start, 16),
        end=int(end, 16),
        permissions=words[1].decode("ascii"),
        offset=int(words[2], 16),
        device=words[3].decode("ascii"),
        inode=int(words[4]),
        path=decode(path.removesuffix(DELETED)) or None,
        deleted=path.endswith(DELETED),
    )


def parse_environ(raw: bytes) -> list[Variable]:
    """/proc/PID/environ: what the process was started with, as far as it did not write over it.

    An entry without ``=`` is a name with an empty value.
    """
    entries = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return [Variable(decode(name), decode(value)) for name, _, value in entries]


def whole_lines(raw: bytes, limit: int) -> tuple[bytes, bool]:
    """A text that was read up to `limit`, without a last line that may be cut; and whether it was cut."""
    if len(raw) < limit:
        return raw, False
    return raw[: raw.rfind(b"\n") + 1], True


def split_deleted(link: bytes) -> tuple[bytes, bool]:
    """A path without the kernel's mark that its name is gone, and whether the mark was there."""
    return link.removesuffix(DELETED), link.endswith(DELETED)


def numbers(names: list[str]) -> list[int]:
    """The entries of a /proc directory that are numbers, ascending."""
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())
