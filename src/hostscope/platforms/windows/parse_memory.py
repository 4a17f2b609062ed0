"""Regions from what VirtualQueryEx tells. Pure: numbers in, records out."""

from typing import NamedTuple

from hostscope.model.gap import Gap
from hostscope.model.memory import Region

COMMITTED, RESERVED, FREE = 0x1000, 0x2000, 0x10000
KINDS = {0x1000000: "image", 0x40000: "mapped", 0x20000: "private"}
GUARD = 0x100
_MODIFIERS = {0x200: "nocache", 0x400: "writecombine"}
_LETTERS = {
    0x01: "---",
    0x02: "r--",
    0x04: "rw-",
    0x08: "rw-",
    0x10: "--x",
    0x20: "r-x",
    0x40: "rwx",
    0x80: "rwx",
}
"""By the lowest byte of a protection. The two that copy on write (8 and 80) may be written, into a copy."""
COPIES = frozenset({0x08, 0x80})
NETWORK = ("\\device\\mup\\", "\\device\\lanmanredirector\\", "\\device\\webdavredirector\\", "\\??\\unc\\")


class Pages(NamedTuple):
    """MEMORY_BASIC_INFORMATION, as numbers."""

    start: int
    allocation: int
    initial: int
    size: int
    state: int
    protection: int
    kind: int


def region_of(pages: Pages, path: str | None, served_by: str | None, gaps: tuple[Gap, ...] = ()) -> Region:
    """One region; reserved ones have no permissions."""
    kind = KINDS.get(pages.kind)
    committed = pages.state == COMMITTED
    return Region(
        start=pages.start,
        end=pages.start + pages.size,
        permissions=permissions(pages.protection if committed else 0, pages.kind),
        offset=0,
        device="",
        inode=0,
        path=path,
        served_by=served_by,
        flags=tuple(_flags(pages.protection)) if committed else (),
        kind=kind,
        state="committed" if committed else "reserved",
        guard=committed and bool(pages.protection & GUARD),
        allocation=pages.allocation,
        initial=permissions(pages.initial, pages.kind),
        gaps=gaps,
    )


def permissions(protection: int, kind: int) -> str:
    """``rw-p``: shared (``s``) is what others see when it is written."""
    low = protection & 0xFF
    shared = KINDS.get(kind) == "mapped" and low not in COPIES
    return _LETTERS.get(low, "---") + ("s" if shared else "p")


def _flags(protection: int) -> list[str]:
    found = [name for bit, name in _MODIFIERS.items() if protection & bit]
    return found + (["writecopy"] if protection & 0xFF in COPIES else [])


def served_by(native_path: str | None) -> str | None:
    """``network`` for files that a server has to give."""
    return "network" if native_path and native_path.lower().startswith(NETWORK) else None


def by_drive(native_path: str, drives: dict[str, str]) -> str:
    """``\\Device\\HarddiskVolume3\\x`` -> ``C:\\x``, as far as a drive of ours has the device."""
    if native_path.startswith("\\??\\"):
        return native_path.removeprefix("\\??\\")
    for device, drive in drives.items():
        if native_path.startswith(device + "\\"):
            return drive + native_path[len(device) :]
    return native_path


def runs(valid: list[bool], start: int, page_bytes: int) -> list[tuple[int, int]]:
    """Addresses of the pages that are marked, neighbours together."""
    found: list[tuple[int, int]] = []
    for index, holds in enumerate(valid):
        if holds:
            first = start + index * page_bytes
            if found and found[-1][1] == first:
                first = found.pop()[0]
            found.append((first, start + (index + 1) * page_bytes))
    return found
