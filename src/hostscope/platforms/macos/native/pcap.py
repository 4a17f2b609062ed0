"""The system's libpcap: what a filter expression means, as a program for the kernel, and whether a packet fits it.

The library reads the expression; we never do. Names in it (``host example.org``) are resolved by the library.
Source: pcap(3), pcap/pcap.h.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_char, c_char_p, c_int32, c_int64, c_uint32, c_void_p

from hostscope.errors import Unavailable, UsageError
from hostscope.model.text import decode
from hostscope.platforms.macos.native.bpf import bpf_insn, bpf_program
from hostscope.platforms.macos.native.library import Library

_PATH = "/usr/lib/libpcap.A.dylib"
_UNKNOWN_NETMASK = 0xFFFF_FFFF
_MOST_INSTRUCTIONS = 512
"""BPF_MAXINSNS of net/bpf.h: the kernel takes no longer program."""
_WHERE = "pcap/pcap.h of libpcap, which every macOS has"

SIGNATURES = {
    "pcap_open_dead": (c_void_p, (c_int32, c_int32)),
    "pcap_compile": (c_int32, (c_void_p, c_void_p, c_char_p, c_int32, c_uint32)),
    "pcap_geterr": (c_char_p, (c_void_p,)),
    "pcap_freecode": (None, (c_void_p,)),
    "pcap_offline_filter": (c_int32, (c_void_p, c_void_p, c_void_p)),
    "pcap_close": (None, (c_void_p,)),
}


class pcap_pkthdr(ctypes.Structure):
    """What stands beside a packet: Apple's libpcap has room for a comment at the end."""

    _fields_ = (
        ("tv_sec", c_int64),
        ("tv_usec", c_int64),
        ("caplen", c_uint32),
        ("len", c_uint32),
        ("comment", c_char * 256),
    )


NOT_IN_HEADERS = dict.fromkeys((*SIGNATURES, "pcap_pkthdr"), _WHERE)
pcap = Library(_PATH, SIGNATURES)


class Filter:
    """A program that libpcap runs over packets in our memory. Not for several threads."""

    def __init__(self, program: Sequence[tuple[int, int, int, int]]) -> None:
        self._instructions = (bpf_insn * len(program))(*(bpf_insn(*one) for one in program))
        self._program = bpf_program(len(program), self._instructions)
        self._header = pcap_pkthdr()
        self._asked = ctypes.byref(self._program), ctypes.byref(self._header)

    def passes(self, address: int, captured: int, length: int) -> bool:
        """Whether the program lets a packet through.

        Args:
            address: of its first byte.

        Raises:
            Unsupported: libpcap has no such function.
        """
        self._header.caplen, self._header.len = captured, length
        return bool(pcap.pcap_offline_filter(*self._asked, address) != 0)


def compile_filter(expression: str, link: int, snap_bytes: int) -> tuple[tuple[int, int, int, int], ...]:
    """The program that lets `snap_bytes` of each matching packet through.

    Args:
        link: DLT_* number of what packets begin with.

    Raises:
        UsageError: libpcap rejects the expression; the message is its own.
        Unavailable, Unsupported: there is no libpcap, or it has no memory.
    """
    handle = pcap.pcap_open_dead(link, snap_bytes)
    if not handle:
        raise Unavailable("libpcap has no memory for a filter")
    try:
        return _compiled(handle, expression)
    finally:
        pcap.pcap_close(handle)


def _compiled(handle: int, expression: str) -> tuple[tuple[int, int, int, int], ...]:
    program = bpf_program()
    raw = expression.encode("utf-8", "surrogatepass")
    if pcap.pcap_compile(handle, ctypes.byref(program), raw, 1, _UNKNOWN_NETMASK) != 0:
        told = decode(pcap.pcap_geterr(handle) or b"")
        raise UsageError(f"bad filter {expression!r}: {told}", "the syntax is in the manual page pcap-filter(7)")
    try:
        if program.bf_len > _MOST_INSTRUCTIONS:
            raise UsageError(f"the filter takes {program.bf_len} instructions; the kernel takes {_MOST_INSTRUCTIONS}")
        return tuple((one.code, one.jt, one.jf, one.k) for one in program.bf_insns[: program.bf_len])
    finally:
        pcap.pcap_freecode(ctypes.byref(program))
