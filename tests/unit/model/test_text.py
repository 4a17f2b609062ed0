"""Text for any bytes, and the bytes back."""

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostscope.model.text import ESCAPE_BASE, ESCAPED, decode, decode_utf16, encode

GENUINE = "".join(chr(ESCAPE_BASE + byte) for byte in range(0x78, 0x102)).encode()


@given(st.binary())
@example(bytes(range(256)))
@example(GENUINE)
@example(b"\xf4\x8e\xba")
@example(b"\xf4\x8e\xba\xf4\x8e\xba\x80")
@example(b"\xed\xa0\x80")
@example(b"\xc0\x80\xf8\x88\x80\x80\x80")
def test_any_bytes_come_back(raw: bytes) -> None:
    assert encode(decode(raw)) == raw


@given(st.binary())
@example(GENUINE)
def test_text_is_always_valid_unicode(raw: bytes) -> None:
    text = decode(raw)
    assert text.encode("utf-8").decode("utf-8") == text
    assert json.loads(json.dumps(text)) == text
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


@given(st.binary(), st.binary())
def test_different_bytes_are_different_text(one: bytes, other: bytes) -> None:
    assert (decode(one) == decode(other)) == (one == other)


@given(st.text())
def test_valid_text_is_kept(text: str) -> None:
    if not ESCAPED.search(text):
        assert decode(text.encode()) == text


@pytest.mark.parametrize("byte", range(256))
def test_each_byte(byte: int) -> None:
    text = decode(bytes([byte]))
    assert text == (chr(byte) if byte < 0x80 else chr(ESCAPE_BASE + byte))
    assert encode(text) == bytes([byte])


def test_the_escape_is_in_the_private_use_area() -> None:
    escaped = [decode(bytes([byte])) for byte in range(0x80, 0x100)]
    assert (escaped[0], escaped[-1]) == ("\U0010ee80", "\U0010eeff")
    assert all(ESCAPED.fullmatch(character) for character in escaped)


def test_a_genuine_character_of_the_range_is_escaped_byte_by_byte() -> None:
    assert decode("\U0010ee80".encode()) == "\U0010eef4\U0010ee8e\U0010eeba\U0010ee80"
    assert decode("\U0010ee7f".encode()) == "\U0010ee7f"
    assert decode("\U0010ef00".encode()) == "\U0010ef00"


def test_a_lone_surrogate_never_came_from_decode() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("a\udcff")


@given(st.lists(st.integers(0, 0xFFFF)))
def test_any_utf16_is_valid_text(units: list[int]) -> None:
    raw = b"".join(unit.to_bytes(2, "little") for unit in units)
    decode_utf16(raw).encode("utf-8")


def test_utf16() -> None:
    assert decode_utf16("späß 🎈".encode("utf-16-le")) == "späß 🎈"
    assert encode(decode_utf16(b"\x00\xd8")) == b"\xed\xa0\x80"
