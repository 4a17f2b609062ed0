"""A file system of one file, served by a process of ours that can be made to answer nothing any more.

Source: include/uapi/linux/fuse.h; fuse(4).
"""

import ctypes
import os
import signal
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

NAME, CONTENT = b"far", b"far!" * 16384
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _INIT, _BATCH_FORGET = 1, 2, 3, 14, 15, 26, 42
_WITHOUT_REPLY = (_FORGET, _BATCH_FORGET)
_IN, _OUT, _READ_IN = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ"), struct.Struct("=QQI")
_INIT_OUT, _OPEN_OUT = struct.Struct("=IIIIHHIIHHI28x"), struct.Struct("=QIi")
_ATTRIBUTES, _ENTRY, _VALID = struct.Struct("=6Q10I"), struct.Struct("=4QII"), struct.Struct("=QII")
_ROOT, _FILE = 1, 2
_ENOENT, _ENOSYS = 2, 38
_MNT_DETACH = 2


@contextmanager
def served(target: Path) -> Iterator[int]:
    """Mounts it at a directory; the pid of who serves it. Skips where that cannot be."""
    try:
        fuse = os.open("/dev/fuse", os.O_RDWR)
    except OSError as failed:
        pytest.skip(f"no FUSE here: {failed}")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fuse},rootmode=40755,user_id=0,group_id=0".encode()
    if libc.mount(b"far", os.fsencode(target), b"fuse.far", 0, options):
        os.close(fuse)
        pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
    pid = os.fork()
    if pid == 0:
        with suppress(OSError):
            _serve(fuse)
        os._exit(0)
    os.close(fuse)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)  # first of all: whoever waits for an answer gets an error
        os.waitpid(pid, 0)
        libc.umount2(os.fsencode(target), _MNT_DETACH)


def _serve(fuse: int) -> None:
    while True:
        raw = os.read(fuse, 1 << 17)
        _, operation, unique, node, *_ = _IN.unpack_from(raw)
        if operation in _WITHOUT_REPLY:
            continue
        error, answer = _answer(operation, node, raw[_IN.size :])
        os.write(fuse, _OUT.pack(_OUT.size + len(answer), -error, unique) + answer)


def _answer(operation: int, node: int, body: bytes) -> tuple[int, bytes]:
    if operation == _INIT:
        return 0, _INIT_OUT.pack(7, 31, 0, 0, 1, 1, 4096, 1, 0, 0, 0)
    if operation == _LOOKUP:
        if body.rstrip(b"\0") != NAME:
            return _ENOENT, b""
        return 0, _ENTRY.pack(_FILE, 0, 0, 0, 0, 0) + _attributes(_FILE)
    if operation == _GETATTR:
        return 0, _VALID.pack(0, 0, 0) + _attributes(node)
    if operation == _OPEN:
        return 0, _OPEN_OUT.pack(0, 0, 0)
    if operation == _READ:
        _, offset, size = _READ_IN.unpack_from(body)
        return 0, CONTENT[offset : offset + size]
    return _ENOSYS, b""


def _attributes(node: int) -> bytes:
    mode, size = (stat.S_IFDIR | 0o755, 0) if node == _ROOT else (stat.S_IFREG | 0o644, len(CONTENT))
    return _ATTRIBUTES.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
