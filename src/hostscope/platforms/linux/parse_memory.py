"""/proc/PID/maps and smaps as regions. Pure: bytes in, records out; nonsense is a `ValueError`."""

from collections.abc import Iterator

from hostscope.model.detail import MemoryMap
from hostscope.model.memory import Region
from hostscope.platforms.linux.parse_detail import parse_maps

_HEX = frozenset(b"0123456789abcdef")
_REMOTE = frozenset({"9p", "afs", "ceph", "cifs", "coda", "fuse", "fuseblk", "glusterfs", "lustre", "nfs", "nfs4"})
_REMOTE |= {"orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"}
"""File systems whose files come from a server, or from another process."""
_IN_MEMORY = frozenset({"tmpfs", "devtmpfs", "ramfs", "hugetlbfs"})
"""File systems that are memory themselves."""


def parse_regions(raw: bytes) -> tuple[Region, ...]:
    """/proc/PID/maps."""
    return tuple(_region(found) for found in parse_maps(raw))


def parse_smaps(raw: bytes) -> tuple[Region, ...]:
    """/proc/PID/smaps: the same lines, each followed by what the region holds.

    Source: show_smap() in fs/proc/task_mmu.c. A line of numbers begins with a capital letter, a region with its
    address in lower-case hexadecimal.
    """
    return tuple(_detailed(head, facts) for head, facts in _blocks(raw))


def parse_remote(raw: bytes) -> dict[str, str]:
    """The types of file systems that somebody else answers for, by device as in maps. Source: /proc/PID/mountinfo."""
    return {device: kind for device, kind in _mounts(raw) if kind in _REMOTE or kind.startswith("fuse.")}


def parse_in_memory(raw: bytes) -> frozenset[str]:
    """Devices, as in maps, of file systems that are memory. Source: /proc/PID/mountinfo."""
    return frozenset(device for device, kind in _mounts(raw) if kind in _IN_MEMORY)


def _mounts(raw: bytes) -> Iterator[tuple[str, str]]:
    """Device and type of each."""
    for line in raw.split(b"\n"):
        before, _, after = line.partition(b" - ")
        words = before.split(b" ")
        if len(words) > 2:
            major, _, minor = words[2].partition(b":")
            yield f"{int(major):02x}:{int(minor):02x}", after.split(b" ")[0].decode("ascii", "replace")


def _blocks(raw: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    head: bytes | None = None
    facts: dict[bytes, bytes] = {}
    for line in raw.split(b"\n"):
        if line[:1] and line[0] in _HEX:
            if head is not None:
                yield head, facts
            head, facts = line, {}
        elif line:
            name, _, value = line.partition(b":")
            facts[name] = value
    if head is not None:
        yield head, facts


def _detailed(head: bytes, facts: dict[bytes, bytes]) -> Region:
    flags = tuple(facts.get(b"VmFlags", b"").decode("ascii").split())
    return _region(parse_maps(head)[0], _bytes(facts, b"Rss"), _bytes(facts, b"Private_Dirty"), flags)


def _bytes(facts: dict[bytes, bytes], name: bytes) -> int | None:
    value = facts.get(name)
    return None if value is None else int(value.split()[0]) * 1024


def _region(
    found: MemoryMap, resident: int | None = None, dirty: int | None = None, flags: tuple[str, ...] = ()
) -> Region:
    return Region(
        found.start, found.end, found.permissions, found.offset, found.device, found.inode, found.path, found.deleted,
        resident, dirty, None, False, None, flags,
    )  # fmt: skip
