"""Raw sockets beyond what Python's own module does: receiving with the packet's destination (ws2_32)."""

import ctypes
from typing import Any, NamedTuple
from uuid import UUID

from hostscope.platforms.windows.native.guid import GUID, guid_of
from hostscope.platforms.windows.native.iphlpapi import IN6_ADDR
from hostscope.platforms.windows.native.library import Library, SystemRefused, last_error
from hostscope.platforms.windows.native.types import DWORD, INT, POINTER, PVOID, SIZE_T, UINT, ULONG, ULONG_PTR

SIO_RCVALL = 0x98000001
RCVALL_OFF = 0
RCVALL_ON = 1
RCVALL_IPLEVEL = 3
SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006
IPPROTO_IPV6 = 41
IPV6_PKTINFO = 19
WSAEACCES = 10013
WSAEINVAL = 10022
WSAEWOULDBLOCK = 10035
WSAEMSGSIZE = 10040
WSAEPROTONOSUPPORT = 10043
WSAESOCKTNOSUPPORT = 10044
WSAEOPNOTSUPP = 10045
WSAEAFNOSUPPORT = 10047
WSAEADDRNOTAVAIL = 10049
WSAENETDOWN = 10050
WSAECONNRESET = 10054

_WSARECVMSG = UUID("f689d7c8-6f1f-436b-8a53-e54fe351c322")
"""WSAID_WSARECVMSG of mswsock.h."""
_CONTROL_BYTES, _NAME_BYTES = 256, 128


class WSABUF(ctypes.Structure):
    _fields_ = (("len", ULONG), ("buf", PVOID))


class WSAMSG(ctypes.Structure):
    _fields_ = (
        ("name", PVOID),
        ("namelen", INT),
        ("lpBuffers", POINTER(WSABUF)),
        ("dwBufferCount", DWORD),
        ("Control", WSABUF),
        ("dwFlags", DWORD),
    )


class WSACMSGHDR(ctypes.Structure):
    _fields_ = (("cmsg_len", SIZE_T), ("cmsg_level", INT), ("cmsg_type", INT))


class IN6_PKTINFO(ctypes.Structure):
    _fields_ = (("ipi6_addr", IN6_ADDR), ("ipi6_ifindex", UINT))


SIGNATURES = {
    "WSAIoctl": (INT, (ULONG_PTR, DWORD, PVOID, DWORD, PVOID, DWORD, POINTER(DWORD), PVOID, PVOID)),
}
ws2_32 = Library("ws2_32", SIGNATURES)
_function = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
_receive = _function(INT, ULONG_PTR, POINTER(WSAMSG), POINTER(DWORD), PVOID, PVOID)


class Message(NamedTuple):
    """One datagram; its bytes are in the buffer that was given."""

    size: int
    source: bytes
    """A sockaddr."""
    control: bytes
    """Ancillary data: WSACMSGHDRs with what belongs to them."""


def message_receiver(handle: int) -> Any:
    """WSARecvMsg for this socket: winsock has no export of it, each provider gives its own.

    Raises:
        OSError
    """
    guid, found, size = guid_of(_WSARECVMSG), PVOID(), DWORD()
    code = ws2_32.WSAIoctl(
        handle, SIO_GET_EXTENSION_FUNCTION_POINTER, ctypes.byref(guid), ctypes.sizeof(GUID),
        ctypes.byref(found), ctypes.sizeof(found), size, None, None,
    )  # fmt: skip
    if code or not found.value:
        raise SystemRefused("WSAIoctl", last_error())
    return _receive(found.value)


def receive_message(receiver: Any, handle: int, into: memoryview) -> Message:
    """Takes one datagram from a socket that does not block.

    Raises:
        OSError: nothing is there (WSAEWOULDBLOCK), or it did not fit (WSAEMSGSIZE).
    """
    name, control = (ctypes.c_uint8 * _NAME_BYTES)(), (ctypes.c_uint64 * (_CONTROL_BYTES // 8))()
    place = ctypes.addressof((ctypes.c_uint8 * len(into)).from_buffer(into))
    buffer, size = WSABUF(len(into), place), DWORD()
    room = WSABUF(_CONTROL_BYTES, ctypes.addressof(control))
    message = WSAMSG(ctypes.addressof(name), _NAME_BYTES, ctypes.pointer(buffer), 1, room, 0)
    if receiver(handle, ctypes.byref(message), ctypes.byref(size), None, None):
        raise SystemRefused("WSARecvMsg", last_error())
    told = min(message.namelen, _NAME_BYTES), min(message.Control.len, _CONTROL_BYTES)
    return Message(min(size.value, len(into)), bytes(name)[: max(told[0], 0)], bytes(control)[: told[1]])
