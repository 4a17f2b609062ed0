"""Interfaces, their addresses and counters, as the kernel's routing table lists them, and their media.

Source: net/if.h, net/if_var.h, net/if_dl.h, net/if_media.h, net/if_mib.h, net/route.h; sysctl NET_RT_IFLIST2,
NET_RT_DUMP2, IFMIB_IFALLDATA.
"""

import ctypes
import fcntl
import os
from ctypes import c_char, c_int32, c_uint8, c_uint16, c_uint32, c_uint64

CTL_NET, PF_ROUTE, NET_RT_IFLIST2, NET_RT_DUMP2 = 4, 17, 6, 7
PF_LINK, NETLINK_GENERIC, IFMIB_IFALLDATA, IFDATA_GENERAL = 18, 0, 3, 1
RTM_GET2, RTM_NEWADDR, RTM_IFINFO2, RTM_NEWMADDR2 = 0x14, 0xC, 0x12, 0x13
RTA_DST, RTA_NETMASK, RTA_IFP, RTA_IFA, RTA_BRD = 0x1, 0x4, 0x10, 0x20, 0x80
RTF_UP, RTF_HOST, RTF_REJECT, RTF_LLINFO, RTF_BLACKHOLE = 0x1, 0x4, 0x8, 0x400, 0x1000
RTF_WASCLONED, RTF_LOCAL, RTF_BROADCAST, RTF_MULTICAST = 0x20000, 0x200000, 0x400000, 0x800000
AF_INET, AF_LINK, AF_INET6, AF_SYSTEM = 2, 18, 30, 32
SIOCGIFMEDIA = 0xC02C6938
IFM_AVALID, IFM_ACTIVE, IFM_NMASK, IFM_ETHER, IFM_IEEE80211, IFM_FDX, IFM_HDX = (
    0x1, 0x2, 0xE0, 0x20, 0x80, 0x100000, 0x200000,
)  # fmt: skip


class timeval32(ctypes.Structure):
    """A time, as 32-bit processes had it."""

    _fields_ = (("tv_sec", c_int32), ("tv_usec", c_int32))


class if_data64(ctypes.Structure):
    """What an interface is, and what it carried."""

    _pack_ = 4
    _layout_ = "ms"
    _fields_ = (
        ("ifi_type", c_uint8),
        ("ifi_typelen", c_uint8),
        ("ifi_physical", c_uint8),
        ("ifi_addrlen", c_uint8),
        ("ifi_hdrlen", c_uint8),
        ("ifi_recvquota", c_uint8),
        ("ifi_xmitquota", c_uint8),
        ("ifi_unused1", c_uint8),
        ("ifi_mtu", c_uint32),
        ("ifi_metric", c_uint32),
        ("ifi_baudrate", c_uint64),
        ("ifi_ipackets", c_uint64),
        ("ifi_ierrors", c_uint64),
        ("ifi_opackets", c_uint64),
        ("ifi_oerrors", c_uint64),
        ("ifi_collisions", c_uint64),
        ("ifi_ibytes", c_uint64),
        ("ifi_obytes", c_uint64),
        ("ifi_imcasts", c_uint64),
        ("ifi_omcasts", c_uint64),
        ("ifi_iqdrops", c_uint64),
        ("ifi_noproto", c_uint64),
        ("ifi_recvtiming", c_uint32),
        ("ifi_xmittiming", c_uint32),
        ("ifi_lastchange", timeval32),
    )


class if_msghdr2(ctypes.Structure):
    """One interface in the list."""

    _fields_ = (
        ("ifm_msglen", c_uint16),
        ("ifm_version", c_uint8),
        ("ifm_type", c_uint8),
        ("ifm_addrs", c_int32),
        ("ifm_flags", c_int32),
        ("ifm_index", c_uint16),
        ("ifm_snd_len", c_int32),
        ("ifm_snd_maxlen", c_int32),
        ("ifm_snd_drops", c_int32),
        ("ifm_timer", c_int32),
        ("ifm_data", if_data64),
    )


class ifmibdata(ctypes.Structure):
    """What one interface carried, in a list of all of them."""

    _fields_ = (
        ("ifmd_name", c_char * 16),
        ("ifmd_pcount", c_uint32),
        ("ifmd_flags", c_uint32),
        ("ifmd_snd_len", c_uint32),
        ("ifmd_snd_maxlen", c_uint32),
        ("ifmd_snd_drops", c_uint32),
        ("ifmd_filler", c_uint32 * 4),
        ("ifmd_data", if_data64),
    )


class rt_metrics(ctypes.Structure):
    """What is known of a path."""

    _fields_ = (
        ("rmx_locks", c_uint32),
        ("rmx_mtu", c_uint32),
        ("rmx_hopcount", c_uint32),
        ("rmx_expire", c_int32),
        ("rmx_recvpipe", c_uint32),
        ("rmx_sendpipe", c_uint32),
        ("rmx_ssthresh", c_uint32),
        ("rmx_rtt", c_uint32),
        ("rmx_rttvar", c_uint32),
        ("rmx_pksent", c_uint32),
        ("rmx_filler", c_uint32 * 4),
    )


class rt_msghdr2(ctypes.Structure):
    """One route in the list."""

    _fields_ = (
        ("rtm_msglen", c_uint16),
        ("rtm_version", c_uint8),
        ("rtm_type", c_uint8),
        ("rtm_index", c_uint16),
        ("rtm_flags", c_int32),
        ("rtm_addrs", c_int32),
        ("rtm_refcnt", c_int32),
        ("rtm_parentflags", c_int32),
        ("rtm_reserved", c_int32),
        ("rtm_use", c_int32),
        ("rtm_inits", c_uint32),
        ("rtm_rmx", rt_metrics),
    )


class ifa_msghdr(ctypes.Structure):
    """One address in the list; of the interface before it."""

    _fields_ = (
        ("ifam_msglen", c_uint16),
        ("ifam_version", c_uint8),
        ("ifam_type", c_uint8),
        ("ifam_addrs", c_int32),
        ("ifam_flags", c_int32),
        ("ifam_index", c_uint16),
        ("ifam_metric", c_int32),
    )


class sockaddr_dl(ctypes.Structure):
    """A link's address: its name, then its hardware address."""

    _fields_ = (
        ("sdl_len", c_uint8),
        ("sdl_family", c_uint8),
        ("sdl_index", c_uint16),
        ("sdl_type", c_uint8),
        ("sdl_nlen", c_uint8),
        ("sdl_alen", c_uint8),
        ("sdl_slen", c_uint8),
        ("sdl_data", c_char * 12),
    )


class ifmediareq(ctypes.Structure):
    """What an interface is connected by."""

    _pack_ = 4
    _layout_ = "ms"
    _fields_ = (
        ("ifm_name", c_char * 16),
        ("ifm_current", c_int32),
        ("ifm_mask", c_int32),
        ("ifm_status", c_int32),
        ("ifm_active", c_int32),
        ("ifm_count", c_int32),
        ("ifm_ulist", c_uint64),
    )


def read_media(descriptor: int, interface: str) -> tuple[int, int]:
    """Status and medium in use (IFM_*) of an interface. Raises OSError for one that has no media."""
    request = ifmediareq(os.fsencode(interface)[:15])
    found = ifmediareq.from_buffer_copy(fcntl.ioctl(descriptor, SIOCGIFMEDIA, bytes(request)))
    return int(found.ifm_status), int(found.ifm_active)
