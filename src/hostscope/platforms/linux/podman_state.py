"""Pods of Podman, from libpod's own database. Pure: bytes in, names out; None for bytes that are not such a database.

Podman up to 4.7 keeps a bolt database (bolt_state.db), later ones SQLite (db.sql). Both are read from a copy in
memory, so nothing is locked, and what is being written at the moment may be missing.
"""

import re
import struct
from collections.abc import Iterator

from hostscope.model.text import decode

MAX_PODS = 4096

_POD_GROUP = re.compile(r"(?:/|libpod_pod_)([0-9a-f]{64})(?:/libpod-|\.slice[:/])")
_ID = re.compile(rb"[0-9a-f]{64}")


def parse_pod_id(group: str) -> str | None:
    """The pod in a container's control group: of cgroupfs ``…/POD/libpod-ID``, of systemd ``…libpod_pod_POD.slice``."""
    found = _POD_GROUP.search(group)
    return found[1] if found else None


# SQLite: table PodConfig (libpod/sqlite_state_internal.go) ------------------------------------------------------------


def parse_sqlite(raw: bytes) -> dict[str, str] | None:
    """Id -> name of every pod in db.sql."""
    import sqlite3  # only where there is such a database

    # Podman sets write-ahead logging, which a database in memory cannot have: bytes 18 and 19 say so (fileformat2).
    plain = raw[:18] + b"\1\1" + raw[20:]
    try:
        connection = sqlite3.connect(":memory:")
    except sqlite3.Error:
        return None
    try:
        connection.deserialize(plain)
        connection.set_progress_handler(lambda: 1, 10_000_000)  # stops what a hostile schema could make endless
        rows = connection.execute(f"SELECT ID, Name FROM PodConfig LIMIT {MAX_PODS}").fetchall()
    except (sqlite3.Error, ValueError, OverflowError, MemoryError):
        return None
    finally:
        connection.close()
    return {key: decode(name.encode()) for key, name in rows if isinstance(key, str) and isinstance(name, str)}


# Bolt: bucket "allPods" (libpod/boltdb_state_internal.go) ------------------------------------------------------------

_MAGIC, _VERSION = 0xED0CDAED, 2
_META = struct.Struct("<IIII QQ QQQ Q")
"""magic version page_size flags | root sequence | freelist pages transaction | checksum"""
_HEAD = struct.Struct("<QHHI")
"""id flags count overflow"""
_BRANCH_ELEMENT, _LEAF_ELEMENT = struct.Struct("<IIQ"), struct.Struct("<IIII")
_BRANCH, _LEAF, _BUCKET = 0x01, 0x02, 0x01
_PAGE_SIZES = tuple(1 << power for power in range(9, 17))
_MAX_DEPTH = 16
_MAX_ELEMENTS = 100_000


def parse_bolt(raw: bytes) -> dict[str, str] | None:
    """Id -> name of every pod in bolt_state.db."""
    try:
        return _Bolt(raw).pods()
    except (struct.error, ValueError):
        return None


class _Bolt:
    """A database as it was after its last transaction."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._size, self._root = _last_transaction(raw)
        self._left = _MAX_ELEMENTS

    def pods(self) -> dict[str, str]:
        for key, value, flags in self._elements(self._page(self._root), 0):
            if key == b"allPods" and flags & _BUCKET:
                entries = self._elements(self._bucket(value), 0)
                return {key.decode(): decode(name) for key, name, _ in entries if _ID.fullmatch(key)}
        return {}

    def _page(self, number: int) -> bytes:
        start = number * self._size
        overflow = _HEAD.unpack_from(self._raw, start)[3]
        return self._raw[start : start + (1 + overflow) * self._size]

    def _bucket(self, value: bytes) -> bytes:
        """The page that a bucket begins with; a small one stands in the value itself."""
        (root, _) = struct.unpack_from("<QQ", value)
        return self._page(root) if root else value[16:]

    def _elements(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes, int]]:
        """Keys with values and flags, of the tree below a page."""
        _, kind, count, _ = _HEAD.unpack_from(page)
        if depth > _MAX_DEPTH or not kind & (_BRANCH | _LEAF):
            raise ValueError("no tree")
        for place in range(_HEAD.size, _HEAD.size + 16 * count, 16):
            self._left -= 1
            if self._left < 0:
                raise ValueError("too many elements")
            if kind & _BRANCH:
                yield from self._elements(self._page(_BRANCH_ELEMENT.unpack_from(page, place)[2]), depth + 1)
            else:
                flags, at, key, value = _LEAF_ELEMENT.unpack_from(page, place)
                start = place + at
                yield page[start : start + key], page[start + key : start + key + value], flags


def _last_transaction(raw: bytes) -> tuple[int, int]:
    """Page size and root page of the newer of the two meta pages that fits its checksum."""
    metas = [_parse_meta(raw, start) for start in (0, *_PAGE_SIZES)]
    valid = [meta for meta in metas if meta]
    if not valid:
        raise ValueError("no bolt database")
    _, size, root = max(valid)
    return size, root


def _parse_meta(raw: bytes, start: int) -> tuple[int, int, int] | None:
    place = start + _HEAD.size
    if len(raw) < place + _META.size:
        return None
    magic, version, size, _, root, _, _, _, transaction, checksum = _META.unpack_from(raw, place)
    sound = (magic, version) == (_MAGIC, _VERSION) and size in _PAGE_SIZES and start in (0, size)
    if not sound or _fnv(raw[place : place + _META.size - 8]) != checksum:
        return None
    return transaction, size, root


def _fnv(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return found
