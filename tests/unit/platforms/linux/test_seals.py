"""IMA's and EVM's attributes and fs-verity's digest: as the kernel gives them, or scripted where it has none."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hostscope.errors import Denied, NativeError, Unavailable
from hostscope.model.signature import Seal
from hostscope.platforms.linux.seals import FS_IOC_MEASURE_VERITY, read_seals

FSVERITY_DIGEST = b"\xab" * 32


@pytest.fixture
def file(tmp_path: Path) -> int:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    return os.open(path, os.O_RDONLY)


def failing(code: int) -> Callable[..., bytes]:
    def fail(*_: object) -> bytes:
        raise OSError(code, os.strerror(code))

    return fail


def measured(number: int, size: int) -> Callable[..., int]:
    """What FS_IOC_MEASURE_VERITY writes."""

    def ioctl(fd: int, request: int, room: bytearray) -> int:
        assert (request, room[2:4]) == (FS_IOC_MEASURE_VERITY, (64).to_bytes(2, "little"))
        room[:4] = number.to_bytes(2, "little") + size.to_bytes(2, "little")
        room[4 : 4 + len(FSVERITY_DIGEST)] = FSVERITY_DIGEST
        return 0

    return ioctl


def test_an_ordinary_file_has_none(file: int) -> None:
    assert read_seals(file) == ()


def test_the_request_is_the_kernels() -> None:
    """_IOWR('f', 134, struct fsverity_digest), whose fixed part has 4 bytes."""
    assert 3 << 30 | 4 << 16 | ord("f") << 8 | 134 == FS_IOC_MEASURE_VERITY


def test_attributes_and_a_measured_digest(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"security.ima": b"\x04\x04digest", "security.evm": b"\x02hmac"}
    monkeypatch.setattr(os, "getxattr", lambda fd, name: given[name])
    monkeypatch.setattr(fcntl, "ioctl", measured(1, 32))
    assert read_seals(file) == (
        Seal("ima", b"\x04\x04digest"),
        Seal("evm", b"\x02hmac"),
        Seal("fs-verity", FSVERITY_DIGEST, "sha256"),
    )


@pytest.mark.parametrize("code", [errno.ENODATA, errno.ENOTSUP])
def test_file_systems_without_attributes_have_none(file: int, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "getxattr", failing(code))
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.ENOTTY))
    assert read_seals(file) == ()


def test_what_was_refused_is_denied_and_not_nothing(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getxattr", failing(errno.EACCES))
    with pytest.raises(Denied):
        read_seals(file)
    monkeypatch.setattr(os, "getxattr", failing(errno.ENODATA))
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EIO))
    with pytest.raises(NativeError):
        read_seals(file)


def test_a_digest_longer_than_its_room_is_not_believed(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", measured(1, 65))
    with pytest.raises(Unavailable, match="65 bytes"):
        read_seals(file)


@pytest.mark.root
def test_a_real_attribute_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    try:
        os.setxattr(path, "security.ima", b"\x04\x04" + bytes(32))
    except OSError as failed:
        pytest.skip(f"this file system takes no security.ima: {failed.strerror}")
    with open(path, "rb") as opened:
        assert read_seals(opened.fileno()) == (Seal("ima", b"\x04\x04" + bytes(32)),)
