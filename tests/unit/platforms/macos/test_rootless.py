"""The list of what System Integrity Protection guards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.macos.parse_rootless import MOST_BYTES, parse_rootless


def test_paths_and_what_is_left_open() -> None:
    found = parse_rootless(
        b"\t\t\t\t/usr\n*\t\t\t\t/usr/local\nbooter\t\t\t\t/System/Library/CoreServices \n# /no\n/no\n"
    )
    assert found == (("/usr", "/System/Library/CoreServices"), ("/usr/local",))


@given(st.binary(max_size=400) | st.text("\t\n */#ab", max_size=80).map(str.encode))
def test_any_text_is_read(raw: bytes) -> None:
    found = parse_rootless(raw)
    assert all(path.startswith("/") for path in (*found.protected, *found.left_open))


def test_a_list_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_rootless(b"x" * (MOST_BYTES + 1))
