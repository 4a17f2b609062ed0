"""Sockets to parts of the kernel by their names.

Source: sys/kern_control.h, sys/sys_domain.h (the last is in Apple's SDK only).
"""

import ctypes
import fcntl
import os
from ctypes import c_char, c_int32, c_uint8, c_uint16, c_uint32, c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, failed

CTLIOCGINFO = 0xC0644E03
MAX_KCTL_NAME, AF_SYSTEM, AF_SYS_CONTROL, SYSPROTO_CONTROL, SOCK_DGRAM = 96, 32, 2, 2, 2
SO_RCVBUF, SOL_SOCKET = 0x1002, 0xFFFF


class ctl_info(ctypes.Structure):
    """A name, and the number that it has."""

    _fields_ = (("ctl_id", c_uint32), ("ctl_name", c_char * MAX_KCTL_NAME))


class sockaddr_ctl(ctypes.Structure):
    """Where to connect to."""

    _fields_ = (
        ("sc_len", c_uint8),
        ("sc_family", c_uint8),
        ("ss_sysaddr", c_uint16),
        ("sc_id", c_uint32),
        ("sc_unit", c_uint32),
        ("sc_reserved", c_uint32 * 5),
    )


SIGNATURES = {
    "socket": (c_int32, (c_int32, c_int32, c_int32)),
    "connect": (c_int32, (c_int32, c_void_p, c_uint32)),
    "setsockopt": (c_int32, (c_int32, c_int32, c_int32, c_void_p, c_uint32)),
}
NOT_IN_HEADERS = {
    "AF_SYS_CONTROL": "sys/sys_domain.h of the macOS SDK",
    "SYSPROTO_CONTROL": "sys/sys_domain.h of the macOS SDK",
}
calls = Library(LIBSYSTEM, SIGNATURES)


def open_control(name: bytes, room_bytes: int) -> int:
    """A connected socket, to be closed by os.close.

    Raises:
        OSError: ENOENT when the kernel has no such part, EPERM.
    """
    fd = int(calls.socket(AF_SYSTEM, SOCK_DGRAM, SYSPROTO_CONTROL))
    if fd < 0:
        raise failed("socket PF_SYSTEM")
    try:
        found = ctl_info.from_buffer_copy(fcntl.ioctl(fd, CTLIOCGINFO, bytes(ctl_info(0, name))))
        size = ctypes.sizeof(sockaddr_ctl)
        address = sockaddr_ctl(size, AF_SYSTEM, AF_SYS_CONTROL, found.ctl_id, 0)
        room = c_int32(room_bytes)
        calls.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, ctypes.byref(room), 4)
        if calls.connect(fd, ctypes.byref(address), size) != 0:
            raise failed("connect PF_SYSTEM")
        os.set_blocking(fd, False)
    except BaseException:
        os.close(fd)
        raise
    return fd
