"""Sockets in recordings: as they were, by request, and what stands there when the host gave none."""

import gzip
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostscope.errors import Unsupported, UsageError
from hostscope.model.socket import FAMILIES, SocketRequest
from hostscope.platforms.replay.host import open_host
from hostscope.platforms.replay.writer import record
from hostscope.platforms.tally import Tally
from tests.unit.platforms.replay.hosts import LISTENER, PIPE, REQUEST, SOCKETS, TALK, known_host, unable_host

ALL = SocketRequest(families=FAMILIES)


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = tmp_path / "made.jsonl"
    record(known_host(), str(made), REQUEST)
    return str(made)


def test_sockets_come_back_equal(path: str) -> None:
    tally = Tally()
    assert tuple(open_host(path).sockets.sweep(ALL, tally)) == SOCKETS
    assert (tally.method, tally.seen) == ("iterator", 3)
    assert "when it was recorded: an eBPF program" in tally.notes
    assert tally.effects == []


def test_requests_are_honoured(path: str) -> None:
    sockets = open_host(path).sockets
    assert list(sockets.sweep(SocketRequest(families=frozenset({"unix"})), Tally())) == [PIPE]
    assert list(sockets.sweep(replace(ALL, states=frozenset({"listen"})), Tally())) == [LISTENER]
    assert list(sockets.sweep(SocketRequest(tcp_details=False), Tally())) == [LISTENER, replace(TALK, tcp=None)]


def test_owners_of_a_port(path: str) -> None:
    sockets = open_host(path).sockets
    assert sockets.owners(3306) == (70, 1)  # the listener first
    assert sockets.owners(443) == ()


def test_another_method_is_not_in_it(path: str) -> None:
    with pytest.raises(UsageError, match="not in this recording"):
        open_host(path).sockets.sweep(replace(ALL, method="proc"), Tally())


def test_what_the_host_raised_comes_back(tmp_path: Path) -> None:
    made = tmp_path / "made.jsonl.gz"
    record(unable_host(), str(made), REQUEST)
    with pytest.raises(Unsupported, match="not here"):
        open_host(str(made)).sockets.sweep(ALL, Tally())


def test_a_recording_from_before_sockets(path: str) -> None:
    kept = [line for line in Path(path).read_bytes().splitlines(keepends=True) if b'"call":"sockets.' not in line]
    Path(path).write_bytes(b"".join(kept[:-1]))
    with pytest.raises(Unsupported, match="not in this recording"):
        open_host(path).sockets.sweep(ALL, Tally())


def test_a_damaged_row_is_counted_and_the_others_are_given(path: str) -> None:
    raw = Path(path).read_bytes().replace(b'"state":"listen"', b'"state":7')
    packed = Path(path + ".gz")
    packed.write_bytes(gzip.compress(raw))
    tally = Tally()
    assert list(open_host(str(packed)).sockets.sweep(ALL, tally)) == [TALK, PIPE]
    assert tally.failed == 1
    assert any("made.jsonl.gz:" in note for note in tally.notes)
