"""Reading small files whole, with few system calls."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.platforms.linux.read import PATH_ONLY, read_at, read_file, read_text
from tests.descriptors import descriptors

pytestmark = pytest.mark.system


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor of the test's own directory."""
    fd = os.open(tmp_path, PATH_ONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 100_000])
def test_whole_files(directory: int, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert read_at(directory, "file") == content
    assert read_file(str(tmp_path / "file")) == content


@pytest.mark.parametrize("limit", [4096, 5000, 70_000])
def test_up_to_a_limit(directory: int, tmp_path: Path, limit: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert read_at(directory, "file", limit) == b"x" * limit
    assert read_file(str(tmp_path / "file"), limit) == b"x" * limit


def test_descriptors_are_closed(directory: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = descriptors()
    read_at(directory, "file")
    with pytest.raises(FileNotFoundError):
        read_at(directory, "none")
    with pytest.raises(IsADirectoryError):
        read_at(directory, ".")
    assert descriptors() <= before


def test_text_is_one_line_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"value\xff\n")
    assert read_text(str(tmp_path / "file")) == "value\ufffd"
    assert read_text(str(tmp_path / "none")) is None


def test_a_directory_stays_with_its_process() -> None:
    """Also when the pid is given to another: the descriptor is the process's, not the number's."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    directory = os.open(f"/proc/{child}", PATH_ONLY)
    try:
        os.waitpid(child, 0)
        with pytest.raises(ProcessLookupError):
            read_at(directory, "stat")
    finally:
        os.close(directory)
