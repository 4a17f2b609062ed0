"""Tables of sockets, and what is known about single ones (iphlpapi)."""

import ctypes
from collections.abc import Callable
from typing import Any

from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import (
    BOOL,
    BOOLEAN,
    DWORD,
    INT,
    LARGE_INTEGER,
    POINTER,
    PVOID,
    UCHAR,
    ULONG,
    ULONG64,
    ULONGLONG,
)

AF_INET = 2
AF_INET6 = 23
TCP_TABLE_OWNER_PID_ALL = 5
TCP_TABLE_OWNER_MODULE_ALL = 8
UDP_TABLE_OWNER_PID = 1
UDP_TABLE_OWNER_MODULE = 2
TCPIP_OWNER_MODULE_INFO_BASIC = 0
TCPIP_OWNING_MODULE_SIZE = 16

MIB_TCP_STATE_CLOSED = 1
MIB_TCP_STATE_LISTEN = 2
MIB_TCP_STATE_SYN_SENT = 3
MIB_TCP_STATE_SYN_RCVD = 4
MIB_TCP_STATE_ESTAB = 5
MIB_TCP_STATE_FIN_WAIT1 = 6
MIB_TCP_STATE_FIN_WAIT2 = 7
MIB_TCP_STATE_CLOSE_WAIT = 8
MIB_TCP_STATE_CLOSING = 9
MIB_TCP_STATE_LAST_ACK = 10
MIB_TCP_STATE_TIME_WAIT = 11
MIB_TCP_STATE_DELETE_TCB = 12

TcpConnectionEstatsData = 1
TcpConnectionEstatsPath = 3

ERROR_INSUFFICIENT_BUFFER = 122
ERROR_NO_DATA = 232
ERROR_NOT_FOUND = 1168

_modules = ULONGLONG * TCPIP_OWNING_MODULE_SIZE


class IN6_ADDR(ctypes.Structure):
    _fields_ = (("Byte", UCHAR * 16),)


class MIB_TCPROW(ctypes.Structure):
    _fields_ = (
        ("dwState", DWORD),
        ("dwLocalAddr", DWORD),
        ("dwLocalPort", DWORD),
        ("dwRemoteAddr", DWORD),
        ("dwRemotePort", DWORD),
    )


class MIB_TCP6ROW(ctypes.Structure):
    _fields_ = (
        ("State", INT),
        ("LocalAddr", IN6_ADDR),
        ("dwLocalScopeId", DWORD),
        ("dwLocalPort", DWORD),
        ("RemoteAddr", IN6_ADDR),
        ("dwRemoteScopeId", DWORD),
        ("dwRemotePort", DWORD),
    )


class MIB_TCPROW_OWNER_PID(ctypes.Structure):
    _fields_ = (
        ("dwState", DWORD),
        ("dwLocalAddr", DWORD),
        ("dwLocalPort", DWORD),
        ("dwRemoteAddr", DWORD),
        ("dwRemotePort", DWORD),
        ("dwOwningPid", DWORD),
    )


class MIB_TCPROW_OWNER_MODULE(ctypes.Structure):
    _fields_ = (
        ("dwState", DWORD),
        ("dwLocalAddr", DWORD),
        ("dwLocalPort", DWORD),
        ("dwRemoteAddr", DWORD),
        ("dwRemotePort", DWORD),
        ("dwOwningPid", DWORD),
        ("liCreateTimestamp", LARGE_INTEGER),
        ("OwningModuleInfo", _modules),
    )


class MIB_TCP6ROW_OWNER_PID(ctypes.Structure):
    _fields_ = (
        ("ucLocalAddr", UCHAR * 16),
        ("dwLocalScopeId", DWORD),
        ("dwLocalPort", DWORD),
        ("ucRemoteAddr", UCHAR * 16),
        ("dwRemoteScopeId", DWORD),
        ("dwRemotePort", DWORD),
        ("dwState", DWORD),
        ("dwOwningPid", DWORD),
    )


class MIB_TCP6ROW_OWNER_MODULE(ctypes.Structure):
    _fields_ = (
        ("ucLocalAddr", UCHAR * 16),
        ("dwLocalScopeId", DWORD),
        ("dwLocalPort", DWORD),
        ("ucRemoteAddr", UCHAR * 16),
        ("dwRemoteScopeId", DWORD),
        ("dwRemotePort", DWORD),
        ("dwState", DWORD),
        ("dwOwningPid", DWORD),
        ("liCreateTimestamp", LARGE_INTEGER),
        ("OwningModuleInfo", _modules),
    )


class MIB_UDPROW_OWNER_PID(ctypes.Structure):
    _fields_ = (("dwLocalAddr", DWORD), ("dwLocalPort", DWORD), ("dwOwningPid", DWORD))


class MIB_UDPROW_OWNER_MODULE(ctypes.Structure):
    _fields_ = (
        ("dwLocalAddr", DWORD),
        ("dwLocalPort", DWORD),
        ("dwOwningPid", DWORD),
        ("liCreateTimestamp", LARGE_INTEGER),
        ("dwFlags", DWORD),
        ("OwningModuleInfo", _modules),
    )


class MIB_UDP6ROW_OWNER_PID(ctypes.Structure):
    _fields_ = (
        ("ucLocalAddr", UCHAR * 16),
        ("dwLocalScopeId", DWORD),
        ("dwLocalPort", DWORD),
        ("dwOwningPid", DWORD),
    )


class MIB_UDP6ROW_OWNER_MODULE(ctypes.Structure):
    _fields_ = (
        ("ucLocalAddr", UCHAR * 16),
        ("dwLocalScopeId", DWORD),
        ("dwLocalPort", DWORD),
        ("dwOwningPid", DWORD),
        ("liCreateTimestamp", LARGE_INTEGER),
        ("dwFlags", DWORD),
        ("OwningModuleInfo", _modules),
    )


class TCPIP_OWNER_MODULE_BASIC_INFO(ctypes.Structure):
    _fields_ = (("pModuleName", PVOID), ("pModulePath", PVOID))


class TCP_ESTATS_DATA_ROD_v0(ctypes.Structure):
    _fields_ = (
        ("DataBytesOut", ULONG64),
        ("DataSegsOut", ULONG64),
        ("DataBytesIn", ULONG64),
        ("DataSegsIn", ULONG64),
        ("SegsOut", ULONG64),
        ("SegsIn", ULONG64),
        ("SoftErrors", ULONG),
        ("SoftErrorReason", ULONG),
        ("SndUna", ULONG),
        ("SndNxt", ULONG),
        ("SndMax", ULONG),
        ("ThruBytesAcked", ULONG64),
        ("RcvNxt", ULONG),
        ("ThruBytesReceived", ULONG64),
    )


class TCP_ESTATS_DATA_RW_v0(ctypes.Structure):
    _fields_ = (("EnableCollection", BOOLEAN),)


class TCP_ESTATS_PATH_ROD_v0(ctypes.Structure):
    _fields_ = tuple(
        (name, ULONG)
        for name in (
            "FastRetran", "Timeouts", "SubsequentTimeouts", "CurTimeoutCount", "AbruptTimeouts", "PktsRetrans",
            "BytesRetrans", "DupAcksIn", "SacksRcvd", "SackBlocksRcvd", "CongSignals", "PreCongSumCwnd",
            "PreCongSumRtt", "PostCongSumRtt", "PostCongCountRtt", "EcnSignals", "EceRcvd", "SendStall", "QuenchRcvd",
            "RetranThresh", "SndDupAckEpisodes", "SumBytesReordered", "NonRecovDa", "NonRecovDaEpisodes", "AckAfterFr",
            "DsackDups", "SampleRtt", "SmoothedRtt", "RttVar", "MaxRtt", "MinRtt", "SumRtt", "CountRtt", "CurRto",
            "MaxRto", "MinRto", "CurMss", "MaxMss", "MinMss", "SpuriousRtoDetections",
        )
    )  # fmt: skip


class TCP_ESTATS_PATH_RW_v0(ctypes.Structure):
    _fields_ = (("EnableCollection", BOOLEAN),)


C_PATHS = {"IN6_ADDR.Byte": "u.Byte"}
_pid_table = (DWORD, (PVOID, POINTER(DWORD), BOOL, ULONG, INT, ULONG))
_owner_module = (INT, PVOID, POINTER(DWORD))
_estats = (INT, PVOID, ULONG, ULONG, PVOID, ULONG, ULONG, PVOID, ULONG, ULONG)
SIGNATURES = {
    "GetExtendedTcpTable": _pid_table,
    "GetExtendedUdpTable": _pid_table,
    "GetOwnerModuleFromTcpEntry": (DWORD, (POINTER(MIB_TCPROW_OWNER_MODULE), *_owner_module)),
    "GetOwnerModuleFromTcp6Entry": (DWORD, (POINTER(MIB_TCP6ROW_OWNER_MODULE), *_owner_module)),
    "GetOwnerModuleFromUdpEntry": (DWORD, (POINTER(MIB_UDPROW_OWNER_MODULE), *_owner_module)),
    "GetOwnerModuleFromUdp6Entry": (DWORD, (POINTER(MIB_UDP6ROW_OWNER_MODULE), *_owner_module)),
    "GetPerTcpConnectionEStats": (ULONG, (POINTER(MIB_TCPROW), *_estats)),
    "GetPerTcp6ConnectionEStats": (ULONG, (POINTER(MIB_TCP6ROW), *_estats)),
}
iphlpapi = Library("iphlpapi", SIGNATURES)

_FIRST_BYTES = 1 << 16
_MOST_BYTES = 1 << 28
"""Of a table; a million and a half sockets."""
_MOST_TRIES = 8

Ask = Callable[[Any, Any], int]
"""Buffer and its size -> error code; the size becomes what is needed."""


def socket_table(protocol: str, family: int, kind: int) -> bytes:
    """The table of ``tcp`` or ``udp`` sockets of a family, as Windows wrote it.

    Raises:
        OSError: it was refused.
        Unsupported: there is no such function.
    """
    call = "GetExtendedTcpTable" if protocol == "tcp" else "GetExtendedUdpTable"
    ask = getattr(iphlpapi, call)
    return grown(call, lambda buffer, size: ask(buffer, size, False, family, kind, 0), ERROR_INSUFFICIENT_BUFFER)[0]


def grown(call: str, ask: Ask, too_small: int) -> tuple[bytes, int]:
    """What fits at last: tables grow while they are asked for."""
    room = _FIRST_BYTES
    for _ in range(_MOST_TRIES):
        buffer, size = ctypes.create_string_buffer(room), DWORD(room)
        code = ask(buffer, size)
        if code == ERROR_NO_DATA:
            return b"", 0
        if code != too_small:
            break
        room = min(max(size.value, room) * 5 // 4, _MOST_BYTES)
    if code:
        raise SystemRefused(call, code)
    return buffer.raw, ctypes.addressof(buffer)


def owner_module(protocol: str, row: ctypes.Structure) -> tuple[bytes, int]:
    """TCPIP_OWNER_MODULE_BASIC_INFO with its strings behind it, and where it was written. Raises as above."""
    version = "6" if ctypes.sizeof(row) in (_TCP6_BYTES, _UDP6_BYTES) else ""
    call = f"GetOwnerModuleFrom{protocol.capitalize()}{version}Entry"
    ask = getattr(iphlpapi, call)
    basic = TCPIP_OWNER_MODULE_INFO_BASIC
    return grown(call, lambda buffer, size: ask(row, basic, buffer, size), ERROR_INSUFFICIENT_BUFFER)


_TCP6_BYTES, _UDP6_BYTES = ctypes.sizeof(MIB_TCP6ROW_OWNER_MODULE), ctypes.sizeof(MIB_UDP6ROW_OWNER_MODULE)


def connection_data(row: MIB_TCPROW | MIB_TCP6ROW) -> TCP_ESTATS_DATA_ROD_v0 | None:
    """Bytes of a connection; None while they are not collected. Raises as above."""
    switch, found = TCP_ESTATS_DATA_RW_v0(), TCP_ESTATS_DATA_ROD_v0()
    _ask_connection(row, TcpConnectionEstatsData, switch, found)
    return found if switch.EnableCollection else None


def connection_path(row: MIB_TCPROW | MIB_TCP6ROW) -> TCP_ESTATS_PATH_ROD_v0 | None:
    """Round trips of a connection; None while they are not measured. Raises as above."""
    switch, found = TCP_ESTATS_PATH_RW_v0(), TCP_ESTATS_PATH_ROD_v0()
    _ask_connection(row, TcpConnectionEstatsPath, switch, found)
    return found if switch.EnableCollection else None


def _ask_connection(row: Any, kind: int, switch: Any, found: Any) -> None:
    call = "GetPerTcp6ConnectionEStats" if isinstance(row, MIB_TCP6ROW) else "GetPerTcpConnectionEStats"
    sizes = ctypes.sizeof(switch), ctypes.sizeof(found)
    code = getattr(iphlpapi, call)(
        row, kind, ctypes.byref(switch), 0, sizes[0], None, 0, 0, ctypes.byref(found), 0, sizes[1]
    )
    if code:
        raise SystemRefused(call, code)
