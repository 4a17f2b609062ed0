"""PKTAP: an interface that shows the packets of others, each behind a header that names its process.

Source: bsd/net/pktap.h and the private part of bsd/net/bpf.h in xnu; what libpcap's pcap-darwin.c does with them.
"""

import ctypes
import fcntl
import os
import struct
from ctypes import c_char, c_uint32, c_uint64

DLT_PKTAP = 149
"""What the kernel calls it (DLT_USER2); files call it 258 (LINKTYPE_PKTAP)."""
BIOCSWANTPKTAP = 0xC004427F
SIOCSDRVSPEC = 0x8028697B
PKTP_CMD_FILTER_SET, PKTAP_FILTER_OP_PASS, PKTAP_FILTER_PARAM_IF_TYPE, PKTAP_MAX_FILTERS = 3, 1, 1, 8
PKTAP_IFXNAMESIZE = 24
_PRIVATE = "bsd/net/pktap.h and bpf.h in xnu (private)"


class pktap_filter(ctypes.Structure):
    """A rule; interface type 0 is every interface. The first rule that fits counts."""

    _fields_ = (
        ("filter_op", c_uint32),
        ("filter_param", c_uint32),
        ("filter_param_if_name", c_char * PKTAP_IFXNAMESIZE),
    )


class ifdrv(ctypes.Structure):
    """What is told to the driver of an interface."""

    _fields_ = (("ifd_name", c_char * 16), ("ifd_cmd", c_uint64), ("ifd_len", c_uint64), ("ifd_data", c_uint64))


NOT_IN_HEADERS = dict.fromkeys(
    (
        "DLT_PKTAP", "BIOCSWANTPKTAP", "PKTP_CMD_FILTER_SET", "PKTAP_FILTER_OP_PASS", "PKTAP_FILTER_PARAM_IF_TYPE",
        "PKTAP_MAX_FILTERS", "PKTAP_IFXNAMESIZE", "pktap_filter",
    ),
    _PRIVATE,
)  # fmt: skip


def want_headers(device: int) -> None:
    """Asks for PKTAP's headers, before the device is bound: without it the kernel shows packets of raw IP only.

    Raises:
        OSError
    """
    fcntl.ioctl(device, BIOCSWANTPKTAP, struct.pack("@I", 1))


def show_every_interface(descriptor: int, name: str) -> None:
    """Lets the packets of every interface through; without it loopback and bridges are left out.

    Raises:
        OSError
    """
    rules = (pktap_filter * PKTAP_MAX_FILTERS)(pktap_filter(PKTAP_FILTER_OP_PASS, PKTAP_FILTER_PARAM_IF_TYPE))
    told = ifdrv(os.fsencode(name)[:15], PKTP_CMD_FILTER_SET, ctypes.sizeof(rules), ctypes.addressof(rules))
    fcntl.ioctl(descriptor, SIOCSDRVSPEC, bytes(told))
