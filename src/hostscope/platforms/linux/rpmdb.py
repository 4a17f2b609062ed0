"""Who owns a file, by RPM's package database. Source: rpmdb.sqlite (RPM 4.16 and later; Fedora 33, RHEL 10, SUSE)."""

import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

from hostscope.errors import Unavailable
from hostscope.model.package import FileOwner
from hostscope.model.text import encode
from hostscope.platforms.linux.dpkg import MERGED, aliases
from hostscope.platforms.linux.rpmheader import MAX_BYTES, BadHeader, Header, parse_algorithm, parse_file, parse_name

FOLDERS = ("usr/lib/sysimage/rpm", "var/lib/rpm")
"""Where distributions keep it, the newer first."""
OLDER = {"Packages": "Berkeley DB", "Packages.db": "NDB"}
"""Database files of other kinds, which only RPM itself can read."""
MAX_HITS = 4096
"""Files of one base name that are looked at."""


class Rpm:
    """One database, opened for each question so that no lock or descriptor is held."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def present(self) -> bool:
        """Whether there is an RPM database of any kind."""
        return any(os.path.exists(path) for path in (*self._paths("rpmdb.sqlite"), *self._older()))

    def stamp(self) -> tuple[int, int] | None:
        """(inode, mtime_ns) of the database, to tell whether it changed."""
        path = self._path()
        found = os.stat(path) if path else None
        return (found.st_ino, found.st_mtime_ns) if found else None

    def owner(self, path: str) -> FileOwner | None:
        """The package that installed the file at `path`.

        Raises:
            Unavailable: the database is of an older kind, is being written, or is damaged.
        """
        merged = frozenset(name for name in MERGED if os.path.islink(encode(self._root) + name))
        names = frozenset(aliases(encode(path), merged))
        try:
            with closing(self._open()) as database:
                return self._search(database, names, os.path.basename(encode(path)))
        except (sqlite3.Error, BadHeader) as failed:
            raise Unavailable(f"the RPM database cannot be read: {failed}") from failed

    def _search(self, database: sqlite3.Connection, names: frozenset[bytes], basename: bytes) -> FileOwner | None:
        query = (
            "SELECT substr(p.blob, 1, ?), b.idx FROM Basenames b JOIN Packages p ON p.hnum = b.hnum"
            " WHERE b.key = CAST(? AS TEXT) OR b.key = ? LIMIT ?"
        )
        for blob, index in database.execute(query, (MAX_BYTES, basename, basename, MAX_HITS)):
            header = Header(bytes(blob))
            entry = parse_file(header, int(index))
            if entry.path in names and entry.installed:
                algorithm = parse_algorithm(header) if entry.digest else None
                digest = entry.digest if algorithm else None
                return FileOwner(*parse_name(header), "rpm", algorithm, digest)
        return None

    def _open(self) -> sqlite3.Connection:
        """Read-only and without locks: `immutable` keeps SQLite from making its -shm file beside the database.

        It also makes it ignore the write-ahead log, so a log with content means that the answer could be old.
        """
        path = self._path()
        if path is None:
            kind = next((OLDER[os.path.basename(older)] for older in self._older()), "unknown")
            raise Unavailable(f"the RPM database is of kind {kind}, which only RPM can read", "ask: rpm -qf PATH")
        log = f"{path}-wal"
        if os.path.exists(log) and os.path.getsize(log):
            raise Unavailable("the RPM database is being written", "ask again when the transaction is over")
        return sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)

    def _path(self) -> str | None:
        return next((path for path in self._paths("rpmdb.sqlite") if os.path.exists(path)), None)

    def _older(self) -> list[str]:
        return [path for name in OLDER for path in self._paths(name) if os.path.exists(path)]

    def _paths(self, name: str) -> list[str]:
        return [f"{self._root}/{folder}/{name}" for folder in FOLDERS]
