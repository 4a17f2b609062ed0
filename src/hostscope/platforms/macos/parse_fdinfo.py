"""One socket of a process (struct socket_fdinfo), parsed. Pure and bounded.

Source: sys/proc_info.h. `native.descriptors` has the structure, whose layout the tests assert against Apple's headers;
here are the offsets of what is used, and a test compares both.
"""

import struct
from typing import NamedTuple

from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.parse_pcblist import INP_IPV6, address

FDINFO_BYTES = 792
IN, TCP, UN, NDRV = 1, 2, 3, 4
"""SOCKINFO_*: which part of the union is meant."""
_SOCKET = struct.Struct("<QQiii")
_SOCKET_AT = 160
_QUEUES = struct.Struct("<hhhhhh")
"""soi_options, soi_linger, soi_state, soi_qlen, soi_incqlen, soi_qlimit."""
_QUEUES_AT, _RECEIVE_AT, _SEND_AT, _KIND_AT, _PROTOCOL_AT = 188, 208, 232, 256, 264
_INET = struct.Struct("<iiQ")
_VFLAG_AT, _REMOTE_AT, _LOCAL_AT, _STATE_AT, _MSS_AT = 24, 32, 48, 80, 100
_NAME_AT, _OTHER_NAME_AT = 16, 271
_NAME_BYTES = 106


class SocketInfo(NamedTuple):
    """One socket as a process has it."""

    address: int
    """Of the kernel's structure, as the kernel hides it: the same for all that hold it."""
    type: int
    protocol: int
    family: int
    kind: int
    options: int
    """SO_*."""
    status: int
    """SOI_S_*."""
    backlog: int
    backlog_limit: int
    receive_queue: int
    send_queue: int
    six: bool = False
    local: str = ""
    local_port: int = 0
    remote: str = ""
    remote_port: int = 0
    generation: int = 0
    state: int | None = None
    mss: int | None = None
    peer: int = 0
    """UNIX: the address of the socket at the other end."""


def parse_socket(raw: bytes) -> SocketInfo | None:
    """The socket; None when the structure is cut off."""
    if len(raw) < FDINFO_BYTES:
        return None
    so, _, kind, protocol, family = _SOCKET.unpack_from(raw, _SOCKET_AT)
    options, _, status, backlog, _, limit = _QUEUES.unpack_from(raw, _QUEUES_AT)
    (received,), (sent,) = (struct.unpack_from("<I", raw, place) for place in (_RECEIVE_AT, _SEND_AT))
    (which,) = struct.unpack_from("<i", raw, _KIND_AT)
    found = SocketInfo(so, kind, protocol, family, which, options, status, backlog, limit, received, sent)
    part = raw[_PROTOCOL_AT:]
    if which in (IN, TCP):
        return _inet(found, part)
    return _unix(found, part) if which == UN else found


def _inet(found: SocketInfo, part: bytes) -> SocketInfo:
    remote_port, local_port, generation = _INET.unpack_from(part)
    six = bool(part[_VFLAG_AT] & INP_IPV6)
    remote, local = (address(part[start : start + 16], six) for start in (_REMOTE_AT, _LOCAL_AT))
    found = found._replace(
        six=six,
        local=local,
        local_port=_port(local_port),
        remote=remote,
        remote_port=_port(remote_port),
        generation=generation,
    )
    if found.kind != TCP:
        return found
    (state,), (mss,) = (struct.unpack_from("<i", part, place) for place in (_STATE_AT, _MSS_AT))
    return found._replace(state=state, mss=mss)


def _port(number: int) -> int:
    """A port in network order within an int."""
    return (number & 0xFF) << 8 | number >> 8 & 0xFF


def _unix(found: SocketInfo, part: bytes) -> SocketInfo:
    (peer,) = struct.unpack_from("<Q", part)
    return found._replace(peer=peer, local=_name(part[_NAME_AT:]), remote=_name(part[_OTHER_NAME_AT:]))


def _name(raw: bytes) -> str:
    """The path of a struct sockaddr_un; empty when it has none."""
    size = min(raw[0], _NAME_BYTES)
    return parse_text(raw[2:size]) if size > 2 else ""
