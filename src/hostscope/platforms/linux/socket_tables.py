"""The socket tables of /proc/PID/net. Pure: bytes in, facts out; a line that makes no sense is a `ValueError`.

They tell less than sock_diag: no cookie, no device, no limit of a backlog, nothing of tcp_info.
"""

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from hostscope.platforms.linux.socket_facts import (
    CLOSED,
    CONNECTING,
    DGRAM,
    DISCONNECTING,
    ESTABLISHED,
    ICMP,
    ICMP6,
    INET,
    INET6,
    LISTEN,
    NETLINK,
    PACKET,
    RAW,
    REQUEST,
    STREAM,
    TCP,
    TIME_WAIT,
    UDP,
    UDP_LITE,
    UNIX,
    Facts,
)

UNIX_LISTENS = 0x10000
"""__SO_ACCEPTCON in the flags column."""
UNIX_STATES = {1: CLOSED, 2: CONNECTING, 3: ESTABLISHED, 4: DISCONNECTING}
"""Source: include/uapi/linux/net.h, socket_state."""
NETLINK_FAMILIES = {
    0: "route", 2: "usersock", 4: "sock_diag", 5: "nflog", 6: "xfrm", 7: "selinux", 8: "iscsi", 9: "audit",
    10: "fib_lookup", 11: "connector", 12: "netfilter", 14: "dnrtmsg", 15: "kobject_uevent", 16: "generic",
    18: "scsitransport", 19: "ecryptfs", 20: "rdma", 21: "crypto", 22: "smc",
}  # fmt: skip
"""Source: include/uapi/linux/netlink.h."""
_UNIX_ROW = re.compile(rb"([0-9a-f]+): ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{4}) ([0-9A-F]{2}) +(\d+)")

Parser = Callable[[bytes, str, int | None], Iterator[Facts]]


class _InetTable(NamedTuple):
    family: int
    kind: int
    protocol: int | None
    """None where the local port column has it."""


_INET_TABLES = {
    "tcp": _InetTable(INET, STREAM, TCP),
    "tcp6": _InetTable(INET6, STREAM, TCP),
    "udp": _InetTable(INET, DGRAM, UDP),
    "udp6": _InetTable(INET6, DGRAM, UDP),
    "udplite": _InetTable(INET, DGRAM, UDP_LITE),
    "udplite6": _InetTable(INET6, DGRAM, UDP_LITE),
    "raw": _InetTable(INET, RAW, None),
    "raw6": _InetTable(INET6, RAW, None),
    "icmp": _InetTable(INET, DGRAM, ICMP),
    "icmp6": _InetTable(INET6, DGRAM, ICMP6),
}


def parse_inet(raw: bytes, name: str, net_ns: int | None = None) -> Iterator[Facts]:
    """tcp, udp, udplite, raw and icmp, and the same for IPv6. Source: proc_net(5), get_tcp4_sock() in
    net/ipv4/tcp_ipv4.c."""
    table = _INET_TABLES[name]
    for line in raw.split(b"\n")[1:]:
        if line.strip():
            yield _inet(line.split(), table, net_ns)


def _inet(words: list[bytes], table: _InetTable, net_ns: int | None) -> Facts:
    if len(words) < 10:
        raise ValueError("a line is cut short")
    (local, port), (remote, remote_port) = _address(words[1], table), _address(words[2], table)
    state, inode = int(words[3], 16), int(words[9])
    send, _, receive = words[4].partition(b":")
    listens, half = table.protocol == TCP and state == LISTEN, state in (TIME_WAIT, REQUEST) or (state, inode) == (3, 0)
    return Facts(
        family=table.family,
        kind=table.kind,
        protocol=port if table.protocol is None else table.protocol,
        state=state,
        inode=inode,
        local=local,
        local_port=port,
        remote=remote,
        remote_port=remote_port,
        net_ns=net_ns,
        uid=None if half else int(words[7]),
        interface=None,
        receive_queue=None if listens or half else int(receive, 16),
        send_queue=None if listens or half else int(send, 16),
        backlog=int(receive, 16) if listens else None,
    )


def _address(word: bytes, table: _InetTable) -> tuple[bytes, int]:
    """``0100007F:0016``: words of the address as numbers in the host's byte order, the port as it is said."""
    address, _, port = word.partition(b":")
    if len(address) != (8 if table.family == INET else 32):
        raise ValueError("an address of another family's length")
    raw = bytes.fromhex(address.decode("ascii"))
    if len(raw) * 2 != len(address) or len(port) != 4:
        raise ValueError("an address with blanks")
    step = -1 if sys.byteorder == "little" else 1
    return b"".join(raw[start : start + 4][::step] for start in range(0, len(raw), 4)), int(port, 16)


def parse_unix(raw: bytes, name: str = "unix", net_ns: int | None = None) -> Iterator[Facts]:
    """Source: unix_seq_show() in net/unix/af_unix.c; an abstract name begins with ``@``, and so may a relative path:
    it is taken for abstract.

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
            yield _unix(row, path, net_ns)
        row, path = found, line[found.end() + 1 :]
    if row is not None:
        yield _unix(row, path.removesuffix(b"\n"), net_ns)


def _unix(row: "re.Match[bytes]", path: bytes, net_ns: int | None) -> Facts:
    listens, number = int(row[4], 16) & UNIX_LISTENS, int(row[6], 16)
    # In an abstract name the kernel prints each NUL as another @, so what was which is lost.
    name = b"\0" + path[1:] if path.startswith(b"@") else path
    return Facts(
        family=UNIX,
        kind=int(row[5], 16),
        protocol=0,
        state=LISTEN if listens else UNIX_STATES.get(number, number),
        inode=int(row[7]),
        local=name,
        net_ns=net_ns,
        interface=None,
    )


def parse_netlink(raw: bytes, name: str = "netlink", net_ns: int | None = None) -> Iterator[Facts]:
    """Source: netlink_native_seq_show() in net/netlink/af_netlink.c. `local_port` is the port id."""
    for words in _rows(raw, 10):
        family, port = int(words[1]), int(words[2])
        yield Facts(NETLINK, RAW, family, CLOSED, int(words[9]), local_port=port, net_ns=net_ns)


def parse_packet(raw: bytes, name: str = "packet", net_ns: int | None = None) -> Iterator[Facts]:
    """Source: packet_seq_show() in net/packet/af_packet.c."""
    for words in _rows(raw, 9):
        yield Facts(
            PACKET, int(words[2]), int(words[3], 16), 0, int(words[8]), net_ns=net_ns, uid=int(words[7]),
            interface=int(words[4]), receive_queue=int(words[6]),
        )  # fmt: skip


def _rows(raw: bytes, columns: int) -> Iterator[list[bytes]]:
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        if words and len(words) < columns:
            raise ValueError("a line is cut short")
        if words:
            yield words


TABLES: dict[str, Parser] = {
    **dict.fromkeys(_INET_TABLES, parse_inet),
    "unix": parse_unix,
    "netlink": parse_netlink,
    "packet": parse_packet,
}
"""File below /proc/PID/net, and its parser."""


# Counts -------------------------------------------------------------------------------------------------------------


def parse_sockstat(raw: bytes) -> dict[str, int]:
    """How many sockets of each protocol there are: ``UDP``, ``UDPLITE``, ``RAW``, and from sockstat6 ``UDP6``…;
    ``TCP tw`` are connections in time-wait.

    Source: sockstat_seq_show() in net/ipv4/proc.c: of one network namespace, those of the kernel included. Lines of
    another shape are passed over.
    """
    found = {}
    for line in raw.decode("ascii", "replace").splitlines():
        words = line.replace(":", "").split()
        if len(words) >= 3 and words[1] == "inuse" and words[2].isdecimal():
            found[words[0]] = int(words[2])
            if "tw" in words[:-1] and (waiting := words[words.index("tw") + 1]).isdecimal():
                found[f"{words[0]} tw"] = int(waiting)
    return found


def parse_established(raw: bytes) -> int:
    """TCP connections that are established or half closed by the other end (CurrEstab of /proc/net/snmp, per network
    namespace).

    Raises:
        ValueError: it is not there.
    """
    lines = [line.split() for line in raw.splitlines() if line.startswith(b"Tcp:")]
    if len(lines) != 2 or b"CurrEstab" not in lines[0] or len(lines[0]) != len(lines[1]):
        raise ValueError("no CurrEstab")
    return int(lines[1][lines[0].index(b"CurrEstab")])
