"""What the kernel answers about a process's files, threads and memory, parsed. Pure.

Layouts stand with their names in ``native.libproc``; a test compares each place here with them.
"""

import stat as modes
from struct import Struct as Layout

from hostscope.model.detail import MemoryMap, OpenFile, Thread
from hostscope.platforms.macos.parse import VNODE_PATH_AT, Places, layout, parse_text
from hostscope.platforms.macos.parse_region import permissions

FDINFO_BYTES, VNODE_BYTES, PIPE_BYTES, THREAD_BYTES, REGION_BYTES = 24, 1200, 184, 112, 1272
VNODE_PLACES: Places = ((0, "I"), (8, "q"), (28, "H"), (32, "Q"))
_VNODE = layout(VNODE_BYTES, VNODE_PLACES)
PIPE_PLACES: Places = ((0, "I"), (160, "Q"), (168, "Q"))
_PIPE = layout(PIPE_BYTES, PIPE_PLACES)
THREAD_PLACES: Places = ((0, "Q"), (8, "Q"), (24, "i"), (48, "64s"))
_THREAD = layout(THREAD_BYTES, THREAD_PLACES)
REGION_PLACES: Places = ((0, "I"), (16, "Q"), (60, "I"), (80, "Q"), (88, "Q"), (96, "I"), (104, "Q"))
_REGION = layout(REGION_BYTES, REGION_PLACES)
_REGION_PATH_AT = 96 + VNODE_PATH_AT
READ, WRITE, APPEND = 0x1, 0x2, 0x8
"""FREAD, FWRITE, FAPPEND."""
THREAD_STATES = {1: "running", 2: "stopped", 3: "sleeping", 4: "disk-sleep", 5: "stopped"}
"""TH_STATE_…: running, stopped, waiting, uninterruptible, halted."""


def parse_vnode(fd: int, raw: bytes) -> OpenFile:
    """struct vnode_fdinfowithpath. Raises `ValueError`."""
    flags, offset, mode, inode = _sized(_VNODE, raw)
    kind = "directory" if modes.S_ISDIR(mode) else "device" if modes.S_ISCHR(mode) or modes.S_ISBLK(mode) else "file"
    return OpenFile(fd, kind, parse_text(raw[FDINFO_BYTES + VNODE_PATH_AT :]), _mode(flags), offset, inode)


def parse_pipe(fd: int, raw: bytes) -> OpenFile:
    """struct pipe_fdinfo: both ends get one name. Raises `ValueError`."""
    flags, handle, peer = _sized(_PIPE, raw)
    return OpenFile(fd, "pipe", f"pipe:{min(handle, peer):#x}", _mode(flags), None, None)


def parse_thread(handle: int, raw: bytes) -> Thread:
    """struct proc_threadinfo. Raises `ValueError`."""
    user, system, state, name = _sized(_THREAD, raw)
    return Thread(handle, parse_text(name), THREAD_STATES.get(state, f"state {state}"), user, system, None, None)


def parse_region(raw: bytes) -> MemoryMap:
    """struct proc_regionwithpathinfo. Raises `ValueError`."""
    protection, offset, share, start, size, device, inode = _sized(_REGION, raw)
    numbers = f"{device >> 24 & 0xFF:02x}:{device & 0xFFFFFF:02x}"
    path = parse_text(raw[_REGION_PATH_AT : _REGION_PATH_AT + 1024]) or None
    return MemoryMap(start, start + size, permissions(protection, share), offset, numbers, inode, path)


def _sized(form: Layout, raw: bytes) -> tuple:  # type: ignore[type-arg]
    if len(raw) != form.size:
        raise ValueError(f"{len(raw)} bytes instead of {form.size}")
    return form.unpack(raw)


def _mode(flags: int) -> str | None:
    letters = ("r" if flags & READ else "") + ("w" if flags & WRITE else "") + ("a" if flags & APPEND else "")
    return letters or None
