"""Bytes of a file, wherever they are: bounded reads, and nonsense as `ValueError`. Pure."""

from struct import Struct
from typing import Any, Protocol

MOST_AT_ONCE = 64 << 20
"""More than any table or signature in an executable needs; a longer one is nonsense."""


class Content(Protocol):
    """A file's bytes, or a part of them."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes from there; fewer at the end."""


class Held:
    """Bytes in memory."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size = len(raw)

    def read(self, offset: int, size: int) -> bytes:
        """See `Content.read`."""
        return self._raw[offset : offset + size]


class Part:
    """A stretch of another content."""

    def __init__(self, whole: Content, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > whole.size:
            raise ValueError(f"{size} bytes at {offset} are not in the file's {whole.size}")
        self._whole = whole
        self._offset = offset
        self.size = size

    def read(self, offset: int, size: int) -> bytes:
        """See `Content.read`."""
        return self._whole.read(self._offset + offset, max(0, min(size, self.size - offset)))


def take(content: Content, offset: int, size: int) -> bytes:
    """Exactly so many bytes. Raises `ValueError` when they are not all there."""
    if offset < 0 or size < 0 or size > MOST_AT_ONCE or offset + size > content.size:
        raise ValueError(f"cut short: {size} bytes at {offset} of {content.size}")
    raw = content.read(offset, size)
    if len(raw) != size:
        raise ValueError(f"cut short: {len(raw)} of {size} bytes at {offset}")
    return raw


def unpack(layout: Struct, content: Content, offset: int) -> tuple[Any, ...]:
    """A structure's fields. Raises `ValueError` when it is not all there."""
    return layout.unpack(take(content, offset, layout.size))


def unpack_from(layout: Struct, raw: bytes, offset: int) -> tuple[Any, ...]:
    """The same of bytes in memory."""
    if offset < 0 or offset + layout.size > len(raw):
        raise ValueError(f"cut short: {layout.size} bytes at {offset} of {len(raw)}")
    return layout.unpack_from(raw, offset)


def c_string(raw: bytes, offset: int, most: int = 4096) -> str:
    """UTF-8 up to a NUL. Raises `ValueError` when it does not end, or is not UTF-8."""
    end = raw.find(b"\0", offset, offset + most) if 0 <= offset < len(raw) else -1
    if end < 0:
        raise ValueError(f"the string at {offset} does not end")
    return raw[offset:end].decode("utf-8")
