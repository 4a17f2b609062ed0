"""Interfaces that were recorded come back as they were."""

from pathlib import Path

import pytest

from hostscope.collectors import interfaces
from hostscope.errors import Unsupported
from hostscope.model.request import ProcessRequest
from hostscope.platforms.replay.host import open_host
from hostscope.platforms.replay.writer import record
from tests.unit.platforms.replay.hosts import LOOPBACK, known_host, unable_host


def test_interfaces_come_back_equal_with_what_was_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "box.hscope")
    record(known_host(), path, ProcessRequest())
    answer = interfaces.collect(open_host(path))
    assert answer.rows() == [LOOPBACK]
    assert (answer.coverage.method, answer.coverage.denied, answer.coverage.rows) == ("rtnetlink", 1, 1)
    assert any(note.startswith("recorded at") for note in answer.coverage.notes)


def test_a_host_that_lists_none_says_so_again(tmp_path: Path) -> None:
    path = str(tmp_path / "box.hscope")
    record(unable_host(), path, ProcessRequest())
    with pytest.raises(Unsupported, match="not here"):
        interfaces.collect(open_host(path)).rows()
