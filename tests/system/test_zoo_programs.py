"""Children whose truth is known, by each method: names, arguments, executables."""

import os
import platform
import shutil
from pathlib import Path

import pytest

from hostscope.model.gap import Reason
from hostscope.model.process import Executable
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.read import LIMIT
from tests.zoo.build import program
from tests.zoo.creature import Creature
from tests.zoo.sight import Look

pytestmark = [pytest.mark.system, pytest.mark.root]

NAMES = [
    b"a) R 1 (b", b") R 1 2 (", b"two\nlines", b"\x1b[31mred\x1b[0m", b"\xff\xfe\x80", b" lead trail ", b"", b"(((",
    b")))", b"tab\tand\\slash", "späß".encode(), b"fifteen bytes!!", b"more than fifteen bytes", b"\x7f\x01\x02",
]  # fmt: skip

ARGUMENTS: dict[str, list[bytes]] = {
    "newlines": [b"a\nb", b"\n", b"c\r\n"],
    "escape codes": [b"\x1b]0;title\x07", b"\x1b[2J"],
    "invalid UTF-8": [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"ok"],
    "private use, plane 16": ["\U0010eeff".encode()],
    "100 kB": [b"x", b"y" * 100_000, b"z"],
    "many": [str(number).encode() for number in range(5000)],
    "empty between": [b"a", b"", b"", b"b"],
    "empty at the end": [b"a", b"", b""],
    "one empty": [b""],
    "spaces": [b"a b", b" ", b"c  d "],
    "just under a piece": [b"x" * 4095],
    "just a piece": [b"x" * 4096],
}


# Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_name(look: Look, name: bytes) -> None:
    with Creature() as child:
        child.do("comm", name)
        row = look(child.pid)
        assert encode(row.name) == name[:15]
        assert row.ppid == os.getpid()
        assert row.state in ("sleeping", "running")  # it answers first, and waits for more then


# Arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(look: Look, arguments: list[bytes]) -> None:
    with Creature(arguments) as child:
        row = look(child.pid)
        assert row.argv == tuple(map(decode, arguments))
        assert [encode(argument) for argument in row.argv] == arguments
        assert not [gap for gap in row.gaps if gap.field == "argv"]


def test_more_arguments_than_are_kept_are_marked(look: Look) -> None:
    with Creature([b"x" * 100_000] * 12) as child:
        row = look(child.pid)
        assert row.argv and 1 <= sum(map(len, row.argv)) <= LIMIT
        assert set("".join(row.argv)) == {"x"}
        assert [gap.reason for gap in row.gaps if gap.field == "argv"] == [Reason.TRUNCATED]


def test_no_arguments_at_all(look: Look) -> None:
    """Since Linux 5.18 the kernel supplies one empty argument."""
    release = tuple(map(int, platform.release().split(".")[:2]))
    with Creature() as child:
        child.do("bare", program("creature"))
        row = look(child.pid)
        assert row.argv == (("",) if release >= (5, 18) else ())
        assert row.name == "creature"


def test_title_shorter_than_the_arguments(look: Look) -> None:
    """What is left of the slot is NULs; the kernel shows all of it, so the arguments after the title are empty."""
    with Creature(["creature", "--with", "options"]) as child:
        child.do("title", "idle")
        argv = look(child.pid).argv
        assert argv and argv[0] == "idle"
        assert set(argv[1:]) <= {""}


def test_title_longer_than_the_arguments(look: Look) -> None:
    """It runs over into the environment, and the kernel follows as far as the title goes."""
    title = "postgres: writer process   of a cluster with a long name"
    with Creature(["creature"], environment={"PADDING": "p" * 200}) as child:
        child.do("title", title)
        assert look(child.pid).argv == (title,)


def test_title_as_long_as_the_slot_and_one_more(look: Look) -> None:
    with Creature(["creature"], environment={"PADDING": "p" * 20}) as child:
        child.do("title", "creature!")
        assert look(child.pid).argv == ("creature!",)


# Executables --------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The zoo's program, as a file of the test's own."""
    return Path(shutil.copy(program("creature"), tmp_path / "walker"))


def test_executable(look: Look, copy: Path) -> None:
    with Creature(executable=copy) as child:
        row = look(child.pid)
        assert row.exe == Executable(str(copy))
        assert row.name == "walker"


def test_executable_is_identified_with_its_digest(look: Look, copy: Path) -> None:
    with Creature(executable=copy) as child:
        exe = look(child.pid, frozenset({"exe", "digest"})).exe
        assert exe == Executable(str(copy), copy.stat().st_dev, copy.stat().st_ino)


def test_deleted_executable(look: Look, copy: Path) -> None:
    with Creature(executable=copy) as child:
        copy.unlink()
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=False)


def test_replaced_executable(look: Look, copy: Path) -> None:
    with Creature(executable=copy) as child:
        shutil.copy(copy, other := copy.with_suffix(".new"))
        other.rename(copy)
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=True)


def test_renamed_executable(look: Look, copy: Path) -> None:
    with Creature(executable=copy) as child:
        copy.rename(other := copy.with_name("renamed"))
        assert look(child.pid).exe == Executable(str(other))


def test_executable_in_a_removed_directory(look: Look, tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    copy = Path(shutil.copy(program("creature"), place / "walker"))
    with Creature(executable=copy) as child:
        shutil.rmtree(place)
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=False)


def test_executable_from_memory(look: Look) -> None:
    with Creature() as child:
        child.do("memfd", "payload")
        row = look(child.pid)
        assert row.exe == Executable("/memfd:payload", deleted=True, memfd=True)
        assert row.argv == ("from-memory",)


@pytest.mark.parametrize("name", ["walker (deleted)", "new\nline", "\udcff\udcfe", "\x1b[31m", " (deleted)"])
def test_executable_with_a_misleading_name(look: Look, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copy(program("creature"), tmp_path / name))
    with Creature(executable=copy) as child:
        assert look(child.pid).exe == Executable(decode(os.fsencode(copy)))
        copy.unlink()
        assert look(child.pid).exe == Executable(decode(os.fsencode(copy)), deleted=True, replaced=False)


def test_deleted_executable_whose_marked_name_exists(look: Look, copy: Path) -> None:
    """A file called as the kernel's mark would read does not hide that the image is deleted."""
    with Creature(executable=copy) as child:
        copy.unlink()
        copy.with_name("walker (deleted)").touch()
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=False)


def test_executable_below_a_changed_root(look: Look, tmp_path: Path) -> None:
    """Paths are as this host names them, also when the process itself could not follow them."""
    copy = Path(shutil.copy(program("creature"), tmp_path / "walker"))
    with Creature(executable=copy) as child:
        child.do("chroot", tmp_path)
        row = look(child.pid)
        assert row.exe == Executable(str(copy))
        copy.unlink()
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=False)
        copy.touch()
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=True)


def test_hard_link_left_behind(look: Look, copy: Path) -> None:
    """The name that was run is gone, and the file lives on under another one."""
    with Creature(executable=copy) as child:
        os.link(copy, copy.with_name("other"))
        copy.unlink()
        assert look(child.pid).exe == Executable(str(copy), deleted=True, replaced=False)
