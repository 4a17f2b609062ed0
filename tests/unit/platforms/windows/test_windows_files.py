"""Digests of the files that Windows processes run."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from hostscope.errors import Denied, Unavailable, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.model.package import FileOwner
from hostscope.model.process import Digest, Executable
from hostscope.platforms.windows.files import Files
from hostscope.platforms.windows.packages import Packages

KEY = ProcessKey("boot", 0, 8, 1)
EXE = Executable("C:\\x.exe")


class Memory:
    """Opens one file for every key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = 0

    @contextmanager
    def executable(self, key: ProcessKey) -> Iterator[BinaryIO]:
        with self.path.open("rb") as file:
            self.reads += 1
            yield file


def files(memory: Any) -> Files:
    return Files(memory)


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.exe"
    path.write_bytes(b"MZ" + bytes(3 << 20))
    assert files(Memory(path)).digest(KEY, EXE) == Digest(hashlib.sha256(path.read_bytes()).hexdigest(), (3 << 20) + 2)


def test_a_file_in_a_known_state_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.exe"
    path.write_bytes(b"one")
    found = files(Memory(path))
    first = found.digest(KEY, EXE)
    monkeypatch.setattr("hostscope.platforms.windows.files._hash_file", lambda *_: "read again")
    assert found.digest(KEY, EXE) == first
    path.write_bytes(b"three")
    assert found.digest(KEY, EXE).sha256 == "read again"


def test_a_file_that_is_written_to_meanwhile_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.exe"
    path.write_bytes(b"one")

    def slow(*_: Any) -> str:
        path.write_bytes(b"more than one")
        return "torn"

    monkeypatch.setattr("hostscope.platforms.windows.files._hash_file", slow)
    with pytest.raises(Unavailable, match="written to"):
        files(Memory(path)).digest(KEY, EXE)


def test_refusals_go_through() -> None:
    class Refusing:
        def executable(self, key: ProcessKey) -> Any:
            raise Denied("no")

    with pytest.raises(Denied):
        files(Refusing()).digest(KEY, EXE)


def test_windows_has_no_database_of_files() -> None:
    with pytest.raises(Unsupported, match="no database"):
        Packages().owner("C:\\x.exe")
    owner = FileOwner("p", "1", "m", "sha256", "00")
    assert files(None).matches(KEY, EXE, owner) is None
