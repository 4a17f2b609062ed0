"""Digests of the files that Windows processes run."""

import ctypes
import hashlib
import os
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
from hostscope.platforms.windows.native import file_times, wintrust
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.packages import Packages
from tests.unit.platforms.windows.scripted import script

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


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostscope.platforms.hashable.MOST_BYTES", 2)
    path = tmp_path / "x.exe"
    path.write_bytes(b"MZ")
    assert files(Memory(path)).digest(KEY, EXE).size_bytes == 2
    path.write_bytes(b"MZ-")
    with pytest.raises(Unavailable, match="3 bytes"):
        files(Memory(path)).digest(KEY, EXE)


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


class Catalogues:
    """Installed catalogues by the digest that they list, and what is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed: dict[bytes, list[str]] = {}
        self.refused: dict[str, int] = {}
        self.open: list[str] = []
        self._answers: list[str] = []
        script(monkeypatch, wintrust.wintrust, **{name: getattr(self, name) for name in wintrust.SIGNATURES})
        monkeypatch.setattr(wintrust, "handle_of", lambda fd: fd)

    def _acquire(self, name: str, into: Any) -> int:
        if name in self.refused:
            set_last_error(self.refused[name])
            return 0
        into._obj.value = 1
        self.open.append("context")
        return 1

    def CryptCATAdminAcquireContext(self, into: Any, subsystem: None, flags: int) -> int:
        return self._acquire("sha1", into)

    def CryptCATAdminAcquireContext2(self, into: Any, subsystem: None, algorithm: str, policy: None, flags: int) -> int:
        assert algorithm == "SHA256"
        return self._acquire("sha256", into)

    def _hash(self, algorithm: str, fd: int, size: Any, into: Any) -> int:
        if "hash" in self.refused:
            set_last_error(self.refused["hash"])
            return 0
        digest = hashlib.new(algorithm, os.read(fd, 1000) or b"MZ").digest()  # the second algorithm is at its end
        into[: len(digest)] = digest
        size._obj.value = len(digest)
        return 1

    def CryptCATAdminCalcHashFromFileHandle(self, file: int, size: Any, into: Any, flags: int) -> int:
        return self._hash("sha1", file, size, into)

    def CryptCATAdminCalcHashFromFileHandle2(self, context: Any, file: int, size: Any, into: Any, flags: int) -> int:
        return self._hash("sha256", file, size, into)

    def CryptCATAdminEnumCatalogFromHash(self, context: int, digest: Any, size: int, flags: int, before: Any) -> int:
        if before._obj.value:
            self.open.remove(f"catalogue {before._obj.value}")
        listed = self.installed.get(bytes(digest), [])
        if (place := before._obj.value or 0) < len(listed):
            self._answers = listed
            self.open.append(f"catalogue {place + 1}")
            return place + 1
        set_last_error(self.refused.get("list", 1168))
        return 0

    def CryptCATCatalogInfoFromContext(self, catalog: int, info: Any, flags: int) -> int:
        raw = self._answers[catalog - 1].encode("utf-16-le")
        ctypes.memmove(ctypes.addressof(info._obj) + 4, raw, len(raw))
        return int(info._obj.cbStruct == ctypes.sizeof(wintrust.CATALOG_INFO))

    def CryptCATAdminReleaseCatalogContext(self, context: int, catalog: Any, flags: int) -> int:
        self.open.remove(f"catalogue {catalog.value}")
        return 1

    def CryptCATAdminReleaseContext(self, context: Any, flags: int) -> int:
        self.open.remove("context")
        return 1


@pytest.fixture
def catalogues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogues]:
    made = Catalogues(monkeypatch)
    yield made
    assert made.open == []


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    (tmp_path / "notepad.exe").write_bytes(b"MZ")
    with (tmp_path / "notepad.exe").open("rb") as opened:
        yield opened


ROOT = "C:\\Windows\\System32\\CatRoot\\{F750E6C3-38EE-11D1-85E5-00C04FC295EE}\\"


def test_catalogues_that_list_a_file_by_either_algorithm(catalogues: Catalogues, file: BinaryIO) -> None:
    old, new = (hashlib.new(name, b"MZ").digest() for name in ("sha1", "sha256"))
    catalogues.installed = {new: [f"{ROOT}a.cat", f"{ROOT}b.cat"], old: [f"{ROOT}b.cat", f"{ROOT}c.cat"]}
    assert files(None).catalogs(file) == tuple(f"{ROOT}{name}.cat" for name in "abc")


def test_many_catalogues_are_cut_short(catalogues: Catalogues, file: BinaryIO) -> None:
    catalogues.installed = {hashlib.sha256(b"MZ").digest(): [f"{number}.cat" for number in range(100)]}
    assert files(None).catalogs(file) == tuple(f"{number}.cat" for number in range(8))


def test_a_file_that_no_catalogue_lists(catalogues: Catalogues, file: BinaryIO) -> None:
    assert files(None).catalogs(file) == ()
    catalogues.refused["list"] = 2
    assert files(None).catalogs(file) == ()


def test_one_algorithm_is_enough(catalogues: Catalogues, file: BinaryIO) -> None:
    """Before Windows 8, and on Wine (error 120)."""
    catalogues.installed = {hashlib.sha1(b"MZ").digest(): ["a.cat"]}
    catalogues.refused["sha256"] = 120
    assert files(None).catalogs(file) == ("a.cat",)


@pytest.mark.parametrize("call", ["hash", "list"])
def test_catalogues_that_cannot_be_asked(catalogues: Catalogues, file: BinaryIO, call: str) -> None:
    catalogues.refused[call] = 5
    with pytest.raises(Denied):
        files(None).catalogs(file)


def test_windows_has_no_database_of_files() -> None:
    with pytest.raises(Unsupported, match="no database"):
        Packages().owner("C:\\x.exe")
    owner = FileOwner("p", "1", "m", "sha256", "00")
    assert files(None).matches(KEY, EXE, owner) is None


CHANGED = 132_223_104_000_000_000
"""2020-01-01 as FILETIME."""


class Times:
    """What the file system says of a file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, changed: int, refused: int = 0) -> None:
        self.changed, self.refused = changed, refused
        script(monkeypatch, file_times.kernel32, GetFileInformationByHandleEx=self.answer)
        monkeypatch.setattr(file_times, "handle_of", lambda fd: fd)

    def answer(self, file: int, kind: int, into: Any, size: int) -> int:
        assert (kind, size) == (file_times.FileBasicInfo, ctypes.sizeof(file_times.FILE_BASIC_INFO))
        if self.refused:
            set_last_error(self.refused)
            return 0
        into._obj.CreationTime, into._obj.LastWriteTime, into._obj.ChangeTime = 1, 2, self.changed
        return 1


def test_the_time_of_a_change_is_the_file_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with (tmp_path / "x").open("rb") as file:
        Times(monkeypatch, CHANGED)
        assert files(None).changed_at_ns(file) == 1_577_836_800 * 10**9
        Times(monkeypatch, 0)  # FAT
        with pytest.raises(Unsupported, match="keeps no time"):
            files(None).changed_at_ns(file)
        Times(monkeypatch, CHANGED, refused=5)
        with pytest.raises(Denied):
            files(None).changed_at_ns(file)
