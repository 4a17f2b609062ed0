"""Which sweeps of /proc take privileges, and which do without."""

import pytest

from hostscope.model.request import FIELDS
from hostscope.platforms.linux import processes
from hostscope.platforms.linux.processes import OPEN_TO_ALL, needs_privilege

MOUNT = "22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw{}\n"


def mounted(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    monkeypatch.setattr(processes, "read_file", lambda path: MOUNT.format(options).encode())


def test_what_anybody_may_read_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, "")
    assert not needs_privilege(frozenset())
    assert not needs_privilege(OPEN_TO_ALL)


@pytest.mark.parametrize("field", sorted(FIELDS.keys() - OPEN_TO_ALL))
def test_any_other_field_takes_them(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    mounted(monkeypatch, "")
    assert needs_privilege(OPEN_TO_ALL | {field})


@pytest.mark.parametrize("mode", ["1", "2", "invisible", "ptraceable"])
def test_a_proc_that_hides_processes_takes_them(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    mounted(monkeypatch, f",hidepid={mode}")
    assert needs_privilege(frozenset())


def test_a_proc_that_cannot_be_told_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "read_file", lambda path: b"nonsense")
    assert needs_privilege(frozenset())
