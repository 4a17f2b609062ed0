"""resolv.conf and what D-Bus tells, in any shape."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.parse_resolv import (
    ConfiguredServers,
    LinkServer,
    ResolvConf,
    is_loopback,
    parse_configuration,
    parse_resolv_conf,
    parse_server,
)


@pytest.mark.parametrize(
    ("text", "conf"),
    [
        ("nameserver 192.0.2.1\nnameserver ::1 # here\n", ResolvConf(("192.0.2.1", "::1"), (), ())),
        ("search a b\ndomain c d\n", ResolvConf((), ("c",), ())),
        ("domain c\nsearch a b\n", ResolvConf((), ("a", "b"), ())),
        ("options a b\noptions\tc\n", ResolvConf((), (), ("a", "b", "c"))),
        ("# nameserver 1.2.3.4\n;x\n nameserver 1.2.3.4\n", ResolvConf((), (), ())),
        ("nameserver\nnameserver dns.example\n", ResolvConf((), (), (), ("dns.example",))),
        ("nameserver 192.0.2.1", ResolvConf(("192.0.2.1",), (), ())),
        ("", ResolvConf((), (), ())),
    ],
)
def test_files(text: str, conf: ResolvConf) -> None:
    assert parse_resolv_conf(text.encode()) == conf


@given(st.binary(max_size=400))
def test_any_file(raw: bytes) -> None:
    parse_resolv_conf(raw)
    for server in parse_resolv_conf(b"nameserver " + raw).nameservers:
        is_loopback(server)


FOUR, SIX = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("value", "server"),
    [
        ((2, int(FOUR), bytes([192, 0, 2, 1])), LinkServer(2, "192.0.2.1", 0, None)),
        ((2, int(FOUR), bytes([192, 0, 2, 1]), 853, "n"), LinkServer(2, "192.0.2.1", 853, "n")),
        ((int(SIX), bytes(15) + b"\1"), LinkServer(0, "::1", 0, None)),
        ((int(SIX), bytes(15) + b"\1", 53, ""), LinkServer(0, "::1", 53, None)),
        ((2, int(FOUR), bytes(16)), None),
        ((2, 99, bytes(4)), None),
        ((2, "x", 3), None),
        (None, None),
    ],
)
def test_servers_of_resolved(value: object, server: LinkServer | None) -> None:
    assert parse_server(value) == server


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
)


@given(ANY)
def test_any_server(value: object) -> None:
    parse_server(value)


@given(
    st.dictionaries(st.sampled_from(["nameservers", "domains", "interface", "priority", "vpn"]), st.tuples(ANY, ANY))
)
def test_any_configuration(entry: dict[str, tuple[object, object]]) -> None:
    found = parse_configuration(entry)
    assert all(isinstance(text, str) for text in (*found.servers, *found.domains))


def test_a_configuration_without_anything() -> None:
    assert parse_configuration({}) == ConfiguredServers((), (), None, None, False)
