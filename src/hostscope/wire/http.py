"""The server that an HTTP/1 client asks for. Source: RFC 9112 3.2, RFC 9110 7.2."""

import re
from ipaddress import ip_address

from hostscope.wire.tls import domain_of

MAX_HEAD_BYTES = 8192
"""A longer head is read so far."""
_MAX_LINES = 100
_REQUEST = re.compile(rb"([A-Z]{3,16}) ([^ \r\n]{1,4096}) HTTP/1\.[01]$")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,15}://([^/?#]*)")
_AUTHORITY = re.compile(rb"(?:[^@]*@)?(\[[^\]]*\]|[^:\[\]@]*)(?::[0-9]*)?$")


def http_host(payload: bytes) -> str | None:
    """The domain in a request's target or Host header; None when there is none, it is an address, or no request.

    A name in the target wins, as it does for servers.
    """
    lines = payload[:MAX_HEAD_BYTES].split(b"\r\n", _MAX_LINES + 1)
    request = _REQUEST.match(lines[0])
    if request is None:
        return None
    authority = _target_authority(request[1], request[2])
    return _domain(_host_header(lines[1 : _MAX_LINES + 1]) if authority is None else authority)


def _target_authority(method: bytes, target: bytes) -> bytes | None:
    if method == b"CONNECT":
        return target
    absolute = _ABSOLUTE.match(target)
    return absolute[1] if absolute else None


def _host_header(lines: list[bytes]) -> bytes | None:
    """The first Host header; the last line counts only when its end was there."""
    for line in lines[:-1]:
        if not line:
            return None
        name, colon, value = line.partition(b":")
        if colon and name.lower() == b"host":
            return value.strip(b" \t")
    return None


def _domain(authority: bytes | None) -> str | None:
    found = _AUTHORITY.match(authority) if authority else None
    if found is None or not found[1] or _is_address(found[1]):
        return None
    return domain_of(found[1])


def _is_address(host: bytes) -> bool:
    try:
        ip_address(host.strip(b"[]").decode("ascii", "replace"))
    except ValueError:
        return host.startswith(b"[")
    return True
