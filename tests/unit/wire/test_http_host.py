"""Whom an HTTP/1 request is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.dns import Name
from hostscope.wire.hello import Hellos
from hostscope.wire.http import http_host
from tests.unit.wire.hellos import server_name


@pytest.mark.parametrize(
    ("request_", "domain"),
    [
        (b"GET / HTTP/1.1\r\nUser-Agent: x\r\nhOsT:  Shop.Example:8080 \r\n\r\n", "shop.example"),
        (b"POST /a HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "a.example"),
        (b"CONNECT mail.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n", "mail.example"),
        (b"GET http://user@proxy.example:1/x HTTP/1.1\r\nHost: other.example\r\n\r\n", "proxy.example"),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.7:80\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\n\r\nHost: body.example\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: cut.exam", None),
        (b"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", None),
        (b"get / HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a b:x:y\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"Host: a.example\r\n\r\n", None),
        (b"\x16\x03\x01", None),
    ],
)
def test_hosts(request_: bytes, domain: str | None) -> None:
    assert http_host(request_) == domain
    assert server_name(request_, "tcp") == (Name(domain, "http") if domain else None)


def test_a_head_over_two_segments() -> None:
    hellos = Hellos()
    assert hellos.feed(1, "tcp", b"GET / HTTP/1.1\r\nHost: shop.ex", 5) is None
    assert hellos.feed(1, "tcp", b"ample\r\n\r\n", 5 + 29) == Name("shop.example", "http")


def test_a_head_without_a_host_ends() -> None:
    hellos = Hellos()
    assert hellos.feed(1, "tcp", b"GET / HTTP/1.0\r\n\r\n", 5) is None
    assert len(hellos) == 0


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    http_host(data)
    http_host(b"GET / HTTP/1.1\r\nHost: " + data + b"\r\n\r\n")
    http_host(b"GET " + data + b" HTTP/1.1\r\n\r\n")
