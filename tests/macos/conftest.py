"""macOS' code runs here against the scripted libSystem, on Linux."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.macos.scripted import Darwin, install


@pytest.fixture(scope="session")
def scripted_path() -> Path:
    """The scripted library, built once for each content."""
    pytest.importorskip("ziglang", reason="needs the compiler with Apple's headers (pip install ziglang)")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip(f"the scripted libSystem is built for x86-64 Linux; this is {sys.platform} {platform.machine()}")
    from tests.macos.fake.build import library

    return library()


@pytest.fixture
def darwin(scripted_path: Path) -> Iterator[Darwin]:
    """A scripted macOS with nothing in it, asked by root."""
    system = Darwin(scripted_path)
    system.reset()
    install(scripted_path)
    try:
        yield system
    finally:
        system.reset()
        install(None)
