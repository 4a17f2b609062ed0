"""Bundles that programs belong to, by their Info.plist. Source: the file; parsed by plistlib, bounded."""

import os
import plistlib
from stat import S_ISREG
from typing import Any

from hostscope.model.macos import Bundle

MOST_BYTES = 1 << 20
INSIDE = "/Contents/MacOS/"
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def bundle_path(exe: str) -> str | None:
    """The bundle that a program's path names as its own: the innermost one; None outside of bundles."""
    place = exe.rfind(INSIDE)
    return exe[:place] if place > 0 else None


def parse_info(path: str, raw: bytes, provisioned: bool) -> Bundle:
    """An Info.plist, XML or binary.

    Raises:
        ValueError: it is none.
    """
    if b"<!ENTITY" in raw:
        raise ValueError("Info.plist declares entities")
    try:
        found = plistlib.loads(raw)
    except Exception as failed:  # expat's own error, and whatever plistlib meets in nonsense
        raise ValueError(f"Info.plist cannot be read: {failed}") from failed
    if not isinstance(found, dict):
        raise ValueError("Info.plist is no dictionary")
    return Bundle(
        path=path,
        identifier=_text(found.get("CFBundleIdentifier")),
        name=_text(found.get("CFBundleDisplayName")) or _text(found.get("CFBundleName")),
        version=_text(found.get("CFBundleShortVersionString")),
        build=_text(found.get("CFBundleVersion")),
        agent=_truth(found.get("LSUIElement", found.get("LSBackgroundOnly"))),
        provisioned=provisioned,
    )


def _text(value: Any) -> str | None:
    return value[:1024] if isinstance(value, str) and value else None


def _truth(value: Any) -> bool:
    """A boolean; old bundles have ``"1"`` or ``"YES"``."""
    return value in (True, 1, "1", "YES", "yes", "true")


class Bundles:
    """Bundles by path, read again when their Info.plist changed. Cost: two system calls for one that is known."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], Bundle]] = {}

    def of(self, exe: str) -> Bundle | None:
        """The bundle of a program; None outside of bundles.

        Raises:
            OSError: Info.plist cannot be read.
            ValueError: it cannot be understood, or is too large.
        """
        path = bundle_path(exe)
        return self._read(path) if path else None

    def _read(self, path: str) -> Bundle:
        name = f"{path}/Contents/Info.plist"
        found = os.stat(name)
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        bundle = parse_info(path, read_bounded(name), os.path.exists(f"{path}/Contents/embedded.provisionprofile"))
        self._known[path] = (stamp, bundle)
        return bundle


def read_bounded(path: str) -> bytes:
    """A small regular file.

    Raises:
        OSError
        ValueError: it is larger than `MOST_BYTES`, or no regular file.
    """
    fd = os.open(path, _FLAGS)
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{path} is no regular file")
        pieces, size = [], 0
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                raise ValueError(f"{path} is larger than {MOST_BYTES} bytes")
        return b"".join(pieces)
    finally:
        os.close(fd)
