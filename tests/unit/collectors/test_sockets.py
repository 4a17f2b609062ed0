"""Sockets of a made-up host: targets, counting, names."""

import threading
from typing import Any

import pytest

from hostscope.collectors import reverse_names, sockets
from hostscope.errors import Gone, UsageError
from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from tests.fake import Answers, host, key, process

DENIED = Gap("owners", Reason.DENIED, "needs root")


def sock(port: int, pid: int | None = None, remote: Endpoint | None = None, **fields: Any) -> Socket:
    owners = None if pid is None else (SocketOwner(key(pid), f"p{pid}", 3),)
    return Socket(
        "inet", "stream", "tcp", "listen", Endpoint("10.0.0.1", port), remote, port, 1, owners=owners, **fields
    )


WEB, DB, HIDDEN = sock(80, 5), sock(3306, 6, Endpoint("192.0.2.9", 80)), sock(22, gaps=(DENIED,))
BOX = host(process(5, "nginx"), process(6, "mysqld"), answers=Answers(sockets=[WEB, DB, HIDDEN]))


def test_all_rows_and_their_gaps_are_counted() -> None:
    answer = sockets.collect(BOX)
    assert answer.rows() == [WEB, DB, HIDDEN]
    coverage = answer.coverage
    assert (coverage.rows, coverage.seen, coverage.method) == (3, 3, "fake")
    assert [(gap.field, gap.reason, gap.rows) for gap in coverage.gaps] == [("owners", Reason.DENIED, 1)]
    assert coverage.not_asked == ("age_ns",)
    assert sockets.collect(BOX, SocketRequest(tcp_details=False)).coverage.not_asked == ("age_ns", "tcp")


@pytest.mark.parametrize(
    ("targets", "rows"),
    [
        (["5"], [WEB]),
        (["mysqld"], [DB]),
        (["5@5"], [WEB]),
        ([":80"], [WEB, DB]),
        ([":22"], [HIDDEN]),
        ([":1", "6"], [DB]),
        ([":1"], []),
    ],
)
def test_targets(targets: list[str], rows: list[Socket]) -> None:
    answer = sockets.find(BOX, SocketRequest(), targets)
    assert answer.rows() == rows
    assert answer.coverage.skipped == 3 - len(rows)


@pytest.mark.parametrize(
    ("target", "error"),
    [(":x", UsageError), (":65536", UsageError), (":", UsageError), ("", UsageError), ("9", Gone), ("nobody", Gone)],
)
def test_wrong_targets(target: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        sockets.find(BOX, SocketRequest(), [target])


def test_looks_until_stopped() -> None:
    stop = threading.Event()
    looks = sockets.looks(BOX, stop, 0.001, SocketRequest(), ["5"])
    assert [next(looks).rows(), next(looks).rows()] == [[WEB], [WEB]]
    stop.set()
    assert list(looks) == []


def test_each_name_is_asked_for_once_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(address: str) -> str | None:
        asked.append(address)
        return {"192.0.2.9": "db.example"}.get(address)

    monkeypatch.setattr(reverse_names, "look_up", look_up)
    rows = [DB, DB, sock(1, 5, Endpoint("192.0.2.10", 1)), sock(2, 5, Endpoint("127.0.0.1", 1)), WEB]
    box = host(answers=Answers(sockets=rows))
    names = reverse_names.ReverseNames()
    for _ in range(2):
        answer = names.named(sockets.collect(box))
        assert [row.domain for row in answer] == ["db.example", "db.example", None, None, None]
        assert answer.coverage.effects == ("2 addresses were sent to the host's resolvers",)
    assert sorted(asked) == ["192.0.2.10", "192.0.2.9"]


def test_a_resolver_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(reverse_names, "look_up", lambda address: str(answered.wait(30)))
    answer = reverse_names.ReverseNames(patience_s=0.01).named(sockets.collect(BOX))
    assert [row.domain for row in answer] == [None, None, None]
    assert answer.coverage.notes == ("1 addresses were not answered within 0.01 s",)
    answered.set()


def test_a_name_that_cannot_be_had_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: str) -> Any:
        raise OSError("no")

    monkeypatch.setattr("socket.gethostbyaddr", fail)
    assert reverse_names.look_up("192.0.2.1") is None
