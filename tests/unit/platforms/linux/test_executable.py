"""The executable of a process: deleted, replaced, or run from memory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.model.process import Executable
from hostscope.platforms.linux.executable import deleted_executable, read_executable
from hostscope.platforms.linux.read import PATH_ONLY

pytestmark = pytest.mark.system


class Directory:
    """Looks like /proc/PID: ``exe`` and ``root`` are links, but ``exe`` may point at what no name leads to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "root").symlink_to("/")
        self.fd = os.open(path, PATH_ONLY)

    def run(self, target: Path) -> None:
        (self.path / "exe").symlink_to(target)

    def change_root(self, target: Path) -> None:
        (self.path / "root").unlink()
        (self.path / "root").symlink_to(target)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Directory]:
    """A process directory."""
    (tmp_path / "42").mkdir()
    directory = Directory(tmp_path / "42")
    yield directory
    os.close(directory.fd)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file to run."""
    return Path(shutil.copy("/bin/sh", tmp_path / "program"))


def test_plain(process: Directory, program: Path) -> None:
    process.run(program)
    assert read_executable(process.fd, identify=False, known={}) == Executable(str(program))


def test_identified(process: Directory, program: Path) -> None:
    process.run(program)
    status = program.stat()
    assert read_executable(process.fd, identify=True, known={}) == Executable(
        str(program), status.st_dev, status.st_ino
    )


def test_a_file_that_is_called_deleted(process: Directory, program: Path) -> None:
    program = program.rename(program.with_name("program (deleted)"))
    process.run(program)
    assert read_executable(process.fd, identify=False, known={}) == Executable(str(program))
    identified = read_executable(process.fd, identify=True, known={})
    assert (identified.inode, identified.deleted) == (program.stat().st_ino, False)


def test_a_file_that_is_called_deleted_below_a_changed_root(process: Directory, program: Path) -> None:
    program = program.rename(program.with_name("program (deleted)"))
    process.change_root(program.parent)
    process.run(program)
    assert read_executable(process.fd, identify=False, known={}) == Executable(str(program))


def test_a_path_outside_of_a_changed_root_cannot_be_looked_at(
    process: Directory, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "cell").mkdir()
    process.change_root(tmp_path / "cell")
    process.run(program)
    found = deleted_executable(process.fd, os.fsencode(program), identify=False)
    assert (found.deleted, found.replaced) == (True, None)


def test_a_root_that_only_begins_alike_is_another(process: Directory, program: Path, tmp_path: Path) -> None:
    (tmp_path / "prog").mkdir()
    process.change_root(tmp_path / "prog")
    process.run(program)
    assert deleted_executable(process.fd, os.fsencode(program), identify=False).replaced is None


def test_deleted_says_whether_another_stands_there(process: Directory, program: Path) -> None:
    process.run(program)
    taken = deleted_executable(process.fd, os.fsencode(program), identify=False)
    assert taken == Executable(str(program), deleted=True, replaced=True)
    free = deleted_executable(process.fd, os.fsencode(program) + b"-gone", identify=True)
    assert free == Executable(
        f"{program}-gone", program.stat().st_dev, program.stat().st_ino, deleted=True, replaced=False
    )


def test_a_named_file_below_memfd_is_not_from_memory(process: Directory, program: Path) -> None:
    """Only an unlinked file on a file system of its own is a memfd, whatever it is called."""
    process.run(program)
    assert not deleted_executable(process.fd, b"/memfd:payload", identify=False).memfd


def test_no_executable(process: Directory) -> None:
    with pytest.raises(FileNotFoundError):
        read_executable(process.fd, identify=False, known={})
