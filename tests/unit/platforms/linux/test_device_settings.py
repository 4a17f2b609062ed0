"""What drivers say, with the system call replaced."""

import ctypes
import errno
import struct
from typing import NoReturn

import pytest

from hostscope.platforms.linux import device_settings as settings


def failing(code: int) -> NoReturn:
    raise OSError(code, "no")


def test_the_wireless_network_is_read_through_the_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(descriptor: int, request: int, argument: bytes) -> bytes:
        assert (descriptor, request) == (7, settings.SIOCGIWESSID)
        assert argument[:16] == b"wlan0".ljust(16, b"\0")
        pointer, room, _ = struct.unpack_from("=QHH", argument, 16)
        assert room == 32
        ctypes.memmove(pointer, "café".encode(), 5)
        return argument[:24] + struct.pack("=HH", 5, 1) + argument[28:]

    monkeypatch.setattr(settings, "ioctl", answer)
    assert settings.wireless_network(7, "wlan0") == "café"


def test_a_device_that_is_not_associated_has_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ioctl", lambda descriptor, request, argument: argument[:24] + bytes(8))
    assert settings.wireless_network(7, "wlan0") is None


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENODEV])
def test_a_device_without_settings_has_no_gap(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(settings, "ioctl", lambda *_: failing(code))
    assert settings.read_settings(7, "br0") == settings.Settings()
    assert not settings.is_wireless(7, "br0")


def test_a_refusal_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ioctl", lambda *_: failing(errno.EPERM))
    (gap,) = settings.read_settings(7, "eth0").gaps
    assert (gap.field, gap.reason) == ("speed_bits_s", "denied")
