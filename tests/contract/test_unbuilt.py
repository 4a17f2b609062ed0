"""What is not built yet says so, at the call and not at the first row; and native errors are told apart."""

import errno
import importlib
import inspect
from typing import Any

import pytest

from hostscope.errors import Denied, Gone, NativeError, Unsupported
from hostscope.model.gap import Reason
from hostscope.platforms.base import Host
from hostscope.platforms.macos import translate as macos
from hostscope.platforms.windows import translate as windows
from tests.contract.test_parity import FILES

SYSTEMS = {"windows": "Windows", "macos": "macOS"}
HARMLESS = {"lower_all", "limit_to", "settle"}
"""What is done by doing nothing while nothing is built: no privilege was raised, so none is lowered or given up."""


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("protocol", FILES)
def test_every_method_raises_unsupported_when_it_is_called(system: str, protocol: str) -> None:
    answers: Any = getattr(importlib.import_module(f"hostscope.platforms.{system}.{FILES[protocol]}"), protocol)()
    methods = [(name, method) for name, method in inspect.getmembers(answers, callable) if not name.startswith("_")]
    assert methods
    for name, method in methods:
        arguments = [None for _ in inspect.signature(method).parameters]
        if name in HARMLESS:
            assert method(*arguments) is None
            continue
        with pytest.raises(Unsupported, match=f"on {SYSTEMS[system]} is not built yet") as raised:
            method(*arguments)
        assert raised.value.hint, name


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_host_says_what_it_lacks(system: str) -> None:
    host: Host = importlib.import_module(f"hostscope.platforms.{system}.host").open_host()
    assert host.name == system
    assert [gap.reason for gap in host.gaps] == [Reason.UNSUPPORTED]


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
