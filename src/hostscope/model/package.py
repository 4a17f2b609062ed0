"""Packages and the files they own."""

from msgspec import Struct


class FileOwner(Struct, frozen=True):
    """The package a file came from."""

    package: str
    version: str | None
    manager: str
    """``dpkg rpm``."""
    digest_algorithm: str | None
    """``md5 sha256 …``; None when the database has no digest for the file (a link, a configuration file)."""
    digest: str | None
    """Hexadecimal, lower case."""
