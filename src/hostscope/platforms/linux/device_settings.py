"""What drivers say of their devices, by ioctl(2): speed, duplex, the wireless network.

The calls reach the devices of the network namespace that the descriptor's socket was made in, so they also answer for
namespaces whose /sys is not mounted here. None of them needs a privilege.
"""

import errno
import struct
from array import array
from fcntl import ioctl

from msgspec import Struct

from hostscope.model.gap import Gap, Reason
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.translate import gap

SIOCETHTOOL, SIOCGIWNAME, SIOCGIWESSID = 0x8946, 0x8B01, 0x8B1B
ETHTOOL_GSET = 1
_SETTINGS = struct.Struct("=IIIHBBBBBBIIHBBIII")
"""struct ethtool_cmd; the newer ETHTOOL_GLINKSETTINGS takes two calls for the same two values."""
_UNKNOWN_SPEED = (0, 0xFFFF_FFFF)
_DUPLEX = {0: "half", 1: "full"}
_NAME_BYTES, _REQUEST_BYTES, _ESSID_BYTES = 16, 40, 32
_WITHOUT = frozenset({errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL, errno.ENOTTY})
"""What devices answer that have no such setting (bridges, tunnels), or that have gone."""


class Settings(Struct, frozen=True):
    """Of a device that has them; all None for one that has no speed."""

    speed_bits_s: int | None = None
    duplex: str | None = None
    gaps: tuple[Gap, ...] = ()


def read_settings(descriptor: int, name: str) -> Settings:
    """Speed and duplex. Cost: one system call. Source: SIOCETHTOOL, ETHTOOL_GSET."""
    buffer = array("B", _SETTINGS.pack(ETHTOOL_GSET, *[0] * 17))
    try:
        ioctl(descriptor, SIOCETHTOOL, _request(name, buffer.buffer_info()[0]))
    except OSError as failed:
        return Settings() if failed.errno in _WITHOUT else Settings(gaps=(gap("speed_bits_s", failed),))
    return parse_settings(bytes(buffer))


def parse_settings(raw: bytes) -> Settings:
    """Of a filled struct ethtool_cmd."""
    fields = _SETTINGS.unpack(raw)
    megabits, duplex = fields[3] | fields[12] << 16, _DUPLEX.get(fields[4])
    if megabits in _UNKNOWN_SPEED:
        told = Gap("speed_bits_s", Reason.UNAVAILABLE, "the driver does not know (no carrier, or a virtual device)")
        return Settings(None, duplex, (told,))
    return Settings(megabits * 1_000_000, duplex)


def is_wireless(descriptor: int, name: str) -> bool:
    """Whether the device is a wireless one. Source: SIOCGIWNAME, which cfg80211 still answers."""
    try:
        ioctl(descriptor, SIOCGIWNAME, _request(name, 0))
    except OSError:
        return False
    return True


def wireless_network(descriptor: int, name: str) -> str | None:
    """The network's name (ESSID); None when it is not associated.

    Raises:
        OSError

    Source: SIOCGIWESSID.
    """
    buffer = array("B", bytes(_ESSID_BYTES + 1))
    point = struct.pack("=QHH", buffer.buffer_info()[0], _ESSID_BYTES, 0)
    answer = ioctl(descriptor, SIOCGIWESSID, _interface(name) + point.ljust(16, b"\0"))
    length = struct.unpack_from("=H", answer, _NAME_BYTES + 8)[0]
    return decode(bytes(buffer)[: min(length, _ESSID_BYTES)]) or None


def _request(name: str, address: int) -> bytes:
    """struct ifreq with a pointer."""
    return (_interface(name) + struct.pack("@P", address)).ljust(_REQUEST_BYTES, b"\0")


def _interface(name: str) -> bytes:
    return encode(name)[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0")
