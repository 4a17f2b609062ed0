"""How names are resolved, as libSystem's dnsinfo tells it. Source: dnsinfo.h of configd (private)."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, failed

SIGNATURES = {
    "dns_configuration_copy": (c_void_p, ()),
    "dns_configuration_free": (None, (c_void_p,)),
}
NOT_IN_HEADERS = {
    "dns_configuration_copy": "dnsinfo.h of Apple's configd",
    "dns_configuration_free": "dnsinfo.h of Apple's configd",
}
resolving = Library(LIBSYSTEM, SIGNATURES)
_LEAST_ADDRESS = 1 << 16
"""Nothing is mapped below: a number there is no pointer."""


@contextmanager
def configuration() -> Iterator[int]:
    """The address of a copy of the configuration, for as long as the block runs.

    Raises:
        OSError: mDNSResponder or configd do not answer.
    """
    address = resolving.dns_configuration_copy()
    if not address:
        raise failed("dns_configuration_copy")
    try:
        yield address
    finally:
        resolving.dns_configuration_free(address)


def fetch(address: int, size: int) -> bytes:
    """Bytes of our own memory, which the library has just written."""
    if address < _LEAST_ADDRESS:
        return b""
    return ctypes.string_at(address, size)


def fetch_text(address: int, most: int) -> bytes:
    """The bytes of a C string, without its end."""
    return b"" if address < _LEAST_ADDRESS else ctypes.string_at(address)[:most]
