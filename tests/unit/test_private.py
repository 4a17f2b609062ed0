"""What somebody else laid ready for us in a folder where everybody may."""

import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from hostscope.cli.output import open_output
from hostscope.collectors.capture_files import CaptureFile
from hostscope.errors import UsageError
from hostscope.private import open_as_it_is, refuse_planted

pytestmark = pytest.mark.posix("owners and pipes with a name")
NOBODY = 65534


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def pipe(shared: Path) -> Iterator[Path]:
    """Another user's, who reads what comes."""
    os.mkfifo(shared / "pipe")
    reader = os.open(shared / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.chown(shared / "pipe", NOBODY, NOBODY)
    yield shared / "pipe"
    with suppress(BlockingIOError):
        assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.root
def test_nothing_goes_into_a_pipe_that_another_user_laid_ready(pipe: Path) -> None:
    with pytest.raises(UsageError, match="another user put it there"), open_output(str(pipe)):
        pytest.fail("opened")
    with pytest.raises(UsageError, match="another user put it there"):
        CaptureFile(str(pipe), b"head", nullcontext)


@pytest.mark.root
def test_a_pipe_of_another_user_in_his_own_folder_was_named_on_purpose(pipe: Path, shared: Path) -> None:
    shared.chmod(0o755)
    refuse_planted(str(pipe))


@pytest.mark.root
@pytest.mark.parametrize("made", ["folder", "link", "folder/"])
def test_a_folder_that_another_user_laid_ready(shared: Path, made: str) -> None:
    place = shared / made
    place.symlink_to("/etc") if made == "link" else place.mkdir()
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(OSError, match="another user put it there"):
        refuse_planted(f"{shared}/{made}")
    os.chown(place, os.geteuid(), os.getegid(), follow_symlinks=False)
    refuse_planted(f"{shared}/{made}")


def test_what_became_a_file_since_it_was_looked_at_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("target", "link"):
        with pytest.raises(FileExistsError, match="became a file"):
            open_as_it_is(str(tmp_path / name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with pytest.raises(FileNotFoundError):
        open_as_it_is(str(tmp_path / "gone"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert (tmp_path / "target").read_text() == "kept"
    assert not (tmp_path / "gone").exists()
