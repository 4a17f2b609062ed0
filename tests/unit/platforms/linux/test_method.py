"""Which method is chosen, and that nothing stays behind when the better one fails."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Denied, HostError, Unavailable, Unsupported, UsageError
from hostscope.model.request import BASIC, FULL, ProcessRequest
from hostscope.platforms.linux import iterator, method
from hostscope.platforms.linux.privileges import Privileges


class Tasks:
    """Stands in for the kernel's iterator."""

    last: "Tasks"
    failure: Exception | None = None

    def __init__(self, want: object) -> None:
        type(self).last = self
        self.want = want
        self.closed = False

    def __enter__(self) -> "Tasks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def end_pass(self) -> None:
        assert not self.closed

    def chunks(self) -> Iterator[bytes]:
        if self.failure:
            raise self.failure
        return iter([b"chunk"])


@pytest.fixture
def privileges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Privileges:
    monkeypatch.setattr(iterator, "TaskIterator", Tasks)
    monkeypatch.setattr(method, "count_processes", lambda: 10_000)
    monkeypatch.setattr(Privileges, "available", lambda self, names: ())
    return Privileges(AuditTrail(tmp_path / "audit.jsonl"))


def test_the_iterator_where_it_can_be_had(privileges: Privileges) -> None:
    sweep, reason = method.open_iterator(ProcessRequest(), privileges, method.Programs())
    assert sweep and list(sweep.chunks) == [b"chunk"] and reason is None
    assert not Tasks.last.closed


FAILURES = [
    Unsupported("refused"), Denied("no capability"), Unavailable("no memory"),
    FileNotFoundError(errno.ENOENT, "no /sys"), OSError(errno.EIO, "broken"),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_any_failure_leaves_nothing_loaded_and_proc_to_fall_back_on(
    privileges: Privileges, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(Tasks, "failure", failure)
    sweep, reason = method.open_iterator(ProcessRequest(), privileges, method.Programs())
    assert sweep is None and reason and str(failure) in reason
    assert Tasks.last.closed


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_who_insists_is_told(privileges: Privileges, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr(Tasks, "failure", failure)
    with pytest.raises((HostError, Denied)):
        method.open_iterator(ProcessRequest(method="iterator"), privileges, method.Programs())
    assert Tasks.last.closed


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ProcessRequest(method="proc"), "asked for"),
        (ProcessRequest(fields=FULL | {"memory_detail"}), "memory_detail"),
    ],
)
def test_why_proc(privileges: Privileges, request_: ProcessRequest, reason: str) -> None:
    sweep, told = method.open_iterator(request_, privileges, method.Programs())
    assert sweep is None and told and reason in told


def test_few_processes_are_not_worth_it(privileges: Privileges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "count_processes", lambda: method.WORTHWHILE - 1)
    assert method.open_iterator(ProcessRequest(fields=BASIC), privileges, method.Programs())[0] is None
    assert (
        method.open_iterator(ProcessRequest(fields=BASIC, method="iterator"), privileges, method.Programs())[0]
        is not None
    )


def test_a_program_serves_the_next_sweep_that_wants_the_same(privileges: Privileges) -> None:
    programs = method.Programs()
    first, again, other = (_sweep(privileges, programs, fields) for fields in (BASIC, BASIC, FULL))
    assert again is first and other is not first
    assert first.closed and not other.closed
    programs.close()
    assert other.closed


def test_sweeps_at_once_have_their_own_programs(privileges: Privileges) -> None:
    programs = method.Programs()
    with programs.lend(_open(privileges, programs, BASIC)) as one:
        with programs.lend(_open(privileges, programs, BASIC)) as two:
            assert two.iterator is not one.iterator
        assert not _is_closed(two)
    assert _is_closed(two) and not _is_closed(one)


def test_a_sweep_that_failed_leaves_nothing_loaded(privileges: Privileges) -> None:
    programs = method.Programs()
    with pytest.raises(KeyError), programs.lend(_open(privileges, programs, BASIC)) as sweep:
        raise KeyError
    assert _is_closed(sweep)
    kept = _sweep(privileges, programs, BASIC)
    del programs
    assert kept.closed, "nor does a session that is no more"


def _open(privileges: Privileges, programs: method.Programs, fields: frozenset[str]) -> Any:
    return method.open_iterator(ProcessRequest(fields=fields, method="iterator"), privileges, programs)[0]


def _is_closed(sweep: Any) -> bool:
    return bool(sweep.iterator.closed)


def _sweep(privileges: Privileges, programs: method.Programs, fields: frozenset[str]) -> Any:
    """The program that one whole sweep used."""
    with programs.lend(_open(privileges, programs, fields)) as sweep:
        return sweep.iterator


def test_no_such_method() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        method.check("nonsense")
