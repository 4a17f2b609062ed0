"""Every system's host opens on every system, and its native errors are told apart."""

import errno
import importlib

import pytest

from hostscope.errors import Denied, Gone, NativeError
from hostscope.model.gap import Reason
from hostscope.platforms.base import Host
from hostscope.platforms.macos import translate as macos
from hostscope.platforms.windows import translate as windows

SYSTEMS = ("windows", "macos")


@pytest.mark.parametrize("system", SYSTEMS)
def test_hosts_open_on_every_system(system: str) -> None:
    """Nothing is asked of the system before a question is."""
    host: Host = importlib.import_module(f"hostscope.platforms.{system}.host").open_host()
    assert host.name == system


def windows_error(code: int) -> OSError:
    failed = OSError(errno.EINVAL, "as Windows says it")
    # The attribute exists on Windows only.
    failed.winerror = code  # type: ignore[attr-defined, unused-ignore]
    return failed


def test_windows_errors() -> None:
    assert isinstance(windows.error("OpenProcess", windows_error(5), 7), Denied)
    assert isinstance(windows.error("OpenProcess", windows_error(1314)), Denied)
    assert isinstance(windows.error("OpenProcess", windows_error(87), 7), Gone)
    other = windows.error("NtQuery", windows_error(87))
    assert isinstance(other, NativeError) and other.code == 87
    assert windows.gap("argv", windows_error(5)).reason is Reason.DENIED
    assert windows.gap("argv", windows_error(87)).reason is Reason.GONE
    assert windows.gap("argv", windows_error(299)).reason is Reason.TRUNCATED
    assert windows.gap("argv", windows_error(31)).reason is Reason.UNAVAILABLE


def test_macos_errors() -> None:
    assert isinstance(macos.error("proc_pidinfo", OSError(errno.EPERM, "no"), 7), Denied)
    assert isinstance(macos.error("proc_pidinfo", OSError(errno.ESRCH, "no"), 7), Gone)
    other = macos.error("sysctl", OSError(errno.ENOMEM, "too big"))
    assert isinstance(other, NativeError) and other.code == errno.ENOMEM
    assert macos.gap("argv", OSError(errno.EACCES, "no")).reason is Reason.DENIED
    assert macos.gap("argv", OSError(errno.ESRCH, "no")).reason is Reason.GONE
    assert macos.gap("argv", OSError(errno.EINVAL, "no")).reason is Reason.UNAVAILABLE
