"""`hostscope net` on a made-up host."""

import json

import pytest

from hostscope.model.gap import Gap, Reason
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest, TcpState
from hostscope.platforms.base import Host
from tests.fake import ROOT, key
from tests.unit.cli.conftest import Run

TALK = Socket(
    "inet", "stream", "tcp", "established", Endpoint("10.0.0.1", 50000), Endpoint("192.0.2.9", 443), 7, 1,
    owners=(SocketOwner(key(30), "sshd", 3), SocketOwner(key(31), "bash\x1b[2J", 4)), user=ROOT, direction="outbound",
    tcp=TcpState(1_500_000, 10, 2, 3, 4, 5),
)  # fmt: skip
WAIT = Socket("inet6", "stream", "tcp", "listen", Endpoint("::", 22), None, 8, 1, owners=(), direction="listening")
DARK = Socket(
    "inet", "dgram", "udp", "unconnected", Endpoint("0.0.0.0", 53), None, 9, 1, gaps=(Gap("owners", Reason.DENIED),)
)


@pytest.fixture
def sockets(asked: Host) -> list[SocketRequest]:
    """What was asked of the host."""
    requests: list[SocketRequest] = []
    asked.sockets.answers.sockets = [TALK, WAIT, DARK]  # type: ignore[attr-defined]
    sweep = asked.sockets.sweep

    def noted(request: SocketRequest, tally: object) -> object:
        requests.append(request)
        return sweep(request, tally)  # type: ignore[arg-type]

    asked.sockets.sweep = noted  # type: ignore[method-assign, assignment]
    return requests


@pytest.mark.usefixtures("sockets")
def test_the_table(hostscope: Run) -> None:
    code, out, _ = hostscope("net")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["PROTO", "STATE", "LOCAL", "REMOTE", "DIRECTION", "PID", "PROCESS", "USER", "CONTAINER"]
    assert lines[1].split() == [
        "tcp",
        "established",
        "10.0.0.1:50000",
        "192.0.2.9:443",
        "outbound",
        "30",
        "sshd",
        "+1",
        "root",
        "-",
    ]
    assert lines[2].split() == ["tcp6", "listen", "[::]:22", "*", "listening", "-", "-", "-", "-"]
    assert lines[3].split() == ["udp", "unconnected", "0.0.0.0:53", "*", "-", "?", "?", "-", "-"]
    assert "3 sockets by fake" in out and "1 owners denied" in out


@pytest.mark.usefixtures("sockets")
def test_names_cannot_draw_on_the_terminal(hostscope: Run) -> None:
    _, out, _ = hostscope("net", "--columns", "owners,rtt,retransmits")
    assert "\x1b" not in out and "bash\\x1b[2J[31]" in out
    assert "1.5" in out


def test_options_become_the_request(hostscope: Run, sockets: list[SocketRequest]) -> None:
    for arguments, families, states in (
        ((), {"inet", "inet6"}, None),
        (("--unix",), {"inet", "inet6", "unix"}, None),
        (("--packet", "--listening"), {"inet", "inet6", "packet"}, {"listen", "unconnected"}),
        (("--all", "--established"), {"inet", "inet6", "unix", "packet"}, {"established", "connected"}),
    ):
        assert hostscope("net", *arguments).code == 0
        assert (sockets[-1].families, sockets[-1].states) == (families, states)
        assert not sockets[-1].tcp_details and not sockets[-1].age
    hostscope("net", "--columns", "pid,rtt,age")
    assert sockets[-1].tcp_details and sockets[-1].age
    hostscope("net", "--format", "ndjson", "--method", "proc")
    assert sockets[-1].tcp_details and sockets[-1].method == "proc"


@pytest.mark.usefixtures("sockets")
def test_targets_filters_and_forms(hostscope: Run) -> None:
    code, out, _ = hostscope("net", "--format", "json", "bash")
    assert code == 0
    assert [row["inode"] for row in json.loads(out)["rows"]] == [7]
    assert hostscope("net", "--format", "csv", "--columns", "local_port", ":53").out.splitlines()[1:] == ["53"]
    _, out, _ = hostscope("net", "--filter", 'direction == "outbound" and remote_port == 443', "--format", "tsv")
    assert len(out.splitlines()) == 2
    _, out, _ = hostscope("net", "--filter", "tcp.rtt_ns > 1*MS", "--columns", "pid", "--format", "tsv")
    assert out.splitlines() == ["pid", "30"]


@pytest.mark.usefixtures("sockets")
def test_what_is_hidden_could_have_matched(hostscope: Run) -> None:
    assert hostscope("net", "--filter", "pid == 77").code == 8
    assert hostscope("net", "--strict").code == 8
    assert hostscope("net", "--filter", 'state == "closing"').code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--listening", "--established"), 2, "does not listen and talk"),
        (("--columns", "nonsense"), 2, "no column 'nonsense'"),
        ((":99999",), 2, "no port"),
        (("nobody-is-called-so",), 3, "no process is called"),
        (("10.0.0.1",), 3, "hint: who talks to an address: hostscope net --filter 'remote_address == \"10.0.0.1\"'"),
        (("--watch", "--format", "csv"), 2, "--watch cannot write csv"),
    ],
)
@pytest.mark.usefixtures("sockets")
def test_bad_input_is_one_line(hostscope: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = hostscope("net", *arguments)
    assert result.code == code and message in result.err
    assert result.out == "" and len(result.err.splitlines()) <= 2


@pytest.mark.usefixtures("sockets", "ticking")
def test_watching(hostscope: Run) -> None:
    code, out, _ = hostscope("net", "--watch", "--interval", "0.05", "--duration", "3", "--format", "ndjson")
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert code == 0 and kinds == ["row", "row", "row", "coverage"] * 2


def test_columns_are_listed(hostscope: Run) -> None:
    code, out, _ = hostscope("net", "--list-columns")
    assert code == 0 and "retransmits" in out
