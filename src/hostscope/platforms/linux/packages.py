"""Packages and the files they own, and whether a file is still the package's."""

import os
from typing import TYPE_CHECKING

from hostscope.errors import Denied, Unavailable
from hostscope.model.package import FileOwner
from hostscope.platforms.linux.dpkg import Dpkg

if TYPE_CHECKING:
    from hostscope.platforms.linux.rpmdb import Rpm

MAX_REMEMBERED = 8192
PIECE_BYTES = 1 << 20
ALGORITHMS = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})
"""Digests that files can be compared with."""


class Packages:
    """Implements `hostscope.platforms.base.Packages` for dpkg and RPM. Not for use by several threads."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._dpkg = Dpkg(root)
        self._rpm_stamp: object = None
        self._owners: dict[str, FileOwner | None] = {}

    def owner(self, path: str) -> FileOwner | None:
        """The package that installed `path`; None when no package did.

        `path` is as the kernel names it: absolute, without links. Where a folder of a merged /usr is meant, either
        name will do. A file that was diverted (dpkg-divert) belongs to the package that brought it.

        Raises:
            Unavailable: there is no database that can be read.
            Denied: we may not read it.

        Cost: the first question reads all file lists of dpkg (for 120,000 files 0.2 s, and 12 MB of which 1 MB stays);
        a path that was asked for before, a few system calls; others, two or three files; RPM: a query.
        """
        try:
            self._forget_if_changed()
            if path not in self._owners:
                self._remember(path, self._ask(path))
        except PermissionError as failed:
            raise Denied(f"package database: {failed.strerror}", "needs the right to read it") from failed
        except OSError as failed:
            raise Unavailable(f"package database: {failed.strerror}") from failed
        return self._owners[path]

    def _ask(self, path: str) -> FileOwner | None:
        dpkg, rpm = self._dpkg.present(), self._rpm()
        if not dpkg and not rpm.present():
            raise Unavailable("there is neither a dpkg nor an RPM database")
        found = self._dpkg.owner(path) if dpkg else None
        return rpm.owner(path) if found is None and rpm.present() else found

    def _rpm(self) -> "Rpm":
        from hostscope.platforms.linux.rpmdb import Rpm  # imports sqlite3: 5 ms that a process list need not pay

        return Rpm(self._root)

    def _forget_if_changed(self) -> None:
        stamp = self._rpm().stamp()
        if (self._dpkg.present() and self._dpkg.changed()) or stamp != self._rpm_stamp:
            self._owners.clear()
        self._rpm_stamp = stamp

    def _remember(self, path: str, owner: FileOwner | None) -> None:
        if len(self._owners) >= MAX_REMEMBERED:
            self._owners.pop(next(iter(self._owners)))
        self._owners[path] = owner


def hash_file(file: int, algorithm: str) -> str:
    """Hexadecimal digest of a whole file, read from its start; the descriptor's place in it stays. Raises `OSError`.

    MD5 (dpkg) tells a damaged or carelessly replaced file; who can make collisions, or write to the package database,
    deceives it.
    """
    import hashlib  # loads OpenSSL: 3 ms that a process list need not pay

    digest, offset = hashlib.new(algorithm, usedforsecurity=False), 0
    while piece := os.pread(file, PIECE_BYTES, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()
