"""Tests of the code that calls Windows, on Windows: a real CPython on Wine (`make test`), or a real Windows."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.windows.children import Child
from tests.windows.missing import wine_version as version_of_wine

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    elsewhere = pytest.mark.skip(reason=f"calls Windows; this is {sys.platform} (make test runs it on Wine)")
    for item in items:
        if sys.platform != "win32" and HERE in item.path.parents:
            item.add_marker(elsewhere)


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts children that tell what they are (`children.Child`), and ends them with the test."""
    started: list[Child] = []

    def start(code: str, *arguments: str, **options: Any) -> Child:
        started.append(Child(code, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="session")
def wine_version() -> str | None:
    """As ``8.0``; None on a real Windows."""
    return version_of_wine()
