"""A recording goes where only privileges may write, and says it in one line where nothing may."""

import errno
from pathlib import Path

import pytest

from hostscope.errors import Denied, UsageError
from hostscope.model.coverage import Coverage
from hostscope.platforms.replay import writer
from hostscope.session import LocalSession
from tests.fake import host, process


class Writer:
    """In place of the real one: fails as told, the given number of times."""

    def __init__(self, failure: Exception, times: int) -> None:
        self.failure, self.left, self.calls = failure, times, 0

    def __call__(self, *arguments: object) -> Coverage:
        self.calls += 1
        if self.calls <= self.left:
            raise self.failure
        return Coverage("fake")


def forbidden() -> UsageError:
    failure = UsageError("cannot be written")
    failure.__cause__ = PermissionError(errno.EACCES, "Permission denied")
    return failure


@pytest.mark.parametrize("failure", [forbidden(), PermissionError(errno.EACCES, "Permission denied")])
def test_is_tried_again_with_privileges(failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried = Writer(failure, 1)
    monkeypatch.setattr(writer, "record", tried)
    assert LocalSession(host(process(1))).record(str(tmp_path / "x")).method == "fake"
    assert tried.calls == 2
    monkeypatch.setattr(writer, "record", Writer(failure, 2))
    with pytest.raises(UsageError):
        LocalSession(host(process(1))).record(str(tmp_path / "x"))


@pytest.mark.parametrize("failure", [UsageError("no"), Denied("the host said no")])
def test_other_failures_stay(failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried = Writer(failure, 9)
    monkeypatch.setattr(writer, "record", tried)
    with pytest.raises(type(failure)):
        LocalSession(host(process(1))).record(str(tmp_path / "x"))
    assert tried.calls == 1
