"""Compiling the C programs of the zoo."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent


@cache
def directory() -> Path:
    """Readable by every user, as the programs run under many; removed by `clear`."""
    path = Path(tempfile.mkdtemp(prefix="hostscope-zoo-"))
    path.chmod(0o755)
    return path


@cache
def program(name: str) -> Path:
    """The program built from ``NAME.c``; the test that asks is skipped where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (gcc)")
    target = directory() / name
    command = [compiler, "-O1", "-Wall", "-Wextra", "-pthread", "-o", str(target), str(SOURCES / f"{name}.c")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def clear() -> None:
    """Removes what was built."""
    if directory.cache_info().currsize:
        shutil.rmtree(directory())
        directory.cache_clear()
        program.cache_clear()
