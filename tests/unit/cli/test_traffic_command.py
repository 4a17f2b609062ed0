"""`hostscope traffic` against a host in memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts, Flow, Ledger, LedgerLine, Reading
from hostscope.platforms.base import Host
from tests.fake import FakeTraffic
from tests.privacy import is_private
from tests.unit.cli.conftest import ROWS, Run

SSH = ROWS[2]
LEDGER = Ledger(("lo",), 1000, 10, (LedgerLine("attributed", 900, 9), LedgerLine("lost", 0, 0)), 100, 1, True)


def flows() -> Iterator[Flow]:
    for size, port, domain in ((300, 443, "a.example"), (600, 80, None)):
        yield Flow(
            "tcp", Endpoint("10.0.0.1", 22), Endpoint("10.0.0.2", port), SSH.key, "ss\x1bhd", net_ns=1,
            payload=Counts(size, 0, 1, 0), first_at_ns=1, domain=domain, domain_source="dns" if domain else None,
        )  # fmt: skip
    yield Flow("udp", Endpoint("10.0.0.1", 53), None, None, None, "gone", payload=Counts(5, 5, 1, 1))


@pytest.fixture(autouse=True)
def _measured(asked: Host) -> None:
    traffic = asked.traffic
    assert isinstance(traffic, FakeTraffic)
    traffic.answers.readings[:] = [Reading(0, 10**9, tuple(flows()), LEDGER)]


def test_a_table_of_processes(hostscope: Run) -> None:
    done = hostscope("traffic", "--duration", "0.05")
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0].split()[:4] == ["PID", "NAME", "USER", "CONNS"]
    assert lines[1].split()[:2] == ["30", "ss\\x1bhd"] and "900" in lines[1]
    assert "ledger: interfaces counted 1000; attributed 90.00%, remainder (headers and the like, estimated) 10.00%" in (
        done.out
    )


def test_json_holds_the_ledger(hostscope: Run) -> None:
    document = json.loads(hostscope("traffic", "--duration", "0.05", "--format", "json").out)
    assert document["schema"] == "hostscope.process_traffic/1"
    assert document["rows"][0]["payload"]["sent_bytes"] == 900 and document["rows"][0]["wire"] is None
    assert document["ledger"]["remainder_bytes"] == 100
    assert document["coverage"]["rows"] == 2


def test_ndjson_ends_with_ledger_and_coverage(hostscope: Run) -> None:
    out = hostscope("traffic", "--duration", "0.05", "--format", "ndjson", "--connections").out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["row", "row", "row", "ledger", "coverage"]
    assert lines[3]["schema"] == "hostscope.ledger/1"


def test_tsv_is_clean(hostscope: Run) -> None:
    done = hostscope("traffic", "--duration", "0.05", "--format", "tsv", "--columns", "pid,traffic,domains")
    assert done.out == "pid\ttraffic\tdomains\n30\t900\ta.example\n\t10\t\n"
    assert "by fake" in done.err


@pytest.mark.parametrize(
    ("filter_", "rows"),
    [
        ('name == "nobody"', 0),
        ('"a.example" in domains', 1),
        ('"10.0.0.2" in addresses', 1),
        ("payload_sent > 100", 1),
        ('unknown == "gone"', 1),
    ],
)
def test_filters(hostscope: Run, filter_: str, rows: int) -> None:
    done = hostscope("traffic", "--duration", "0.05", "--format", "json", "--filter", filter_)
    assert len(json.loads(done.out)["rows"]) == rows


def test_connections_sort_by_traffic_first(hostscope: Run) -> None:
    command = ("traffic", "--duration", "0.05", "--connections", "--format", "csv", "--columns", "remote_port,traffic")
    assert hostscope(*command).out.splitlines()[1:] == ["80,600", "443,300", ",10"]
    assert hostscope(*command, "--sort", "remote_port").out.splitlines()[1:] == ["80,600", "443,300", ",10"]
    assert hostscope(*command, "--filter", 'domain == "a.example"').out.splitlines()[1:] == ["443,300"]


def test_the_ledger_in_full(hostscope: Run) -> None:
    out = hostscope("traffic", "--duration", "0.05", "--ledger", "--quiet").out
    assert "ledger of lo: 1000, 10 packets\n   90.00% attributed 900, 9 calls\n   10.00% remainder 100 bytes" in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--duration", "0.05", "--filter", "nope == 1"), 2),
        (("--duration", "0.05", "--columns", "nope"), 2),
        (("--duration", "0.05", "--sort", "nope"), 2),
        (("--duration", "nan"), 2),
        (("--method", "magic"), 2),
        (("--read", "x.pcap", "--duration", "1"), 2),
        (("--read", "/no/such.pcap"), 2),
        (("--duration", "0.05", "4242"), 3),
        (("--duration", "0.05", "--method", "capture"), 6),
    ],
)
def test_bad_requests_are_one_line(hostscope: Run, arguments: tuple[str, ...], code: int) -> None:
    done = hostscope("traffic", *arguments)
    assert done.code == code and done.out == ""
    assert done.err.startswith("hostscope: ") and len(done.err.splitlines()) <= 2


def test_a_file_is_written_whole(hostscope: Run, tmp_path: Path) -> None:
    target = tmp_path / "traffic.json"
    assert hostscope("traffic", "--duration", "0.05", "--format", "json", "--output", str(target)).code == 0
    assert json.loads(target.read_text())["ledger"]
    assert is_private(target)


def test_a_capture_file_gives_flows_without_processes(hostscope: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    head = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")
    packet = bytes.fromhex("4500001d00010000401100000a0000010a000002030900350009000061")
    path.write_bytes(head + bytes(8) + len(packet).to_bytes(4, "little") * 2 + packet)
    document = json.loads(hostscope("traffic", "--read", str(path), "--connections", "--format", "json").out)
    (row,) = document["rows"]
    assert (row["protocol"], row["remote"], row["unknown"]) == (
        "udp",
        {"address": "10.0.0.2", "port": 53},
        "unrecorded",
    )
    assert row["wire"]["sent_bytes"] == 29 and row["payload"] is None
    added = hostscope("traffic", "--read", str(path), "--connections", "--format", "tsv", "--columns", "+closed").out
    assert "wire_sent" in added and "closed" in added and "payload_sent" not in added
    assert document["coverage"]["method"] == "file" and "ledger" not in document
