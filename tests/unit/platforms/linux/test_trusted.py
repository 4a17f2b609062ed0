"""Folders and files that only we can have written; what each cache makes of it is tested with the cache."""

import os
from pathlib import Path

import pytest

from hostscope.errors import Untrusted
from hostscope.platforms.linux.trusted import open_folder


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
