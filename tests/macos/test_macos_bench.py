"""What measures the budgets of macOS' collector can be run, and is run by ``make bench``."""

from pathlib import Path

import pytest

from tests.bench.__main__ import AREAS
from tests.bench.macos import KINDS, contest


def test_it_is_an_area() -> None:
    assert "macos" in AREAS


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_through_the_collector_is_measured(scripted_path: Path, kind: str) -> None:
    found = contest(kind, 60, 1)
    assert found["rows"] == 60
    assert 0 < found["seconds"] < 30 and 0 < found["peak_mib"] < 500
