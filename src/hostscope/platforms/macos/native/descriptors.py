"""What processes have open, sockets above all. Source: libproc.h, sys/proc_info.h (PROC_PIDLISTFDS and the like)."""

import ctypes
from ctypes import c_char, c_int16, c_int32, c_uint8, c_uint16, c_uint32, c_uint64

from hostscope.platforms.macos.native import libproc
from hostscope.platforms.macos.native.libproc import proc_fdinfo, proc_fileinfo, vinfo_stat

PROC_PIDLISTFDS, PROC_PIDFDSOCKETINFO = 1, 3
PROX_FDTYPE_SOCKET = 2
SOCKINFO_GENERIC, SOCKINFO_IN, SOCKINFO_TCP, SOCKINFO_UN, SOCKINFO_NDRV = 0, 1, 2, 3, 4
SOCKINFO_KERN_EVENT, SOCKINFO_KERN_CTL = 5, 6
INI_IPV4, INI_IPV6 = 1, 2
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
AF_UNIX = 1
_MOST_LIST_BYTES = 1 << 24
"""Two million descriptors: more than any limit of the system lets a process have (kern.maxfiles)."""


class in_addr(ctypes.Structure):
    """An IPv4 address."""

    _fields_ = (("s_addr", c_uint32),)


class in4in6_addr(ctypes.Structure):
    """An IPv4 address at the end of the room for one of IPv6."""

    _fields_ = (("i46a_pad32", c_uint32 * 3), ("i46a_addr4", in_addr))


class in6_addr(ctypes.Structure):
    """An IPv6 address."""

    _fields_ = (("s6_addr", c_uint8 * 16),)


class _address(ctypes.Union):
    _fields_ = (("ina_46", in4in6_addr), ("ina_6", in6_addr))


class _four(ctypes.Structure):
    _fields_ = (("in4_tos", c_uint8),)


class _six(ctypes.Structure):
    _fields_ = (("in6_hlim", c_uint8), ("in6_cksum", c_int32), ("in6_ifindex", c_uint16), ("in6_hops", c_int16))


class sockaddr_un(ctypes.Structure):
    """The address of a UNIX socket."""

    _fields_ = (("sun_len", c_uint8), ("sun_family", c_uint8), ("sun_path", c_char * 104))


class _name(ctypes.Union):
    _fields_ = (("ua_sun", sockaddr_un), ("ua_dummy", c_char * 255))


class in_sockinfo(ctypes.Structure):
    """Ends of an IP socket; ports in network order within an int."""

    _fields_ = (
        ("insi_fport", c_int32),
        ("insi_lport", c_int32),
        ("insi_gencnt", c_uint64),
        ("insi_flags", c_uint32),
        ("insi_flow", c_uint32),
        ("insi_vflag", c_uint8),
        ("insi_ip_ttl", c_uint8),
        ("rfu_1", c_uint32),
        ("insi_faddr", _address),
        ("insi_laddr", _address),
        ("insi_v4", _four),
        ("insi_v6", _six),
    )


class tcp_sockinfo(ctypes.Structure):
    """A TCP connection."""

    _fields_ = (
        ("tcpsi_ini", in_sockinfo),
        ("tcpsi_state", c_int32),
        ("tcpsi_timer", c_int32 * 4),
        ("tcpsi_mss", c_int32),
        ("tcpsi_flags", c_uint32),
        ("rfu_1", c_uint32),
        ("tcpsi_tp", c_uint64),
    )


class un_sockinfo(ctypes.Structure):
    """A UNIX socket: the socket at its other end, its address, and that one's."""

    _fields_ = (
        ("unsi_conn_so", c_uint64),
        ("unsi_conn_pcb", c_uint64),
        ("unsi_addr", _name),
        ("unsi_caddr", _name),
    )


class sockbuf_info(ctypes.Structure):
    """A buffer of a socket."""

    _fields_ = (
        ("sbi_cc", c_uint32),
        ("sbi_hiwat", c_uint32),
        ("sbi_mbcnt", c_uint32),
        ("sbi_mbmax", c_uint32),
        ("sbi_lowat", c_uint32),
        ("sbi_flags", c_int16),
        ("sbi_timeo", c_int16),
    )


class _protocol(ctypes.Union):
    """By `soi_kind`."""

    _fields_ = (("pri_in", in_sockinfo), ("pri_tcp", tcp_sockinfo), ("pri_un", un_sockinfo))


class socket_info(ctypes.Structure):
    """A socket."""

    _fields_ = (
        ("soi_stat", vinfo_stat),
        ("soi_so", c_uint64),
        ("soi_pcb", c_uint64),
        ("soi_type", c_int32),
        ("soi_protocol", c_int32),
        ("soi_family", c_int32),
        ("soi_options", c_int16),
        ("soi_linger", c_int16),
        ("soi_state", c_int16),
        ("soi_qlen", c_int16),
        ("soi_incqlen", c_int16),
        ("soi_qlimit", c_int16),
        ("soi_timeo", c_int16),
        ("soi_error", c_uint16),
        ("soi_oobmark", c_uint32),
        ("soi_rcv", sockbuf_info),
        ("soi_snd", sockbuf_info),
        ("soi_kind", c_int32),
        ("rfu_1", c_uint32),
        ("soi_proto", _protocol),
    )


class socket_fdinfo(ctypes.Structure):
    """A descriptor of a socket."""

    _fields_ = (("pfi", proc_fileinfo), ("psi", socket_info))


def read_sockets(pid: int) -> list[int]:
    """The descriptors of a process that are sockets.

    Raises:
        OSError: EPERM, ESRCH.
    """
    each = ctypes.sizeof(proc_fdinfo)
    raw, _ = libproc.read_list(pid, PROC_PIDLISTFDS, each, _MOST_LIST_BYTES)
    listed = (proc_fdinfo * (len(raw) // each)).from_buffer_copy(raw[: len(raw) // each * each])
    return [int(one.proc_fd) for one in listed if one.proc_fdtype == PROX_FDTYPE_SOCKET]


def read_socket(pid: int, descriptor: int) -> bytes:
    """A `socket_fdinfo` as bytes. Raises OSError: EBADF when it was closed meanwhile, EPERM, ESRCH."""
    return libproc.read_descriptor(pid, descriptor, PROC_PIDFDSOCKETINFO, socket_fdinfo)
