"""The socket tables of /proc/PID/net. Pure: bytes in, rows out; a line that makes no sense is a `ValueError`."""

import re
import socket
import sys
from collections.abc import Callable, Iterator

from msgspec import Struct

from hostscope.model.text import decode

TCP_STATES = {
    1: "established", 2: "syn-sent", 3: "syn-received", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait", 7: "closed",
    8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "syn-received",
}  # fmt: skip
"""Source: include/net/tcp_states.h; 12 is a request that has no socket of its own yet (4.1)."""
DATAGRAM_STATES = {1: "connected", 7: "unconnected"}
"""UDP and raw sockets borrow TCP's numbers."""
UNIX_STATES = {1: "unconnected", 2: "connecting", 3: "connected", 4: "disconnecting"}
"""Source: include/uapi/linux/net.h, socket_state."""
UNIX_LISTENS = 0x10000
"""__SO_ACCEPTCON in the flags column."""
NETLINK_FAMILIES = {
    0: "route", 2: "usersock", 4: "sock_diag", 5: "nflog", 6: "xfrm", 7: "selinux", 8: "iscsi", 9: "audit",
    10: "fib_lookup", 11: "connector", 12: "netfilter", 14: "dnrtmsg", 15: "kobject_uevent", 16: "generic",
    18: "scsitransport", 19: "ecryptfs", 20: "rdma", 21: "crypto", 22: "smc",
}  # fmt: skip
"""Source: include/uapi/linux/netlink.h."""
_UNIX_ROW = re.compile(rb"([0-9a-f]+): ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{4}) ([0-9A-F]{2}) +(\d+)")


class Endpoint(Struct, frozen=True):
    """One row of a table."""

    protocol: str
    inode: int
    """0 when no process has the socket open any more (time-wait)."""
    state: str | None
    local: str | None
    remote: str | None
    port: int | None = None
    """Local port of TCP and UDP."""
    user: int | None = None


Parser = Callable[[bytes, str], Iterator[Endpoint]]


def parse_inet(raw: bytes, protocol: str) -> Iterator[Endpoint]:
    """tcp, tcp6, udp, udp6, raw and raw6. Source: proc_net(5), get_tcp4_sock() in net/ipv4/tcp_ipv4.c.

    A raw socket has its IP protocol where the others have a port.
    """
    states = TCP_STATES if protocol.startswith("tcp") else DATAGRAM_STATES
    for line in raw.split(b"\n")[1:]:
        if line.strip():
            yield _inet(line.split(), protocol, states)


def _inet(words: list[bytes], protocol: str, states: dict[int, str]) -> Endpoint:
    if len(words) < 10:
        raise ValueError(f"{protocol} line is cut short")
    (local, port), (remote, remote_port) = _address(words[1]), _address(words[2])
    number = int(words[3], 16)
    return Endpoint(
        protocol=protocol,
        inode=int(words[9]),
        state=states.get(number, f"state {number}"),
        local=f"{local}:{port}",
        remote=f"{remote}:{remote_port}",
        port=port,
        user=int(words[7]),
    )


def _address(word: bytes) -> tuple[str, int]:
    """``0100007F:0016``: words of the address as numbers in the host's byte order, the port as it is said."""
    address, _, port = word.partition(b":")
    if len(address) not in (8, 32):
        raise ValueError("neither an IPv4 nor an IPv6 address")
    raw = bytes.fromhex(address.decode("ascii"))
    if len(raw) not in (4, 16):
        raise ValueError("address with blanks")
    step = -1 if sys.byteorder == "little" else 1
    packed = b"".join(raw[start : start + 4][::step] for start in range(0, len(raw), 4))
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed), int(port, 16)
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]", int(port, 16)


def parse_unix(raw: bytes, protocol: str = "unix") -> Iterator[Endpoint]:
    """Source: unix_seq_show() in net/unix/af_unix.c; an abstract name begins with ``@``.

    The kernel prints a path as it is, newlines too. A line that is no row belongs to the path before it; a path that
    imitates a row cannot be told from one.
    """
    row, path = None, b""
    for line in raw.split(b"\n")[1:]:
        found = _UNIX_ROW.match(line)
        if found is None:
            path += b"\n" + line
            continue
        if row is not None:
            yield _unix(row, path, protocol)
        row, path = found, line[found.end() + 1 :]
    if row is not None:
        yield _unix(row, path.removesuffix(b"\n"), protocol)


def _unix(row: "re.Match[bytes]", path: bytes, protocol: str) -> Endpoint:
    listens = int(row[4], 16) & UNIX_LISTENS
    number = int(row[6], 16)
    state = "listen" if listens else UNIX_STATES.get(number, f"state {number}")
    return Endpoint(protocol, int(row[7]), state, decode(path) if path else None, None)


def parse_netlink(raw: bytes, protocol: str = "netlink") -> Iterator[Endpoint]:
    """Source: netlink_native_seq_show() in net/netlink/af_netlink.c. `local` is ``family:port id``."""
    for words in _rows(raw, 10):
        family = int(words[1])
        local = f"{NETLINK_FAMILIES.get(family, str(family))}:{int(words[2])}"
        yield Endpoint(protocol, int(words[9]), None, local, None)


def parse_packet(raw: bytes, protocol: str = "packet") -> Iterator[Endpoint]:
    """Source: packet_seq_show() in net/packet/af_packet.c. `local` is ``interface index:EtherType``; ``*`` for all."""
    for words in _rows(raw, 9):
        interface = int(words[4])
        local = f"{interface or '*'}:{int(words[3], 16):04x}"
        yield Endpoint(protocol, int(words[8]), None, local, None, user=int(words[7]))


def _rows(raw: bytes, columns: int) -> Iterator[list[bytes]]:
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        if words and len(words) < columns:
            raise ValueError("line is cut short")
        if words:
            yield words


TABLES: dict[str, Parser] = {
    "tcp": parse_inet,
    "tcp6": parse_inet,
    "udp": parse_inet,
    "udp6": parse_inet,
    "raw": parse_inet,
    "raw6": parse_inet,
    "unix": parse_unix,
    "netlink": parse_netlink,
    "packet": parse_packet,
}
"""File below /proc/PID/net, which is the protocol's name too, and its parser."""
