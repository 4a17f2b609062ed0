"""The C library's calls that Python has no name for, each with its full signature.

Loading ctypes takes 5 ms: import this module where it is needed, not at the top of a file that every command loads.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

CAPABILITY_VERSION_3 = 0x20080522
"""Two 32-bit words for each set (Linux 2.6.26)."""
SYS_LSM_LIST_MODULES = 461
"""The same on every architecture (Linux 6.8)."""
_MOST_MODULES = 64


AT_NO_AUTOMOUNT = 0x800
AT_STATX_DONT_SYNC = 0x4000
STATX_BASIC_STATS = 0x7FF
CLONE_NEWNET = 0x4000_0000
PR_SET_NO_NEW_PRIVS = 38
AF_PACKET = 17


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWords(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


class _Statx(ctypes.Structure):
    """The beginning of struct statx; the kernel writes 256 bytes."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("links", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("spare", ctypes.c_uint16),
        ("inode", ctypes.c_uint64),
        ("rest", ctypes.c_uint8 * 216),
    )


class FileStatus(NamedTuple):
    """What `file_status` gives."""

    mode: int
    inode: int
    links: int


class _SockaddrLl(ctypes.Structure):
    """struct sockaddr_ll; the protocol in the network's order of bytes."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("protocol", ctypes.c_uint16),
        ("index", ctypes.c_int),
        ("hardware", ctypes.c_uint16),
        ("packet_type", ctypes.c_uint8),
        ("length", ctypes.c_uint8),
        ("address", ctypes.c_uint8 * 32),  # 8, and as many as a long address of Infiniband takes
    )


_CapabilityData = _CapabilityWords * 2

_libc.capget.argtypes = [ctypes.POINTER(_CapabilityHeader), ctypes.POINTER(_CapabilityWords)]
_libc.capget.restype = ctypes.c_int
_libc.capset.argtypes = [ctypes.POINTER(_CapabilityHeader), ctypes.POINTER(_CapabilityWords)]
_libc.capset.restype = ctypes.c_int
_libc.statx.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Statx)]
_libc.statx.restype = ctypes.c_int
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_libc.prctl.restype = ctypes.c_int
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.setns.restype = ctypes.c_int
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.fallocate.restype = ctypes.c_int
_libc.bind.argtypes = [ctypes.c_int, ctypes.POINTER(_SockaddrLl), ctypes.c_uint32]
_libc.bind.restype = ctypes.c_int
_libc.getsockname.argtypes = [ctypes.c_int, ctypes.POINTER(_SockaddrLl), ctypes.POINTER(ctypes.c_uint32)]
_libc.getsockname.restype = ctypes.c_int


def get_capabilities() -> tuple[int, int, int]:
    """The calling thread's effective, permitted and inheritable masks. Source: capget(2)."""
    data = _CapabilityData()
    _checked(_libc.capget(_header(), data))
    return _joined([data[0].effective, data[1].effective]), _permitted(data), _inheritable(data)


def set_effective(mask: int) -> None:
    """Replaces the calling thread's effective set; permitted and inheritable stay. Source: capset(2).

    Other threads keep theirs: Linux has capabilities per thread, and glibc does not spread capset as it does setuid.

    Raises:
        PermissionError: a bit of `mask` is not permitted.
    """
    data = _CapabilityData()
    _checked(_libc.capget(_header(), data))
    data[0].effective, data[1].effective = mask & 0xFFFF_FFFF, mask >> 32
    _checked(_libc.capset(_header(), data))


def limit_permitted(mask: int) -> None:
    """Gives up every capability of the calling thread that is not in `mask`, for good: execve(2) of a program that
    would have more gives none back either (no_new_privs), though the user be root.

    Source: capset(2), PR_SET_NO_NEW_PRIVS (Linux 3.5).

    Raises:
        OSError
    """
    data = _CapabilityData()
    _checked(_libc.capget(_header(), data))
    for words, kept in zip(data, (mask & 0xFFFF_FFFF, mask >> 32), strict=True):
        words.effective &= kept
        words.permitted &= kept
        words.inheritable &= kept
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_libc.capset(_header(), data))


def file_status(directory: int, path: bytes) -> FileStatus:
    """Of the file that `path` leads to, without asking a server: a dead network mount must not hang us.

    What the kernel knows of a remote file may therefore be old. Source: statx(2), Linux 4.11, glibc 2.28.

    Raises:
        OSError
    """
    found = _Statx()
    flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT
    _checked(_libc.statx(directory, path, flags, STATX_BASIC_STATS, ctypes.byref(found)))
    return FileStatus(found.mode, found.inode, found.links)


def enter_network(namespace: int) -> None:
    """Moves the calling thread, and no other, into the network namespace that a descriptor names. Source: setns(2).

    Raises:
        PermissionError: CAP_SYS_ADMIN is missing, here or in the user namespace that owns it.
    """
    _checked(_libc.setns(namespace, CLONE_NEWNET))


def fallocate(fd: int, offset: int, size: int) -> None:
    """Gives a part of an open file its blocks, and the file the size. Source: fallocate(2), Linux 2.6.23.

    posix_fallocate of Python writes into every block where a file system has no such call.

    Raises:
        OSError: EOPNOTSUPP, ENOSPC.
    """
    _checked(_libc.fallocate(fd, 0, offset, size))


def bind_packet(fd: int, protocol: int, index: int) -> None:
    """Has a packet socket hear one interface, by number: Python takes its name alone, and only in UTF-8.

    Source: packet(7). Args: protocol: in the network's order of bytes.

    Raises:
        OSError: ENODEV, ENETDOWN.
    """
    _checked(_libc.bind(fd, ctypes.byref(_SockaddrLl(AF_PACKET, protocol, index)), 20))


def packet_interface(fd: int) -> int:
    """The number of the interface that a packet socket is bound to; -1 when that has gone, 0 for all. See packet(7)."""
    found, size = _SockaddrLl(), ctypes.c_uint32(ctypes.sizeof(_SockaddrLl))
    _checked(_libc.getsockname(fd, ctypes.byref(found), ctypes.byref(size)))
    return int(found.index)


def lsm_ids() -> list[int]:
    """LSM_ID_* of the active security modules, in order. Source: lsm_list_modules(2).

    Raises:
        OSError: ENOSYS before Linux 6.8.
    """
    ids, size = (ctypes.c_uint64 * _MOST_MODULES)(), ctypes.c_uint32(8 * _MOST_MODULES)
    count = _libc.syscall(ctypes.c_long(SYS_LSM_LIST_MODULES), ids, ctypes.byref(size), ctypes.c_uint32(0))
    return list(ids[: _checked(count)])


def _header() -> _CapabilityHeader:
    return _CapabilityHeader(CAPABILITY_VERSION_3, 0)


def _permitted(data: "ctypes.Array[_CapabilityWords]") -> int:
    return _joined([data[0].permitted, data[1].permitted])


def _inheritable(data: "ctypes.Array[_CapabilityWords]") -> int:
    return _joined([data[0].inheritable, data[1].inheritable])


def _joined(words: Sequence[int]) -> int:
    return words[0] | words[1] << 32


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
