"""Signals that end live commands."""

import signal
from collections.abc import Iterator

import pytest

from hostscope.cli.refresh import stopping


class Asked(Exception):
    """What a handler raises."""


class Finalised:
    """Raises a signal while Python runs its finaliser, where nothing that is raised gets out."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def ask(number: int, frame: object) -> None:
    raise Asked


@pytest.fixture
def asking() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, ask)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("asking")
def test_a_signal_that_is_lost_in_a_finaliser_ends_a_watch() -> None:
    with stopping(None) as stop:
        thing = Finalised()
        del thing
        assert stop.is_set()


@pytest.mark.usefixtures("asking")
def test_handlers_still_raise_and_come_back() -> None:
    with pytest.raises(Asked), stopping(None):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is ask
