"""What arguments of system calls point to, as strace writes it. Pure: bytes in, text out."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hostscope.model.text import decode
from hostscope.platforms.linux.syscall_flags import FAMILIES

_FAMILY = struct.Struct("=H")
_INET, _INET6, _NETLINK = struct.Struct("!2xH4s"), struct.Struct("!2xHI16s"), struct.Struct("=4xII")
_SCOPE = struct.Struct("=I")
_UNIX = 1
_AF_INET, _AF_INET6, _AF_NETLINK = 2, 10, 16


def quote(raw: bytes) -> str:
    """A path in quotes, with what would end them escaped."""
    return '"' + decode(raw).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def socket_address(raw: bytes) -> str:
    """``{sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}``; empty when there is no family."""
    if len(raw) < _FAMILY.size:
        return ""
    (family,) = _FAMILY.unpack_from(raw)
    name = FAMILIES.get(family, hex(family))
    fields = _fields(family, raw)
    return "{" + ", ".join([f"sa_family={name}", *fields]) + "}"


def _fields(family: int, raw: bytes) -> tuple[str, ...]:
    """Those of the families that strace takes apart; of the others, and of what is too short, the bytes."""
    if family == _UNIX:
        return _unix(raw[_FAMILY.size :])
    if family == _AF_INET and len(raw) >= _INET.size:
        port, address = _INET.unpack_from(raw)
        return f"sin_port=htons({port})", f'sin_addr=inet_addr("{IPv4Address(address)}")'
    if family == _AF_INET6 and len(raw) >= _INET6.size:
        port, flow, address = _INET6.unpack_from(raw)
        scope = _SCOPE.unpack_from(raw, _INET6.size)[0] if len(raw) >= _INET6.size + _SCOPE.size else 0
        place = f'inet_pton(AF_INET6, "{IPv6Address(address)}", &sin6_addr)'
        return f"sin6_port=htons({port})", f"sin6_flowinfo=htonl({flow})", place, f"sin6_scope_id={scope}"
    if family == _AF_NETLINK and len(raw) >= _NETLINK.size:
        port, groups = _NETLINK.unpack_from(raw)
        return f"nl_pid={port}", f"nl_groups={groups:08x}"
    return (f"sa_data={raw[_FAMILY.size :].hex()}",) if len(raw) > _FAMILY.size else ()


def _unix(path: bytes) -> tuple[str, ...]:
    """A path ends at its NUL; a name without a file begins with one, and ends where the address does."""
    if not path:
        return ()
    if path[:1] == b"\0":
        return (f"sun_path=@{quote(path[1:])}",)
    return (f"sun_path={quote(path.split(bytes(1), 1)[0])}",)
