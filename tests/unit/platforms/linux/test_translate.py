"""Linux' error numbers, told apart."""

import errno
import os

import pytest

from hostscope.errors import Denied, Error, Gone, NativeError
from hostscope.model.gap import Reason
from hostscope.platforms.linux import translate


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, Denied), (errno.EPERM, Denied), (errno.ESRCH, Gone), (errno.ENOENT, Gone),
        (errno.EIO, NativeError), (errno.EINVAL, NativeError), (errno.EMFILE, NativeError),
    ],
)  # fmt: skip
def test_errors_about_a_process(code: int, kind: type[Error]) -> None:
    found = translate.error("open", failure(code), 42)
    assert type(found) is kind
    assert "42" in str(found) or kind is NativeError


def test_errors_about_no_process() -> None:
    """Without a process a missing file is no missing process."""
    found = translate.error("open", failure(errno.ENOENT))
    assert isinstance(found, NativeError)
    assert (found.call, found.code) == ("open", errno.ENOENT)


def test_a_refusal_hints_at_the_privilege() -> None:
    assert translate.error("open", failure(errno.EPERM), 1).hint == translate.PTRACE_HINT
    assert "CAP_SYS_PTRACE" in translate.PTRACE_HINT


def test_an_error_without_a_number() -> None:
    found = translate.error("open", OSError("strange"))
    assert isinstance(found, NativeError)
    assert (found.code, "strange" in str(found)) == (0, True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EACCES, Reason.DENIED), (errno.EPERM, Reason.DENIED), (errno.ESRCH, Reason.GONE),
        (errno.ENOENT, Reason.GONE), (errno.EIO, Reason.UNAVAILABLE), (errno.EINVAL, Reason.UNAVAILABLE),
    ],
)  # fmt: skip
def test_gaps(code: int, reason: Reason) -> None:
    found = translate.gap("exe", failure(code))
    assert (found.field, found.reason) == ("exe", reason)
    assert found.detail == {Reason.DENIED: translate.PTRACE_HINT, Reason.GONE: None}.get(reason, os.strerror(code))
