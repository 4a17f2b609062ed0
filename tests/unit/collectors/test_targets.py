"""What a person types leads to the process that is meant, or says why not."""

import os

import pytest
from msgspec.structs import replace

from hostscope.collectors.targets import find, find_one
from hostscope.errors import Gone, Mismatch, UsageError
from hostscope.model.process import Executable
from hostscope.model.request import ProcessRequest
from hostscope.model.text import decode
from hostscope.model.windows import WindowsContext
from hostscope.platforms.base import Host
from tests.fake import Answers, host, process

REQUEST = ProcessRequest()


@pytest.fixture
def box() -> Host:
    rows = [
        process(1, "init", 0), process(20, "nginx"), process(21, "nginx"),
        process(30, "python3", argv=("/srv/app", "x"), exe=Executable("/usr/bin/python3.11")),
    ]  # fmt: skip
    return host(*rows, answers=Answers(ports={80: (20, 21), 22: (1,), 9: (404,)}))


@pytest.mark.parametrize(
    ("target", "pids"),
    [("1", [1]), ("20@20", [20]), ("nginx", [20, 21]), (":80", [20, 21]), (":22", [1]), ("python3", [30]),
     ("python3.11", [30]), ("/usr/bin/python3.11", [30]), ("app", [30]), ("/srv/app", [30])],
)  # fmt: skip
def test_finds(box: Host, target: str, pids: list[int]) -> None:
    assert [row.key.pid for row in find(box, target, REQUEST)] == pids


@pytest.mark.posix("names that are not UTF-8")
def test_a_name_that_is_no_text_as_the_command_line_gives_it() -> None:
    box = host(process(7, decode(b"caf\xe9")), answers=Answers())
    assert [row.key.pid for row in find(box, os.fsdecode(b"caf\xe9"), REQUEST)] == [7]
    assert [row.key.pid for row in find(box, decode(b"caf\xe9"), REQUEST)] == [7]


PROGRAM = "C:\\Program Files\\App\\App.exe"


@pytest.mark.parametrize(
    "target", ["app.EXE", "App.exe", "c:\\program files\\app\\app.exe", "C:/Program Files/App/App.exe"]
)
def test_names_on_windows_are_the_same_in_upper_and_lower_case(target: str) -> None:
    row = process(5, "App.exe", argv=("app",), exe=Executable(PROGRAM), windows=WindowsContext())
    assert find_one(host(row), target, REQUEST) == row


def test_names_elsewhere_are_not(box: Host) -> None:
    odd = process(5, "x", exe=Executable("/srv/a\\nginx"))
    with pytest.raises(Gone):
        find(box, "Nginx", REQUEST)
    with pytest.raises(Gone):
        find(host(odd), "nginx", REQUEST)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("99", Gone, "no process 99"),
        ("99@1", Gone, "no process 99"),
        ("20@7", Mismatch, "another process now: 20@20 nginx"),
        ("nope", Gone, "no process is called 'nope'"),
        ("", UsageError, "empty"),
        (":443", Gone, "port 443"),
        (":9", Gone, "port 9"),
        (":x", UsageError, "no port"),
        (":65536", UsageError, "no port"),
        (":", UsageError, "no port"),
        ("99999999999", UsageError, "no pid"),
        ("9" * 5000, UsageError, "no pid"),
        ("٣", Gone, "is called"),
        ("nginx", UsageError, "2 processes are meant by 'nginx'"),
    ],
)
def test_refuses(box: Host, target: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_one(box, target, REQUEST)


def test_a_pid_that_was_given_away_between_the_looks_is_not_meant(box: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    other = process(21, "nginx")
    other = replace(other, key=replace(other.key, start=999))
    read = box.processes.read
    monkeypatch.setattr(box.processes, "read", lambda pid, asked: other if pid == 21 else read(pid, asked))
    assert [row.key.pid for row in find(box, "nginx", REQUEST)] == [20]


def test_several_are_named(box: Host) -> None:
    with pytest.raises(UsageError) as refused:
        find_one(box, ":80", REQUEST)
    assert "20@20 nginx, 21@21 nginx" in (refused.value.hint or "")


def test_of_many_the_first_are_named() -> None:
    with pytest.raises(UsageError) as refused:
        find_one(host(*(process(pid, "worker") for pid in range(1, 12))), "worker", REQUEST)
    assert (refused.value.hint or "").endswith("8@8 worker, and 3 more")
