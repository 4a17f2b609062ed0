"""Access lists of files that are ours: nobody else may open them."""

from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from hostscope.cli.output import open_output
from hostscope.platforms import keep_files_private
from hostscope.platforms.windows import private_files
from hostscope.platforms.windows.native.access_lists import read_access_list, set_access_list
from tests.privacy import is_private

OPEN_TO_ALL = "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;WD)"


def test_a_list_is_set_and_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    set_access_list(str(file), OPEN_TO_ALL)
    assert ";WD)" in read_access_list(str(file)) and not is_private(file)
    set_access_list(str(file), private_files.OWNER_ONLY)
    assert is_private(file)
    with pytest.raises(OSError) as refused:
        set_access_list(str(tmp_path / "nothing"), private_files.OWNER_ONLY)
    assert refused.value.winerror == 2


def test_output_and_trail_are_closed_to_others(tmp_path: Path) -> None:
    keep_files_private()
    with open_output(str(tmp_path / "rows.json")) as sink:
        sink.write("[]")
    AuditTrail(tmp_path / "audit.jsonl").append("test")
    assert is_private(tmp_path / "rows.json")
    assert is_private(tmp_path / "audit.jsonl")


def test_a_file_is_written_where_there_are_no_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on FAT."""

    def refuse(path: str, text: str) -> None:
        raise OSError(50, "not supported")

    monkeypatch.setattr(private_files, "set_access_list", refuse)
    keep_files_private()
    with open_output(str(tmp_path / "rows.json")) as sink:
        sink.write("[]")
    assert (tmp_path / "rows.json").read_text() == "[]"
