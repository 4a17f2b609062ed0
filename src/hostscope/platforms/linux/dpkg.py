"""Who owns a file, by Debian's package database. Source: /var/lib/dpkg (dpkg(1), deb-md5sums(5), dpkg-divert(1))."""

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from msgspec import Struct

from hostscope.model.package import FileOwner
from hostscope.model.text import decode, encode

MAX_BYTES = 256 << 20
"""More of one database file than this is not read."""
MAX_PACKAGES = 1 << 16
MERGED = (b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32", b"/libo32")
"""Folders that a merged-/usr system has as links into /usr; packages may list their files either way."""

_DIGEST = re.compile(rb"[0-9a-f]{32}")
_FIELD = re.compile(rb"^(Package|Status|Architecture|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class Diversion(Struct, frozen=True):
    """One entry of dpkg-divert: files of every package but `package` that were meant for `path` stand at `to`."""

    path: bytes
    to: bytes
    package: str
    """``:`` for a local one, which leaves no package's file at `path`."""


def parse_versions(raw: bytes) -> dict[str, str]:
    """``status``: package, and package with ``:architecture``, -> version, for those whose files are there."""
    versions: dict[str, str] = {}
    for paragraph in raw.split(b"\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        name, version = fields.get(b"Package"), fields.get(b"Version")
        if name and version and not fields.get(b"Status", b"").endswith((b" not-installed", b" config-files")):
            versions[decode(name)] = decode(version)
            versions[decode(name + b":" + fields.get(b"Architecture", b""))] = decode(version)
    return versions


def parse_digest(raw: bytes, paths: Iterable[bytes]) -> str | None:
    """``PKG.md5sums``: the digest of the first of `paths` that it lists, under either name."""
    for path in paths:
        match = re.search(rb"^([0-9a-f]{32})  " + re.escape(path.lstrip(b"/")) + b"$", raw, re.MULTILINE)
        if match:
            return match[1].decode()
    return None


def parse_diversions(raw: bytes) -> tuple[Diversion, ...]:
    """``diversions``: three lines each; a rest of one or two lines is left out."""
    lines = raw.split(b"\n")
    triples = zip(lines[::3], lines[1::3], lines[2::3], strict=False)
    return tuple(Diversion(path, to, decode(package)) for path, to, package in triples if path and to)


def aliases(path: bytes, merged: frozenset[bytes]) -> tuple[bytes, ...]:
    """Names that a package may list a file under: as given, and on the other side of a merged /usr."""
    top = b"/" + path.split(b"/", 2)[1] if path.startswith(b"/") else b""
    if top in merged:
        return path, b"/usr" + path
    inner = path.removeprefix(b"/usr")
    if inner != path and inner.startswith(b"/") and b"/" + inner.split(b"/", 2)[1] in merged:
        return path, inner
    return (path,)


class Dpkg:
    """One database. The index of all paths is built on the first question and again when a package came or went.

    It holds 48 bits of hash and a package number for every path (1 MB for 120,000); the package's own list has the
    last word. Not for use by several threads.
    """

    def __init__(self, root: str) -> None:
        self._root = encode(root.rstrip("/"))
        self._database = self._root + b"/var/lib/dpkg"
        self._stamp: tuple[int, ...] | None = None
        self._packages: list[bytes] = []
        self._index: array[int] = array("Q")
        self._versions: dict[str, str] = {}
        self._diversions: tuple[Diversion, ...] = ()
        self._merged: frozenset[bytes] = frozenset()

    def present(self) -> bool:
        """Whether there is such a database."""
        return os.path.exists(self._database + b"/status")

    def changed(self) -> bool:
        """Reads the index again if the database changed since it was built."""
        stamp = tuple(_mtime(self._database + name) for name in (b"/info", b"/status", b"/diversions"))
        if stamp == self._stamp:
            return False
        self._load()
        self._stamp = stamp
        return True

    def owner(self, path: str) -> FileOwner | None:
        """The package whose file stands at `path`; the one that dpkg lists first when several share it."""
        wanted = encode(path)
        for name, excluded, required in self._origins(wanted):
            for package in self._listing(name):
                bare = decode(package).partition(":")[0]
                if bare not in excluded and (required is None or bare == required):
                    return self._describe(package, name)
        return None

    def _origins(self, path: bytes) -> Iterator[tuple[bytes, frozenset[str], str | None]]:
        """Names to look for: (path in the lists, packages that do not count, the only one that does)."""
        names = aliases(path, self._merged)
        diverted_from = [entry for entry in self._diversions if entry.to in names]
        for entry in diverted_from:
            yield entry.path, frozenset({entry.package}), None
        for name in names:
            here = next((entry for entry in self._diversions if entry.path in aliases(name, self._merged)), None)
            yield name, frozenset(), here.package if here else None

    def _listing(self, path: bytes) -> list[bytes]:
        """Packages whose list has the path, in the order of their names."""
        mark = _mark(path)
        found, position = [], bisect_left(self._index, mark)
        while position < len(self._index) and self._index[position] >> 16 == mark >> 16:
            package = self._packages[self._index[position] & 0xFFFF]
            if b"\n" + path + b"\n" in b"\n" + _read(self._info(package, b"list")):
                found.append(package)
            position += 1
        return found

    def _describe(self, package: bytes, path: bytes) -> FileOwner:
        name = decode(package)
        digest = parse_digest(_read(self._info(package, b"md5sums")), aliases(path, self._merged))
        version = self._versions.get(name)
        return FileOwner(name, version, "dpkg", "md5" if digest else None, digest)

    def _load(self) -> None:
        self._merged = frozenset(name for name in MERGED if os.path.islink(self._root + name))
        self._versions = parse_versions(_read(self._database + b"/status"))
        self._diversions = parse_diversions(_read(self._database + b"/diversions"))
        names = sorted(name for name in _entries(self._database + b"/info") if name.endswith(b".list"))
        self._packages = [name.removesuffix(b".list") for name in names[:MAX_PACKAGES]]
        marks: array[int] = array("Q")
        for number, package in enumerate(self._packages):
            marks.extend([_mark(path) | number for path in _read(self._info(package, b"list")).split(b"\n")])
        self._index = array("Q", sorted(marks))

    def _info(self, package: bytes, kind: bytes) -> bytes:
        return self._database + b"/info/" + package + b"." + kind


def _mark(path: bytes) -> int:
    """The upper 48 bits of the path's hash, with room for a package's number below."""
    return hash(path) & 0xFFFF_FFFF_FFFF_0000


def _read(path: bytes) -> bytes:
    """A database file; empty when there is none (packages without files have no digests)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        return b""


def _entries(folder: bytes) -> list[bytes]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _mtime(path: bytes) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0
