"""Text from the system must not command a terminal, hide, or reorder itself."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.text import decode
from hostscope.render.documents import encode_json
from hostscope.render.sanitise import sanitise, sanitise_json

HOSTILE = (
    "\x00\x07\x1b\n\r\t\x7f\x85\x9b\u061c\u200b\u200e\u200f\u2028\u202a\u202e\u2066\u2069\ufeff\U000e0041\U0010ee80"
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("tab\there", "tab\\x09here"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("line\nbreak", "line\\x0abreak"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("日本 é", "日本 é"),
    ],
)
def test_makes_visible(raw: str, shown: str) -> None:
    assert sanitise(raw) == shown


def test_invalid_utf8_shows_as_the_bytes_it_was() -> None:
    assert sanitise(decode(b"caf\xe9 \xff")) == "caf\\xe9 \\xff"


@given(st.text())
def test_nothing_harmful_is_left(text: str) -> None:
    shown = sanitise(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp") for character in shown)
    assert not set(shown) & set(HOSTILE)
    assert sanitise(shown) == shown


def test_no_character_that_only_formats_others_is_left() -> None:
    """Every one that this Python knows."""
    known = [chr(code) for code in range(0x110000)]
    formats = [one for one in known if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
    assert [hex(ord(one)) for one in formats if sanitise(one) == one] == []
    left = [one for one in formats if unicodedata.category(one) != "Cs" and one in encode_json(one).decode()]
    assert [hex(ord(one)) for one in left] == []


@given(st.binary())
def test_any_bytes_become_one_line(raw: bytes) -> None:
    assert len(sanitise(decode(raw)).splitlines()) <= 1


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_json_keeps_the_value(text: str) -> None:
    encoded = encode_json({"name": text})
    assert json.loads(encoded) == {"name": text}
    assert not set(encoded.decode()) & set(HOSTILE)


def test_json_leaves_harmless_documents_alone() -> None:
    document = '{"name":"日本"}'.encode()
    assert sanitise_json(document) == document
    assert sanitise_json(b'{"a":"\x7f"}') == b'{"a":"\\u007f"}'
