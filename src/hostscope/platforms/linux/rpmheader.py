"""RPM headers, as the package database stores them. Pure: bytes in, fields out.

A header blob is the number of entries and the length of the data, big-endian, then 16 bytes for each entry (tag, type,
offset, count), then the data. Source: RPM's format documentation, ``lib/header.c``. The blob comes from a file that
its owner may have damaged: nothing outside it is read, and counts are checked before anything is made of them.
"""

import struct

from msgspec import Struct

from hostscope.model.text import decode

MAX_ENTRIES = 65_535
MAX_BYTES = 256 << 20
"""RPM's own limit of a header's data."""

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
FILE_STATES, FILE_MODES, FILE_DIGESTS, FILE_FLAGS = 1029, 1030, 1035, 1037
DIR_INDEXES, BASENAMES, DIR_NAMES, FILE_DIGEST_ALGORITHM = 1116, 1117, 1118, 5011

GHOST = 1 << 6
"""File flag: listed, but not part of the package."""
INSTALLED = 0
"""File state; others: replaced by another package, not installed, in the network, of another architecture."""

_INTEGERS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q"}
_STRINGS = {6, 8, 9}

ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
"""Digest algorithms by OpenPGP's number; without one a header means MD5."""


class BadHeader(ValueError):
    """The bytes are no header."""


class FileEntry(Struct, frozen=True):
    """One file of a package."""

    path: bytes
    digest: str | None
    installed: bool


class Header:
    """The entries of one header; values are decoded when asked for."""

    def __init__(self, raw: bytes) -> None:
        """Raises `BadHeader`."""
        if len(raw) < 8:
            raise BadHeader("shorter than its introduction")
        entries, length = struct.unpack_from(">II", raw)
        self._base = 8 + 16 * entries
        if entries > MAX_ENTRIES or length > MAX_BYTES or self._base + length > len(raw):
            raise BadHeader("its entries or data go beyond its end")
        self._raw = raw
        self._end = self._base + length
        self._entries = {entry[0]: entry[1:] for entry in struct.iter_unpack(">IIII", raw[8 : self._base])}

    def integers(self, tag: int) -> tuple[int, ...]:
        """Numbers of a tag; empty when it is absent. Raises `BadHeader`."""
        kind, offset, count = self._entries.get(tag, (4, 0, 0))
        code = _INTEGERS.get(kind)
        if code is None:
            raise BadHeader(f"tag {tag} holds no numbers")
        start = self._base + offset
        if start + count * struct.calcsize(code) > self._end:
            raise BadHeader(f"tag {tag} goes beyond the data")
        return struct.unpack_from(f">{count}{code}", self._raw, start)

    def strings(self, tag: int) -> list[bytes]:
        """Strings of a tag; empty when it is absent. Raises `BadHeader`."""
        kind, offset, count = self._entries.get(tag, (8, 0, 0))
        start = self._base + offset
        if kind not in _STRINGS or start > self._end or count > self._end - start:
            raise BadHeader(f"tag {tag} holds no strings, or goes beyond the data")
        found = self._raw[start : self._end].split(b"\0", count)
        if len(found) <= count:
            raise BadHeader(f"tag {tag} has an open end")
        return found[:count]

    def text(self, tag: int) -> str | None:
        """The first string of a tag. Raises `BadHeader`."""
        found = self.strings(tag)
        return decode(found[0]) if found else None


def parse_name(header: Header) -> tuple[str, str]:
    """Name, and ``[epoch:]version-release``. Raises `BadHeader`."""
    name, version, release = (header.text(tag) for tag in (NAME, VERSION, RELEASE))
    if not name or not version:
        raise BadHeader("a package without name or version")
    epoch = header.integers(EPOCH)
    return name, (f"{epoch[0]}:" if epoch else "") + version + (f"-{release}" if release else "")


def parse_file(header: Header, index: int) -> FileEntry:
    """One of the package's files by its number. Raises `BadHeader`."""
    basenames, folders, indexes = header.strings(BASENAMES), header.strings(DIR_NAMES), header.integers(DIR_INDEXES)
    if not (0 <= index < len(basenames) and index < len(indexes) and indexes[index] < len(folders)):
        raise BadHeader(f"no file {index}")
    digests, states, flags = header.strings(FILE_DIGESTS), header.integers(FILE_STATES), header.integers(FILE_FLAGS)
    return FileEntry(
        folders[indexes[index]] + basenames[index],
        decode(digests[index]) or None if index < len(digests) else None,
        (index >= len(states) or states[index] == INSTALLED) and not (index < len(flags) and flags[index] & GHOST),
    )


def parse_algorithm(header: Header) -> str | None:
    """What the file digests are; None for a number that is not known. Raises `BadHeader`."""
    numbers = header.integers(FILE_DIGEST_ALGORITHM)
    return ALGORITHMS.get(numbers[0] if numbers else 1)
