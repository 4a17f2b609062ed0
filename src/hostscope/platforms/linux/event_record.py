"""Records of the events ring, as bpf/events.bpf.c writes them. Pure: bytes in, tuples out."""

import struct
from enum import IntEnum, IntFlag
from ipaddress import ip_address
from typing import Any, NamedTuple

from hostscope.model.socket import Endpoint
from hostscope.model.text import decode
from hostscope.platforms.linux.task_record import join_path


class Kind(IntEnum):
    """What a record tells of."""

    FORK = 1
    EXEC = 2
    EXIT = 3
    SOCKET = 4
    MODULE = 5
    CAPABILITIES = 6


class Mark(IntFlag):
    """What is remarkable about an exec's record."""

    ARGV_CUT = 1
    ARGV_UNREAD = 2
    EXE_CUT = 4
    EXE_NAMELESS = 8
    EXE_UNLINKED = 16
    NO_EXE = 32


class Head(NamedTuple):
    """What every record begins with."""

    kind: int
    flags: int
    pid: int
    at: int
    """ns since boot, suspend included."""
    start: int
    """Of the process, on the same clock."""
    lost: int
    """Records that had been dropped until then."""
    parent: int
    uid: int
    parent_start: int
    cgroup: int
    css_set: int
    pids_group: int
    comm: bytes


class Exec(NamedTuple):
    """What an exec's record adds."""

    file: str
    argv: tuple[str, ...] | None
    exe: str | None
    memfd: bool
    deleted: bool
    truncated: bool


class Exit(NamedTuple):
    """What an exit's record adds."""

    status: int
    """As wait(2) gives it."""
    cpu_ns: int
    peak_pages: int


class SocketState(NamedTuple):
    """What a socket's record adds."""

    protocol: str
    old_state: int
    new_state: int
    local: Endpoint
    remote: Endpoint
    net_ns: int


HEAD = struct.Struct("<HHIQQQIIQQQQ16s")
EXEC = struct.Struct("<IHH")
EXIT = struct.Struct("<I4xQQ")
SOCKET = struct.Struct("<6HI16s16s")
MODULE = struct.Struct("<64s")
CAPABILITIES = struct.Struct("<QQ")
_EXEC_DATA = HEAD.size + EXEC.size
_INET = 2
_PROTOCOLS = {6: "tcp", 33: "dccp", 132: "sctp", 262: "mptcp"}
"""include/uapi/linux/in.h: those whose sockets have states."""
_MEMFD = "memfd:"


def parse_head(raw: bytes) -> Head:
    """The head of a record.

    Raises:
        ValueError: it is too short.
    """
    if len(raw) < HEAD.size:
        raise ValueError(f"a record of {len(raw)} bytes")
    return Head._make(HEAD.unpack_from(raw))


def parse_exec(raw: bytes, flags: int) -> Exec:
    """The rest of an exec's record; `flags` are its head's.

    Raises:
        ValueError: it is not whole.
    """
    if len(raw) < _EXEC_DATA:
        raise ValueError(f"an exec's record of {len(raw)} bytes")
    argv_size, file_size, exe_size = EXEC.unpack_from(raw, HEAD.size)
    argv_at = _EXEC_DATA + file_size
    exe_at = argv_at + argv_size
    if len(raw) < exe_at + exe_size:
        raise ValueError("an exec's record is not whole")
    file = decode(raw[_EXEC_DATA:argv_at].rstrip(b"\0"))
    argv = None if flags & Mark.ARGV_UNREAD else split_argv(raw[argv_at:exe_at])
    cut = flags & (Mark.EXE_CUT | Mark.NO_EXE)
    exe = None if cut else decode(join_path(raw[exe_at : exe_at + exe_size]))
    memfd = False
    if exe is not None and flags & Mark.EXE_NAMELESS:
        exe = exe.removeprefix("/")
        memfd = exe.startswith(_MEMFD)
    return Exec(file, argv, exe, memfd, bool(flags & Mark.EXE_UNLINKED), bool(flags & Mark.ARGV_CUT))


def split_argv(raw: bytes) -> tuple[str, ...]:
    """Arguments that end with a NUL each; of one that was cut, what there is. No bytes are no arguments."""
    if not raw:
        return ()
    return tuple(decode(raw[:-1] if raw.endswith(b"\0") else raw).split("\0"))


def parse_exit(raw: bytes) -> Exit:
    """The rest of an exit's record. Raises `ValueError`."""
    return Exit._make(_rest(EXIT, raw))


def parse_socket(raw: bytes) -> SocketState:
    """The rest of a socket's record. Raises `ValueError`."""
    family, protocol, old, new, port, peer_port, net_ns, local, remote = _rest(SOCKET, raw)
    peer_port = peer_port >> 8 | (peer_port & 0xFF) << 8
    ends = (
        Endpoint(_address(family, local), port),
        Endpoint(_address(family, remote), peer_port),
    )
    return SocketState(_PROTOCOLS.get(protocol, str(protocol)), old, new, *ends, net_ns)


def parse_module(raw: bytes) -> str:
    """The module's name. Raises `ValueError`."""
    name: bytes = _rest(MODULE, raw)[0]
    return decode(name.split(b"\0", 1)[0])


def parse_capabilities(raw: bytes) -> tuple[int, int]:
    """Effective capabilities before and after, as masks. Raises `ValueError`."""
    before, after = _rest(CAPABILITIES, raw)
    return before, after


def _rest(form: struct.Struct, raw: bytes) -> tuple[Any, ...]:
    if len(raw) < HEAD.size + form.size:
        raise ValueError(f"a record of {len(raw)} bytes")
    return form.unpack_from(raw, HEAD.size)


def _address(family: int, raw: bytes) -> str:
    """Addresses of IPv4 in IPv6 as IPv4."""
    if family == _INET:
        return str(ip_address(raw[:4]))
    address = ip_address(raw)
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)
