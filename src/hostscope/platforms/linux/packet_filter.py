"""Filters of packet sockets: attached by the kernel's classic BPF, made by libpcap."""

import socket
import struct
from array import array

from hostscope.errors import UsageError

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, k: struct sock_filter."""
Program = tuple[Instruction, ...]

SO_ATTACH_FILTER = 26
_RETURN = 0x06
DROP_ALL: Program = ((_RETURN, 0, 0, 0),)

DLT_RAW, LINKTYPE_RAW = 12, 101
"""libpcap has its own number for raw IP on each system; files have one."""
DLT_LINUX_SLL2 = 276
SLL2_BYTES = 20
"""sockaddr_ll in network byte order: what stands before a packet in cooked form."""
_LOAD, _LOAD_INDEXED = 0x00, 0x01
_CLASS, _MODE = 0x07, 0xE0
_ABSOLUTE, _INDIRECT, _HEADER_LENGTH = 0x20, 0x40, 0xA0
_ANCILLARY = 0xFFFF_F000
"""SKF_AD_OFF as an unsigned number: loads from here on are answered by the kernel."""
_COOKED_FIELDS = {0: 0, 4: 8, 10: 4}
"""Offset in the cooked header -> SKF_AD_PROTOCOL, SKF_AD_IFINDEX, SKF_AD_PKTTYPE."""


def accept_all(snap_bytes: int) -> Program:
    """Lets the first `snap_bytes` of every packet through."""
    return ((_RETURN, 0, 0, snap_bytes),)


def program_for(expression: str | None, link: int, snap_bytes: int, interface: str | None = None) -> Program:
    """The program for an expression on packets of a link type (LINKTYPE_*), on that interface.

    Raises:
        UsageError: libpcap rejects the expression, or it asks for what cooked packets do not have.
        Unavailable: there is no libpcap.
    """
    if not expression:
        return accept_all(snap_bytes)
    from hostscope.platforms.linux.native import pcap

    program = pcap.compile_filter(expression, DLT_RAW if link == LINKTYPE_RAW else link, snap_bytes, interface)
    return for_cooked(program) if link == DLT_LINUX_SLL2 else program


def for_cooked(program: Program) -> Program:
    """The same program for a kernel that sees the packet without the cooked header before it.

    The header is put there when the packet has left the kernel, so loads behind it move, and loads inside it become
    questions to the kernel. libpcap does the same when it captures from ``any``.

    Raises:
        UsageError: the expression asks for a field of the header that the kernel does not tell a filter.
    """
    return tuple(_moved(instruction) for instruction in program)


def _moved(instruction: Instruction) -> Instruction:
    code, jt, jf, k = instruction
    kind, mode = code & _CLASS, code & _MODE
    if kind not in (_LOAD, _LOAD_INDEXED) or mode not in (_ABSOLUTE, _INDIRECT, _HEADER_LENGTH) or k >= _ANCILLARY:
        return instruction
    if k >= SLL2_BYTES:
        return code, jt, jf, k - SLL2_BYTES
    if mode == _ABSOLUTE and k in _COOKED_FIELDS:
        # The kernel answers with a whole word whatever width was asked for.
        return _ABSOLUTE, jt, jf, _ANCILLARY + _COOKED_FIELDS[k]
    raise UsageError(
        "the filter asks for a part of the link layer that packets of 'any' do not have",
        "name the interfaces to capture from",
    )


def attach(packets: socket.socket, program: Program) -> None:
    """Puts the program before the socket, in place of the one before it, atomically.

    Raises:
        OSError: the kernel rejects it.
    """
    code = array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), code.buffer_info()[0]))
