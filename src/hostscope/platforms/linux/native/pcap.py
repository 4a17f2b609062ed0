"""The system's libpcap, asked for one thing: what a filter expression means, as a program for the kernel.

The library reads the expression; we never do. Names in it (``host example.org``) are resolved by the library, which
asks the configured resolver.
"""

import ctypes

from hostscope.errors import Unavailable, UsageError
from hostscope.model.text import decode, encode

NAMES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
"""As Debian calls it, as everybody else does, and as development packages do."""
UNKNOWN_NETMASK = 0xFFFF_FFFF
MOST_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

_MESSAGE_BYTES, _SMALL_BUFFER = 256, 1 << 19

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, k: struct sock_filter."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


def compile_filter(
    expression: str, link: int, snap_bytes: int, interface: str | None = None
) -> tuple[Instruction, ...]:
    """The program that lets `snap_bytes` of each matching packet through.

    Args:
        link: DLT_* number of what packets begin with.
        interface: where the program will run. The kernel takes VLAN tags out of frames; libpcap writes programs that
            know this (``vlan 42``) only for a capture that is open, so one is opened, for as long as it takes.

    Raises:
        UsageError: libpcap rejects the expression; the message is its own.
        Unavailable: there is no libpcap.
    """
    library = _library()
    handle = _open_live(library, interface, link, snap_bytes) if interface else None
    handle = handle or library.pcap_open_dead(link, snap_bytes)
    if not handle:
        raise Unavailable("libpcap has no memory for a filter")
    try:
        return _compiled(library, handle, expression)
    finally:
        library.pcap_close(handle)


def _open_live(library: ctypes.CDLL, interface: str, link: int, snap_bytes: int) -> int | None:
    """A capture on the interface; None where it may not be opened or has another link type."""
    handle: int | None = library.pcap_create(encode(interface), ctypes.create_string_buffer(_MESSAGE_BYTES))
    if not handle:
        return None
    library.pcap_set_snaplen(handle, snap_bytes)
    library.pcap_set_buffer_size(handle, _SMALL_BUFFER)
    if library.pcap_activate(handle) >= 0 and (
        library.pcap_datalink(handle) == link or library.pcap_set_datalink(handle, link) == 0
    ):
        return handle
    library.pcap_close(handle)
    return None


def _compiled(library: ctypes.CDLL, handle: int, expression: str) -> tuple[Instruction, ...]:
    program = _Program()
    raw = expression.encode("utf-8", "surrogatepass")
    if library.pcap_compile(handle, ctypes.byref(program), raw, 1, UNKNOWN_NETMASK) != 0:
        told = decode(library.pcap_geterr(handle) or b"")
        raise UsageError(f"bad filter {expression!r}: {told}", "the syntax is in the manual page pcap-filter(7)")
    try:
        if program.length > MOST_INSTRUCTIONS:
            raise UsageError(f"the filter takes {program.length} instructions; the kernel takes {MOST_INSTRUCTIONS}")
        return tuple((one.code, one.jt, one.jf, one.k) for one in program.instructions[: program.length])
    finally:
        library.pcap_freecode(ctypes.byref(program))


def version() -> str:
    """What the library calls itself.

    Raises:
        Unavailable: there is none.
    """
    return decode(_library().pcap_lib_version())


def _library() -> ctypes.CDLL:
    for name in NAMES:
        try:
            return _signed(ctypes.CDLL(name))
        except OSError:
            continue
    raise Unavailable(
        "filter expressions need libpcap, which is not installed",
        "install it: apt-get install libpcap0.8 (Debian, Ubuntu), dnf install libpcap (Fedora, RHEL)",
    )


def _signed(library: ctypes.CDLL) -> ctypes.CDLL:
    library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_create.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.pcap_create.restype = ctypes.c_void_p
    for name in ("pcap_set_snaplen", "pcap_set_buffer_size", "pcap_set_datalink"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_int]
        getattr(library, name).restype = ctypes.c_int
    for name in ("pcap_activate", "pcap_datalink"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_int
    library.pcap_compile.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
    ]  # fmt: skip
    library.pcap_compile.restype = ctypes.c_int
    library.pcap_geterr.argtypes = [ctypes.c_void_p]
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
    library.pcap_freecode.restype = None
    library.pcap_close.argtypes = [ctypes.c_void_p]
    library.pcap_close.restype = None
    library.pcap_lib_version.argtypes = []
    library.pcap_lib_version.restype = ctypes.c_char_p
    return library
