"""The Berkeley packet filter's devices. Source: net/bpf.h, net/if.h, sys/sockio.h.

The ioctls are made by `fcntl`; only the structures that they take stand here.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Sequence
from ctypes import c_int32, c_uint8, c_uint16, c_uint32

BIOCGBLEN, BIOCSBLEN, BIOCSETF, BIOCFLUSH, BIOCPROMISC = 0x40044266, 0xC0044266, 0x80104267, 0x20004268, 0x20004269
BIOCGDLT, BIOCSETIF, BIOCSRTIMEOUT, BIOCGSTATS, BIOCIMMEDIATE = (
    0x4004426A, 0x8020426C, 0x8010426D, 0x4008426F, 0x80044270,
)  # fmt: skip
BIOCSHDRCMPLT, BIOCSSEESENT, BIOCSDLT = 0x80044275, 0x80044277, 0x80044278
SIOCIFCREATE, SIOCIFDESTROY = 0xC0206978, 0x80206979
DLT_NULL, DLT_EN10MB, DLT_PPP, DLT_RAW, DLT_IEEE802_11, DLT_LOOP = 0, 1, 9, 12, 105, 108
DLT_IEEE802_11_RADIO, DLT_APPLE_IP_OVER_IEEE1394 = 127, 138
_EBUSY = 16
"""On Darwin and Linux alike."""
BPF_ALIGNMENT = 4
C_PATHS = {"BPF_TIMEVAL": "struct BPF_TIMEVAL"}


class BPF_TIMEVAL(ctypes.Structure):
    """A time stamp, as 32-bit processes had it."""

    _fields_ = (("tv_sec", c_int32), ("tv_usec", c_int32))


class bpf_hdr(ctypes.Structure):
    """What stands before each packet."""

    _fields_ = (
        ("bh_tstamp", BPF_TIMEVAL),
        ("bh_caplen", c_uint32),
        ("bh_datalen", c_uint32),
        ("bh_hdrlen", c_uint16),
    )


class bpf_insn(ctypes.Structure):
    """One instruction of a filter."""

    _fields_ = (("code", c_uint16), ("jt", c_uint8), ("jf", c_uint8), ("k", c_uint32))


class bpf_program(ctypes.Structure):
    """A filter."""

    _fields_ = (("bf_len", c_uint32), ("bf_insns", ctypes.POINTER(bpf_insn)))


class bpf_stat(ctypes.Structure):
    """What came to a device's filter since it was set, and what passed it and found no room."""

    _fields_ = (("bs_recv", c_uint32), ("bs_drop", c_uint32))


def open_device(most: int = 256) -> int:
    """The first device that nobody has open, as a descriptor that does not wait.

    Raises:
        OSError: EACCES without the right to it, EBUSY when all are open, ENOENT when there is none.
    """
    busy: OSError = FileNotFoundError(2, "there is no /dev/bpf device")
    for number in range(most):
        try:
            return os.open(f"/dev/bpf{number}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            break
        except OSError as failed:
            if failed.errno != _EBUSY:
                raise
            busy = failed
    raise busy


def _named(interface: str) -> bytes:
    """A struct ifreq, of which only the name is used."""
    return struct.pack("16s16x", os.fsencode(interface)[:15])


def create_interface(descriptor: int, kind: str) -> str:
    """Makes an interface of a kind that can be cloned (``pktap``); the name that it got. Raises OSError."""
    answer: bytes = fcntl.ioctl(descriptor, SIOCIFCREATE, _named(kind))
    return os.fsdecode(answer[:16].split(b"\0", 1)[0])


def destroy_interface(descriptor: int, name: str) -> None:
    """Takes an interface away that `create_interface` made. Raises OSError."""
    fcntl.ioctl(descriptor, SIOCIFDESTROY, _named(name))


def set_number(device: int, request: int, number: int) -> int:
    """An ioctl that takes an unsigned number; what the kernel made of it. Raises OSError."""
    answer: bytes = fcntl.ioctl(device, request, struct.pack("@I", number))
    return int(struct.unpack("@I", answer)[0])


def get_number(device: int, request: int) -> int:
    """An ioctl that gives an unsigned number. Raises OSError."""
    return set_number(device, request, 0)


def bind(device: int, interface: str) -> None:
    """Takes packets of an interface from now on. Raises OSError: ENXIO when there is none."""
    fcntl.ioctl(device, BIOCSETIF, _named(interface))


def set_filter(device: int, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Puts a filter before a device, and forgets what it holds. Raises OSError."""
    instructions = (bpf_insn * len(program))(*(bpf_insn(*one) for one in program))
    fcntl.ioctl(device, BIOCSETF, bytes(bpf_program(len(program), instructions)))


def counts(device: int) -> tuple[int, int]:
    """Packets that came to the filter, and of those that passed it the ones that found no room. Raises OSError."""
    found = bpf_stat.from_buffer_copy(fcntl.ioctl(device, BIOCGSTATS, bytes(ctypes.sizeof(bpf_stat))))
    return int(found.bs_recv), int(found.bs_drop)


def promiscuous(device: int) -> None:
    """Lets the interface take every packet, as long as the device is open. Raises OSError."""
    fcntl.ioctl(device, BIOCPROMISC)
