"""Secrets among the strings of a dump."""

import pytest

from hostscope.dumps.indicators import indicators_of
from hostscope.dumps.masking import Masking
from hostscope.dumps.strings import find_strings

LINES = (b"MIIEvQIBADANBgkqhkiG9w0BAQEF", b"AASCBKcwggSjAgEAAoIBAQC7VJTU", b"q5yKZ0Rb")


def masked(raw: bytes) -> list[str]:
    masking = Masking()
    found = find_strings(lambda at, size: raw[at : at + size], 0, len(raw))
    return [masking.mask(string).text for string in found]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
@pytest.mark.parametrize("kind", [b"", b"RSA ", b"OPENSSH "])
def test_the_lines_of_a_private_key(kind: bytes, end: bytes) -> None:
    key = end.join(
        [b"-----BEGIN %sPRIVATE KEY-----" % kind, *LINES, b"-----END %sPRIVATE KEY-----" % kind, b"behind it"]
    )
    assert masked(key) == ["***"] * 5 + ["behind it"]
    wide = key.decode().encode("utf-16-le")
    assert masked(wide) == ["***"] * 5 + ["behind it"]


def test_a_key_ends_where_its_lines_do() -> None:
    torn = b"-----BEGIN PRIVATE KEY-----\n" + LINES[0] + bytes(8) + b"something else"
    assert masked(torn) == ["***", "***", "something else"]
    public = b"-----BEGIN PUBLIC KEY-----\n" + LINES[0]
    assert masked(public) == ["-----BEGIN PUBLIC KEY-----", LINES[0].decode()]
    whole = b"-----BEGIN PRIVATE KEY-----abc-----END PRIVATE KEY-----\nbehind it"
    assert masked(whole) == ["***", "behind it"]


def test_a_value_behind_its_flag() -> None:
    assert masked(b"program\0--password\0hunter2hunter2\0nothing\0") == ["program", "--password", "***", "nothing"]
    assert masked(b"--password\0\0\0\0hunter2hunter2") == ["--password", "hunter2hunter2"], "that is another string"
    assert masked(b"--password\0--username\0") == ["--password", "--username"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"mysql -u root --password hunter2hunter2 shop", "mysql -u root --password *** shop"),
        (b"ENCRYPT_KEY=abcdef0123456", "ENCRYPT_KEY=***"),
        (b"Authorization: Bearer abcdefgh12345678", "Authorization: ***"),
        (b"PATH=/usr/bin:/bin", "PATH=/usr/bin:/bin"),
        (b"nothing of a secret", "nothing of a secret"),
    ],
)
def test_strings_by_themselves(text: bytes, said: str) -> None:
    assert masked(text) == [said]


def test_no_password_is_a_mailbox() -> None:
    found = dict(indicators_of("https://bob:hunter2hunter2@example.com/x and alice@example.org"))
    assert found["email"] == "alice@example.org"
    assert found["url"] == "https://bob:***@example.com/x"
