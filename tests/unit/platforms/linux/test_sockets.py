"""Socket tables as texts."""

import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.parse_net import (
    TABLES,
    Endpoint,
    parse_inet,
    parse_netlink,
    parse_packet,
    parse_unix,
)
from hostscope.platforms.linux.sockets import _ranks

HEADER = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = b"00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000004f6a3ee 100 0 0 10 0\n"
little = pytest.mark.skipif(sys.byteorder != "little", reason="the texts are from a little-endian host")


def tcp(local: bytes, remote: bytes, state: bytes = b"0A") -> bytes:
    return HEADER + b"   0: %s %s %s %s" % (local, remote, state, REST)


@little
def test_ipv4() -> None:
    (row,) = parse_inet(tcp(b"0100007F:1F90", b"00000000:0000"), "tcp")
    assert row == Endpoint("tcp", 4242, "listen", "127.0.0.1:8080", "0.0.0.0:0", 8080, 1000)


@little
def test_ipv6() -> None:
    raw = tcp(b"B80D0120000000000000000001000000:01BB", b"0000000000000000FFFF00000100007F:D431", b"01")
    (row,) = parse_inet(raw, "tcp6")
    assert (row.local, row.remote, row.state) == ("[2001:db8::1]:443", "[::ffff:127.0.0.1]:54321", "established")


def test_udp_has_states_of_its_own() -> None:
    rows = [*parse_inet(tcp(b"00000000:0035", b"00000000:0000", b"07"), "udp")]
    assert (rows[0].state, rows[0].port) == ("unconnected", 53)


def test_an_unknown_state_keeps_its_number() -> None:
    assert next(parse_inet(tcp(b"00000000:0035", b"00000000:0000", b"FE"), "tcp")).state == "state 254"


@pytest.mark.parametrize(
    "raw",
    [b"h\n1: 2\n", tcp(b"0100:1F90", b"00000000:0000"), tcp(b"0100007G:1F90", b"00000000:0000"), tcp(b"\xff" * 8, b"")],
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
        b"000000009d486da0: 00000002 00000000 00000000 0005 01    13 /tmp/new\nline\xff\n"
    )
    assert list(parse_unix(raw)) == [
        Endpoint("unix", 1147, "connected", None, None),
        Endpoint("unix", 11480, "listen", "/run/a b", None),
        Endpoint("unix", 12, "unconnected", "@abstract@x", None),
        Endpoint("unix", 13, "unconnected", "/tmp/new\nline\U0010eeff", None),
    ]


def test_netlink_and_packet() -> None:
    netlink = b"sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n0000000001a8afe6 16 4242 00000000 0 0 0 2 0 77\n"
    assert list(parse_netlink(netlink)) == [Endpoint("netlink", 77, None, "generic:4242", None)]
    packet = b"sk RefCnt Type Proto Iface R Rmem User Inode\nff 3 3 0003 2 1 0 1000 78\nff 3 3 88cc 0 1 0 0 79\n"
    assert list(parse_packet(packet)) == [
        Endpoint("packet", 78, None, "2:0003", None, user=1000),
        Endpoint("packet", 79, None, "*:88cc", None, user=0),
    ]


@pytest.mark.parametrize("parse", [parse_netlink, parse_packet])
def test_short_lines_are_an_error(parse) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError):
        list(parse(b"header\n1 2 3\n"))


@given(st.binary() | st.binary().map(lambda raw: tcp(raw, raw)), st.sampled_from(sorted(TABLES)))
def test_tables_survive_any_bytes(raw: bytes, protocol: str) -> None:
    with contextlib.suppress(ValueError):
        list(TABLES[protocol](raw, protocol))


def test_listeners_come_first() -> None:
    rows = [
        Endpoint("tcp", 1, "established", "", ""),
        Endpoint("tcp", 2, "listen", "", ""),
        Endpoint("udp", 3, "unconnected", "", ""),
        Endpoint("udp", 4, "connected", "", ""),
    ]
    assert _ranks(rows) == {1: 1, 2: 0, 3: 0, 4: 1}
