"""`hostscope dns` on a made-up host, and on capture files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hostscope import platforms
from hostscope.model.dns import Resolver
from hostscope.platforms.base import Host
from tests.fake import Answers
from tests.unit.cli.conftest import Run
from tests.unit.collectors.test_dns import Packets, reading
from tests.unit.wire.frames import CLIENT, MS, SERVER, answer, batch, pcap, question, udp

FRAMES = (
    (0, udp(CLIENT, SERVER, question())),
    (7 * MS, udp(SERVER, CLIENT, answer())),
    (8 * MS, udp(CLIENT, SERVER, question("b.example", number=8))),
    (9 * MS, udp(SERVER, CLIENT, answer("b.example", number=8, rcode="NXDOMAIN", value=None))),
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap(*FRAMES))
    return str(path)


@pytest.fixture
def live(asked: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two questions."""
    asked.traffic.answers.readings.append(reading())  # type: ignore[attr-defined]
    found = replace(asked, capture=Packets([batch(*FRAMES)]))
    monkeypatch.setattr(platforms, "open_host", lambda replay=None: found)


def test_the_configuration_is_the_default(asked: Host, hostscope: Run) -> None:
    given: Answers = asked.resolvers.answers  # type: ignore[attr-defined]
    given.resolvers.append(Resolver("192.0.2.53", 53, "resolv.conf", search=("a.example",)))
    for arguments in ((), ("--config",)):
        done = hostscope("dns", *arguments)
        assert done.code == 0 and "192.0.2.53    53  dns" in done.out and "1 resolver by" in done.out
    rows = json.loads(hostscope("dns", "--format", "json").out)["rows"]
    assert rows[0]["search"] == ["a.example"]


def test_questions_of_a_file(hostscope: Run, file: str) -> None:
    done = hostscope("dns", "--read", file)
    assert done.code == 0 and done.out.count("example") == 2
    assert "2 questions by file" in done.out and "192.0.2.53:53" in done.err, "the scores, to people"
    done = hostscope("dns", "--read", file, "--format", "csv", "--columns", "name,latency,answers")
    assert done.out == "name,latency,answers\nwww.example.com,7000000,192.0.2.80\nb.example,1000000,\n"


def test_scores_of_a_file(hostscope: Run, file: str) -> None:
    document = json.loads(hostscope("dns", "--read", file, "--servers", "--format", "json").out)
    (row,) = document["rows"]
    assert document["schema"] == "hostscope.resolver_score/1"
    assert (row["queries"], row["nonexistent"], row["latency_max_ns"]) == (2, 1, 7 * MS)
    assert document["coverage"]["method"] == "file"


def test_live_lines_end_with_scores_and_coverage(live: None, hostscope: Run) -> None:
    done = hostscope("dns", "--duration", "5")
    lines = done.out.splitlines()
    assert "A www.example.com  192.0.2.80  7.00ms  from 192.0.2.53:53" in lines[0]
    assert "A b.example  NXDOMAIN" in lines[1] and lines[2] == ""
    assert lines[3].startswith("SERVER") and lines[4].startswith("192.0.2.53:53        2")
    assert "2 questions by made-up" in done.out and "encrypted" in done.out
    assert hostscope("dns", "--duration", "5", "--quiet").out.count("\n") == 2


def test_live_objects(live: None, hostscope: Run) -> None:
    lines = [json.loads(line) for line in hostscope("dns", "--watch", "--format", "ndjson").out.splitlines()]
    assert [line["type"] for line in lines] == ["row", "row", "row", "coverage"]
    assert [line.get("schema") for line in lines[1:3]] == ["hostscope.dns_query/1", "hostscope.resolver_score/1"]


def test_live_filter_limit_and_document(live: None, hostscope: Run) -> None:
    done = hostscope("dns", "--watch", "--filter", "result == 'NXDOMAIN'", "--quiet")
    assert done.code == 0 and "b.example" in done.out and "www" not in done.out
    assert hostscope("dns", "--watch", "--limit", "1", "--quiet").out.count("\n") == 1
    document = json.loads(hostscope("dns", "--duration", "9", "--format", "json").out)
    assert [row["name"] for row in document["rows"]] == ["www.example.com", "b.example"]
    done = hostscope("dns", "--servers", "--format", "tsv", "--columns", "server,queries")
    assert done.out == "server\tqueries\n192.0.2.53:53\t2\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--config", "--watch"),
        ("--config", "--servers"),
        ("--read", "x", "--watch"),
        ("--read", "x", "--interface", "lo"),
        ("--read", "/nowhere/at/all"),
        ("--columns", "nosuch"),
        ("--servers", "--columns", "rcode"),
        ("--watch", "--resolve"),
        ("--timeout", "0"),
        ("--port", "70000"),
    ],
)
def test_requests_that_make_no_sense(hostscope: Run, arguments: tuple[str, ...]) -> None:
    done = hostscope("dns", *arguments)
    assert done.code == 2 and done.out == "" and done.err.startswith("hostscope: ")


def test_a_recording_does_not_hold_it(hostscope: Run, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = hostscope("dns", "--replay", str(recording))
    assert done.code == 6 and done.out == ""
