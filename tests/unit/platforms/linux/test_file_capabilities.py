"""The extended attribute of file capabilities."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.linux.file_capabilities import FileCapabilities, parse_file_capabilities

NET_RAW, NET_ADMIN, BPF = 1 << 13, 1 << 12, 1 << 39


def test_revision_1() -> None:
    raw = struct.pack("<III", 0x01000000, NET_RAW, 0)
    assert parse_file_capabilities(raw) == FileCapabilities(1, ("net_raw",), (), False, None)


def test_revision_2_with_high_bits() -> None:
    raw = struct.pack("<IIIII", 0x02000001, NET_RAW, NET_ADMIN, BPF >> 32, 0)
    parsed = parse_file_capabilities(raw)
    assert parsed == FileCapabilities(2, ("net_raw", "bpf"), ("net_admin",), True, None)
    assert parsed.names == ("net_raw", "bpf", "net_admin")


def test_revision_3_with_its_user() -> None:
    raw = struct.pack("<IIIIII", 0x03000001, NET_RAW, NET_RAW, 0, 1 << 31, 100_000)
    parsed = parse_file_capabilities(raw)
    assert (parsed.revision, parsed.root_uid, parsed.names) == (3, 100_000, ("net_raw", "cap_63"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 20,
        struct.pack("<II", 0x02000000, 0),
        struct.pack("<IIIIII", 0x02000000, 0, 0, 0, 0, 0),
        struct.pack("<IIIII", 0x03000000, 0, 0, 0, 0),
        struct.pack("<IIIII", 0x04000000, 0, 0, 0, 0),
    ],
)
def test_what_the_kernel_would_not_take(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no file capabilities"):
        parse_file_capabilities(raw)


@given(st.binary(max_size=40) | st.binary(min_size=16, max_size=20).map(lambda tail: b"\x01\0\0\x02" + tail))
def test_any_bytes(raw: bytes) -> None:
    try:
        parsed = parse_file_capabilities(raw)
    except ValueError:
        return
    assert len(set(parsed.names)) == len(parsed.names) <= 64
