"""Folders and files that only we can have written; what each cache makes of it is tested with the cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostscope.errors import Untrusted
from hostscope.platforms.linux.trusted import cache_folder, open_folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "ours"


def test_it_is_made_only_if_asked(place: Path) -> None:
    with pytest.raises(FileNotFoundError), open_folder(str(place)):
        pass
    assert not place.exists()
    with open_folder(str(place), make=True) as folder:
        assert folder.names() == []
    assert place.stat().st_mode & 0o777 == 0o700


def test_lines_are_appended_until_the_file_is_full(place: Path) -> None:
    with open_folder(str(place), make=True) as folder:
        for line in (b"one\n", b"two\n"):
            folder.append("log", line, b"head\n", 13)
        assert folder.read("log", 13) == b"head\none\ntwo\n"
        folder.append("log", b"three\n", b"head\n", 13)
        assert folder.read("log", 13) == b"head\nthree\n"


def test_a_file_is_replaced_as_a_whole(place: Path) -> None:
    with open_folder(str(place), make=True) as folder:
        for content in (b"old", b"new"):
            folder.replace("image", content)
        assert (folder.read("image", 9), folder.names()) == (b"new", ["image"])
        with pytest.raises(Untrusted, match="too large"):
            folder.read("image", 2)


def test_what_cannot_be_replaced_leaves_nothing(place: Path) -> None:
    with open_folder(str(place), make=True) as folder:
        (place / "image").mkdir()
        with pytest.raises(IsADirectoryError):
            folder.replace("image", b"new")
        assert folder.names() == ["image"]


def test_a_fifo_is_not_waited_for(place: Path) -> None:
    with open_folder(str(place), make=True) as folder:
        os.mkfifo(place / "log", 0o600)
        with pytest.raises(Untrusted):
            folder.append("log", b"x", b"", 9)
        with pytest.raises(Untrusted, match="regular"):
            folder.read("log", 9)


def test_a_folder_in_one_that_others_write_to_counts_only_if_it_is_sticky(place: Path) -> None:
    with open_folder(str(place), make=True):
        pass
    place.parent.chmod(0o777)
    with pytest.raises(Untrusted, match="mode 777"), open_folder(str(place)):
        pass
    place.parent.chmod(0o1777)
    with open_folder(str(place)) as folder:
        assert folder.names() == []


def test_folder_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOSTSCOPE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/ann/.cache")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cache_folder() == "/home/ann/.cache/hostscope"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert cache_folder() == "/var/cache/hostscope"
    monkeypatch.setenv("HOSTSCOPE_CACHE", "relative")
    assert cache_folder() == "/var/cache/hostscope"
    monkeypatch.setenv("HOSTSCOPE_CACHE", "/srv/cache")
    assert cache_folder() == "/srv/cache"


@pytest.mark.parametrize("name", ["HOSTSCOPE_CACHE", "HOSTSCOPE_AUDIT"])
def test_tests_and_their_children_keep_to_themselves(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    code = (
        "from hostscope.audit import default_path; from hostscope.platforms.linux.trusted import cache_folder;"
        "print({'HOSTSCOPE_CACHE': cache_folder(), 'HOSTSCOPE_AUDIT': default_path()}[%r])"
    )
    told = subprocess.run([sys.executable, "-c", code % name], capture_output=True, text=True, check=True).stdout
    assert Path(told.strip()).is_relative_to(tmp_path_factory.getbasetemp())
