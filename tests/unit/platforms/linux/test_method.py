"""Which method is chosen, and that nothing stays behind when the better one fails."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Denied, HostError, Unavailable, Unsupported, UsageError
from hostscope.model.request import BASIC, FULL, ProcessRequest
from hostscope.platforms.linux import method
from hostscope.platforms.linux.privileges import Privileges


class Tasks:
    """Stands in for the kernel's iterator."""

    closed = False
    failure: Exception | None = None

    def __init__(self, want: object) -> None:
        type(self).closed = False

    def __enter__(self) -> "Tasks":
        return self

    def __exit__(self, *_: object) -> None:
        type(self).closed = True

    def chunks(self) -> Iterator[bytes]:
        if self.failure:
            raise self.failure
        return iter([b"chunk"])


@pytest.fixture
def privileges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Privileges:
    monkeypatch.setattr(method, "TaskIterator", Tasks)
    monkeypatch.setattr(method, "count_processes", lambda: 10_000)
    monkeypatch.setattr(Privileges, "available", lambda self, names: ())
    return Privileges(AuditTrail(tmp_path / "audit.jsonl"))


def test_the_iterator_where_it_can_be_had(privileges: Privileges) -> None:
    sweep, reason = method.open_iterator(ProcessRequest(), privileges)
    assert sweep and list(sweep.chunks) == [b"chunk"] and reason is None
    assert not Tasks.closed


FAILURES = [
    Unsupported("refused"), Denied("no capability"), Unavailable("no memory"),
    FileNotFoundError(errno.ENOENT, "no /sys"), OSError(errno.EIO, "broken"),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_any_failure_leaves_nothing_loaded_and_proc_to_fall_back_on(
    privileges: Privileges, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(Tasks, "failure", failure)
    sweep, reason = method.open_iterator(ProcessRequest(), privileges)
    assert sweep is None and reason and str(failure) in reason
    assert Tasks.closed


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_who_insists_is_told(privileges: Privileges, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr(Tasks, "failure", failure)
    with pytest.raises((HostError, Denied)):
        method.open_iterator(ProcessRequest(method="iterator"), privileges)
    assert Tasks.closed


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ProcessRequest(method="proc"), "asked for"),
        (ProcessRequest(fields=FULL | {"memory_detail"}), "memory_detail"),
    ],
)
def test_why_proc(privileges: Privileges, request_: ProcessRequest, reason: str) -> None:
    sweep, told = method.open_iterator(request_, privileges)
    assert sweep is None and told and reason in told


def test_few_processes_are_not_worth_it(privileges: Privileges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "count_processes", lambda: method.WORTHWHILE - 1)
    assert method.open_iterator(ProcessRequest(fields=BASIC), privileges)[0] is None
    assert method.open_iterator(ProcessRequest(fields=BASIC, method="iterator"), privileges)[0] is not None


def test_no_such_method() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        method.check("nonsense")
