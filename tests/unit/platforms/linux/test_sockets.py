"""Socket tables and netlink messages as bytes, and what records are made of them."""

import contextlib
import struct
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Unavailable
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import FAMILIES, SocketRequest, TcpState
from hostscope.platforms.linux import sock_diag
from hostscope.platforms.linux.net_namespaces import parse_link, parse_mounted
from hostscope.platforms.linux.sock_diag import messages, parse_packet, parse_tcp_info
from hostscope.platforms.linux.socket_columns import HOLDER, RECORD, SHAPE, HeldSockets, read_holder
from hostscope.platforms.linux.socket_facts import (
    CLOSED,
    CONNECTING,
    DGRAM,
    ESTABLISHED,
    INET,
    INET6,
    LISTEN,
    NETLINK,
    PACKET,
    RAW,
    STREAM,
    TCP,
    TIME_WAIT,
    UDP,
    UNIX,
    Facts,
    distinct,
)
from hostscope.platforms.linux.socket_records import OWNERS_DENIED, Records
from hostscope.platforms.linux.socket_tables import (
    TABLES,
    parse_established,
    parse_inet,
    parse_netlink,
    parse_sockstat,
    parse_unix,
)
from hostscope.platforms.linux.sockets import _ranks
from hostscope.platforms.posix_accounts import Accounts

HEADER = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = b"00000005:00000007 00:00000000 00000000  1000        0 4242 1 0000000004f6a3ee 100 0 0 10 0\n"
LOOPBACK, ANY = bytes([127, 0, 0, 1]), bytes(4)
little = pytest.mark.skipif(sys.byteorder != "little", reason="the texts are from a little-endian host")


def tcp(local: bytes, remote: bytes, state: bytes = b"01") -> bytes:
    return HEADER + b"   0: %s %s %s %s" % (local, remote, state, REST)


# /proc/PID/net ------------------------------------------------------------------------------------------------------


@little
def test_ipv4() -> None:
    (row,) = parse_inet(tcp(b"0100007F:1F90", b"0200000A:01BB"), "tcp", 77)
    assert row == Facts(
        INET, STREAM, TCP, ESTABLISHED, 4242, LOOPBACK, 8080, bytes([10, 0, 0, 2]), 443, 77, None, 1000, None, 7, 5
    )


@little
def test_a_listener_has_a_backlog_instead_of_a_queue() -> None:
    (row,) = parse_inet(tcp(b"0100007F:1F90", b"00000000:0000", b"0A"), "tcp")
    assert (row.backlog, row.receive_queue, row.send_queue, row.listens) == (7, None, None, True)


@little
def test_ipv6() -> None:
    raw = tcp(b"B80D0120000000000000000001000000:01BB", b"0000000000000000FFFF00000100007F:D431")
    (row,) = parse_inet(raw, "tcp6")
    assert row.local == bytes.fromhex("20010db8000000000000000000000001")
    assert row.remote == bytes(10) + b"\xff\xff" + LOOPBACK
    assert (row.family, row.local_port, row.remote_port) == (INET6, 443, 54321)


def test_time_wait_has_no_user() -> None:
    (row,) = parse_inet(tcp(b"0100007F:1F90", b"0200000A:01BB", b"06"), "tcp")
    assert (row.state, row.uid, row.send_queue) == (TIME_WAIT, None, None)


def test_a_raw_socket_has_its_protocol_where_others_have_a_port() -> None:
    (row,) = parse_inet(tcp(b"00000000:0001", b"00000000:0000", b"07"), "raw")
    assert (row.kind, row.protocol, row.has_port, row.listens) == (RAW, 1, False, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"h\n1: 2\n",
        tcp(b"0100:1F90", b"00000000:0000"),
        tcp(b"0100007G:1F90", b"00000000:0000"),
        tcp(b"\xff" * 8, b""),
        tcp(b"0100007F:1F90", b"00000000:00000000000000000000"),
    ],
)
def test_half_a_row_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        list(parse_inet(raw, "tcp"))


def test_unix_sockets() -> None:
    raw = (
        b"Num       RefCount Protocol Flags    Type St Inode Path\n"
        b"000000006e24adec: 00000003 00000000 00000000 0001 03  1147\n"
        b"000000009d486d9e: 00000002 00000000 00010000 0001 01 11480 /run/a b\n"
        b"000000009d486d9f: 00000002 00000000 00000000 0002 01    12 @abstract@x\n"
        b"000000009d486da0: 00000002 00000000 00000000 0005 02     0 /tmp/new\nline\xff\n"
    )
    assert [(row.inode, row.kind, row.state, row.local) for row in parse_unix(raw)] == [
        (1147, STREAM, ESTABLISHED, b""),
        (11480, STREAM, LISTEN, b"/run/a b"),
        (12, DGRAM, CLOSED, b"\0abstract@x"),
        (0, 5, CONNECTING, b"/tmp/new\nline\xff"),
    ]


def test_netlink_and_packet() -> None:
    netlink = b"sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n0000000001a8afe6 16 4242 00000000 0 0 0 2 0 77\n"
    (row,) = parse_netlink(netlink)
    assert (row.family, row.protocol, row.local_port, row.inode) == (NETLINK, 16, 4242, 77)
    packet = b"sk RefCnt Type Proto Iface R Rmem User Inode\nff 3 3 0003 2 1 0 1000 78\nff 3 2 88cc 0 1 0 0 79\n"
    rows = list(TABLES["packet"](packet, "packet", None))
    assert [(row.kind, row.protocol, row.interface, row.uid) for row in rows] == [(RAW, 3, 2, 1000), (2, 0x88CC, 0, 0)]


@pytest.mark.parametrize("name", ["netlink", "packet"])
def test_short_lines_are_an_error(name: str) -> None:
    with pytest.raises(ValueError):
        list(TABLES[name](b"header\n1 2 3\n", name, None))


@given(st.binary() | st.binary().map(lambda raw: tcp(raw, raw)), st.sampled_from(sorted(TABLES)))
def test_tables_survive_any_bytes(raw: bytes, name: str) -> None:
    with contextlib.suppress(ValueError):
        list(TABLES[name](raw, name, None))


def test_counts() -> None:
    text = b"sockets: used 28\nTCP: inuse 11 orphan 0 tw 3 alloc 11 mem 384\nUDP: inuse 2 mem 0\nUDP6: inuse 1\nX: in\n"
    assert parse_sockstat(text) == {"TCP": 11, "TCP tw": 3, "UDP": 2, "UDP6": 1}
    assert parse_established(b"Ip: a\nTcp: RtoAlgorithm CurrEstab\nTcp: 1 73\nUdp: x\n") == 73


@given(st.binary())
def test_counts_survive_any_bytes(raw: bytes) -> None:
    parse_sockstat(raw)
    with contextlib.suppress(ValueError):
        parse_established(b"Tcp: CurrEstab\nTcp: " + raw)


# sock_diag ----------------------------------------------------------------------------------------------------------


def message(body: bytes, kind: int = 20, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


def attribute(kind: int, body: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def inet(state: int, inode: int = 9, receive: int = 3, send: int = 4, rest: bytes = b"") -> bytes:
    ports = struct.pack(">HH", 8080, 443)
    head = struct.pack("=4B4s16s16sIQIIIII", INET, state, 0, 0, ports, LOOPBACK, ANY, 2, 77, 0, receive, send, 5, inode)
    return head + rest


def info(length: int) -> bytes:
    raw = bytearray(512)
    struct.pack_into("=I", raw, 16, 1448)
    struct.pack_into("=II", raw, 68, 300, 20)
    struct.pack_into("=I", raw, 80, 10)
    struct.pack_into("=I", raw, 100, 2)
    struct.pack_into("=QQ", raw, 120, 11, 5)
    struct.pack_into("=Q", raw, 200, 10)
    return bytes(raw[:length])


def only(raw: bytes, parse: Callable[..., Facts], *more: object) -> Facts:
    (found,) = messages(raw)
    return parse(raw, found.start, found.end, *more)


def test_an_inet_message() -> None:
    row = only(message(inet(ESTABLISHED, rest=attribute(2, info(248)))), sock_diag.parse_inet, TCP, 1)
    assert (row.local, row.local_port, row.remote_port, row.interface, row.cookie) == (LOOPBACK, 8080, 443, 2, 77)
    assert (row.receive_queue, row.send_queue, row.backlog) == (3, 4, None)
    assert row.tcp == TcpState(300_000, 20_000, 2, 10, 10, 5, 10, 1448), "the SYN is no payload"


def test_a_listening_message() -> None:
    row = only(message(inet(LISTEN)), sock_diag.parse_inet, TCP, 1)
    assert (row.backlog, row.backlog_limit, row.receive_queue, row.tcp) == (3, 4, None, None)


@pytest.mark.parametrize("state", [3, 6, 12])
def test_requests_and_time_wait_are_not_whole_sockets(state: int) -> None:
    row = only(message(inet(state, inode=0)), sock_diag.parse_inet, TCP, 1)
    assert (row.uid, row.receive_queue, row.tcp) == (None, None, None)


def test_old_kernels_tell_less_of_tcp() -> None:
    assert parse_tcp_info(info(136)) == TcpState(300_000, 20_000, 2, None, 11, 5, 10, 1448)
    assert parse_tcp_info(info(104)) is None


def test_a_unix_message() -> None:
    attributes = attribute(0, b"\0abc") + attribute(2, struct.pack("=I", 12)) + attribute(4, struct.pack("=II", 1, 128))
    body = struct.pack("=BBBBIQ", UNIX, STREAM, LISTEN, 0, 11, 5) + attributes + attribute(7, struct.pack("=I", 1000))
    row = only(message(body), sock_diag.parse_unix, 1)
    assert (row.local, row.peer, row.backlog, row.backlog_limit, row.uid) == (b"\0abc", 12, 1, 128, 1000)
    waiting = struct.pack("=BBBBIQ", UNIX, STREAM, ESTABLISHED, 0, 0, 5)
    assert only(message(waiting), sock_diag.parse_unix, 1).state == CONNECTING


def test_a_packet_message() -> None:
    body = struct.pack("=BBHIQ", PACKET, RAW, 0x88CC, 7, 8) + attribute(0, struct.pack("=5I", 2, 0, 0, 0, 0))
    row = only(message(body), parse_packet, 1)
    assert (row.kind, row.protocol, row.interface, row.inode, row.uid) == (RAW, 0x88CC, 2, 7, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"\1",
        message(b"")[:12],
        struct.pack("=IHHII", 4, 20, 0, 1, 0),
        struct.pack("=IHHII", 400, 20, 0, 1, 0),
    ],
)
def test_a_message_that_contradicts_itself_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        list(messages(raw))


@pytest.mark.parametrize("rest", [b"\1\0", struct.pack("=HH", 2, 2), struct.pack("=HH", 200, 2)])
def test_an_attribute_that_contradicts_itself_is_an_error(rest: bytes) -> None:
    raw = struct.pack("=IHHII", 16 + 72 + len(rest), 20, 2, 1, 0) + inet(ESTABLISHED) + rest
    with pytest.raises(ValueError):
        only(raw, sock_diag.parse_inet, TCP, 1)


@given(
    st.binary(max_size=300),
    st.binary(max_size=80),
    st.sampled_from([(sock_diag.parse_inet, (TCP, 1)), (sock_diag.parse_unix, (1,)), (parse_packet, (1,))]),
)
def test_messages_survive_any_bytes(
    raw: bytes, attributes: bytes, how: tuple[Callable[..., Facts], tuple[int]]
) -> None:
    parse, more = how
    for body in (raw, message(raw), message(inet(1, rest=attributes)), message(bytes([UNIX]) + raw + attributes)):
        with contextlib.suppress(ValueError):
            for found in messages(body):
                assert found.end <= len(body)
                parse(body, found.start, found.end, *more)


class _Netlink:
    """Answers each receive with the next of its texts."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def send(self, raw: bytes) -> None:
        assert raw

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)

    def close(self) -> None:
        self.answers.clear()


def dumped(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> tuple[sock_diag.Tables, list[str]]:
    from hostscope.platforms.tally import Tally

    tally = Tally()
    monkeypatch.setattr("socket.socket", lambda *_: _Netlink(*answers))
    return sock_diag.Tables(1, tally), tally.notes


DONE = message(struct.pack("=i", 0), kind=3)


def test_a_dump_in_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, notes = dumped(monkeypatch, message(inet(1)) + message(inet(1, 10)), message(inet(LISTEN)), DONE)
    assert [row.inode for row in tables.tcp()] == [9, 10, 9]
    assert notes == []


def test_an_interrupted_dump_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, notes = dumped(monkeypatch, message(inet(1), flags=0x12), DONE)
    assert len(list(tables.tcp())) == 1
    assert notes == ["the kernel's table of tcp sockets changed while it was read"]


def test_a_protocol_that_the_kernel_lacks_has_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = message(struct.pack("=i", -2), kind=3)
    tables, _ = dumped(monkeypatch, missing, missing, missing)
    assert list(tables.inet(136)) == []
    with pytest.raises(FileNotFoundError):
        list(tables.unix())


def test_an_error_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, _ = dumped(monkeypatch, message(struct.pack("=i", -13) + bytes(16), kind=2))
    with pytest.raises(PermissionError):
        list(tables.tcp())


# Records ------------------------------------------------------------------------------------------------------------


def records(**request: object) -> Records:
    asked = SocketRequest(families=FAMILIES, **request)  # type: ignore[arg-type]
    return Records(asked, Accounts(), lambda net_ns, index: f"eth{index}" if net_ns == 1 else NO_DEVICE)


NO_DEVICE = Gap("interface", Reason.DENIED, "no")


def talk(port: int, remote_port: int, **more: object) -> Facts:
    given: dict[str, object] = {"local": LOOPBACK, "local_port": port, "remote": LOOPBACK, "remote_port": remote_port}
    return Facts(INET, STREAM, TCP, ESTABLISHED, 5, **(given | {"net_ns": 1, "uid": 0} | more))  # type: ignore[arg-type]


def listener(port: int, local: bytes = ANY, net_ns: int = 1) -> Facts:
    return Facts(INET, STREAM, TCP, LISTEN, 6, local, port, ANY, 0, net_ns, uid=0)


def test_a_socket_that_a_table_has_twice_is_one() -> None:
    """As it was seen last; connections without an inode are told apart by their ends, and other such sockets never."""
    again = talk(1, 2)._replace(state=TIME_WAIT)
    orphans = talk(5, 6)._replace(inode=0), talk(5, 7)._replace(inode=0), talk(5, 6)._replace(inode=0)
    kernels = [listener(9)._replace(inode=0, protocol=UDP, kind=DGRAM) for _ in range(2)]
    found = distinct([talk(1, 2), talk(3, 4), again, *orphans, *kernels, talk(1, 2, net_ns=2)])
    assert found == [again, talk(3, 4), *orphans[:2], *kernels, talk(1, 2, net_ns=2)]


@pytest.mark.parametrize(
    ("waiting", "direction"),
    [
        (listener(80), "inbound"),
        (listener(80, LOOPBACK), "inbound"),
        (listener(80, bytes([10, 0, 0, 1])), "outbound"),
        (listener(80, net_ns=2), "outbound"),
        (listener(81), "outbound"),
        (listener(80)._replace(state=ESTABLISHED), "outbound"),
        (listener(80)._replace(protocol=UDP, kind=DGRAM, state=CLOSED), "outbound"),
    ],
)
def test_direction(waiting: Facts, direction: str) -> None:
    made, row = records(), talk(80, 5000)
    made.note([waiting, row], from_proc=False)
    assert made.build(row, made.shape_of(row, False), (), None).direction == direction


def test_a_datagram_socket_with_a_port_listens_and_one_without_does_not() -> None:
    made = records()
    for port, direction in ((53, "listening"), (0, None)):
        row = Facts(INET, DGRAM, UDP, CLOSED, 5, LOOPBACK, port, ANY, 0, 1, uid=0)
        assert made.build(row, made.shape_of(row, False), (), None).direction == direction


def test_owners_that_cannot_be_seen_are_a_gap() -> None:
    made, row = records(), talk(80, 5000)
    found = made.build(row, made.shape_of(row, False), None, None)
    assert (found.owners, found.gaps) == (None, (OWNERS_DENIED,))


def test_what_proc_lacks_is_a_gap_and_what_was_not_asked_is_not() -> None:
    for details, fields in ((True, {"interface", "tcp"}), (False, {"interface"})):
        made, row = records(tcp_details=details), talk(80, 5000, interface=None)
        found = made.build(row, made.shape_of(row, True), (), None)
        assert {gap.field for gap in found.gaps} == fields
        assert {gap.reason for gap in found.gaps} == {Reason.UNSUPPORTED}


def test_devices_by_name() -> None:
    made = records()
    for net_ns, name, gaps in ((1, "eth3", ()), (2, None, (NO_DEVICE,))):
        row = talk(80, 5000, interface=3, net_ns=net_ns)
        found = made.build(row, made.shape_of(row, False), (), None)
        assert (found.interface, found.gaps) == (name, gaps)


def test_unix_ends_have_the_names_of_both() -> None:
    made = records()
    server = Facts(UNIX, STREAM, 0, ESTABLISHED, 7, b"/run/x\xff", peer=8)
    client = Facts(UNIX, STREAM, 0, ESTABLISHED, 8, peer=7)
    hidden = Facts(UNIX, STREAM, 0, LISTEN, 9, b"\0name")
    rows = [server, client, hidden]
    made.note(rows, from_proc=False)
    found = [made.build(row, made.shape_of(row, False), (), None) for row in rows]
    assert [(str(one.local), str(one.remote), one.direction) for one in found] == [
        ("/run/x\U0010eeff", "None", "inbound"),
        ("None", "/run/x\U0010eeff", "outbound"),
        ("@name", "None", "listening"),
    ]


def test_numbers_without_names_stay_numbers() -> None:
    made = records()
    row = Facts(INET, RAW, 253, 200, 5, LOOPBACK, 253, ANY, 0, 1, uid=4_000_000_000)
    found = made.build(row, made.shape_of(row, False), (), None)
    assert (found.protocol, found.state, found.local and found.local.port) == ("253", "state 200", None)
    assert found.user is not None and found.user.name is None


def test_listeners_come_first() -> None:
    rows: Iterator[Facts] = iter(
        [
            talk(80, 5000)._replace(inode=1),
            listener(80)._replace(inode=2),
            listener(80)._replace(inode=3, protocol=UDP, kind=DGRAM, state=CLOSED),
            talk(81, 80)._replace(inode=4),
            listener(80)._replace(inode=5, kind=RAW, protocol=80, state=CLOSED),
        ]
    )
    assert _ranks(rows, 80) == {1: 1, 2: 0, 3: 0}


# The iterator's records ---------------------------------------------------------------------------------------------


def record(address: int, pid: int, fd: int, state: int = ESTABLISHED, kind: int = STREAM, port: int = 80) -> bytes:
    protocol = TCP if kind == STREAM else UDP
    holder, shape = HOLDER.pack(100, 1, b"web", pid, 0), SHAPE.pack(INET, kind, protocol, state, 0, 7, 0, 0)
    local = LOOPBACK.ljust(16, b"\0")
    return RECORD.pack(address, address + 1, 0, holder, shape, local, local, fd, port, 9, *[0] * 13)


def test_a_socket_counts_once_however_many_hold_it() -> None:
    held = HeldSockets(record(10, 1, 3) + record(10, 1, 5) + record(10, 2, 3) + record(20, 2, 4))
    assert held.counts()[7].established == 2
    assert [(one.fd, read_holder(one.holder).pid) for one in held.repeated[10]] == [(3, 1), (5, 1), (3, 2)]
    assert held.holders(others=False) == {11: {1: 3, 2: 3}, 21: {2: 4}}
    assert held.claimed({11}) == {(TCP, 11)}


def test_datagram_sockets_without_a_port_are_not_counted() -> None:
    held = HeldSockets(record(10, 1, 3, CLOSED, DGRAM) + record(20, 1, 4, CLOSED, DGRAM, port=0))
    assert held.counts()[7].protocols == {UDP: 1}


def test_half_a_record_is_an_error() -> None:
    with pytest.raises(Unavailable):
        HeldSockets(record(1, 1, 3)[:-1])


# Namespaces ---------------------------------------------------------------------------------------------------------


def test_mounted_namespaces() -> None:
    raw = (
        b"63 29 0:4 net:[4026532248] /run/netns/blue\\040one rw shared:32 - nsfs nsfs rw\n"
        b"64 29 0:4 mnt:[4026532249] /run/x rw - nsfs nsfs rw\n"
        b"65 29 8:1 / / rw - ext4 /dev/sda1 rw\nnsfs\n - nsfs \n"
    )
    assert list(parse_mounted(raw)) == [(4026532248, "/run/netns/blue one")]
    assert (parse_link("net:[5]"), parse_link("net:[x]"), parse_link("mnt:[5]")) == (5, None, None)


@given(st.binary())
def test_mounts_survive_any_bytes(raw: bytes) -> None:
    list(parse_mounted(raw + b" - nsfs \n1 2 3 net:[" + raw + b"] " + raw + b" - nsfs "))
