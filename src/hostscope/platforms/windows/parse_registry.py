"""Values of the registry, parsed from the bytes of RegQueryValueExW. Pure."""

from hostscope.model.text import decode_utf16

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_MULTI_SZ, REG_QWORD = 1, 2, 3, 4, 7, 11
Value = str | int | bytes | tuple[str, ...]


def parse_value(kind: int, raw: bytes) -> Value:
    """The value: text without its NUL, a number, texts; whatever else as bytes.

    Raises:
        ValueError: a number is of the wrong size.
    """
    if kind in (REG_SZ, REG_EXPAND_SZ):
        return _text(raw)
    if kind == REG_MULTI_SZ:
        return tuple(text for text in _decoded(raw).split("\0") if text)
    if kind in (REG_DWORD, REG_QWORD):
        if len(raw) != (4 if kind == REG_DWORD else 8):
            raise ValueError(f"a registry number of {len(raw)} bytes")
        return int.from_bytes(raw, "little")
    return raw


def _text(raw: bytes) -> str:
    return _decoded(raw).partition("\0")[0]


def _decoded(raw: bytes) -> str:
    """Values need not be whole characters: an odd last byte is dropped."""
    return decode_utf16(raw[: len(raw) & ~1])
