"""`hostscope interfaces` of a made-up host."""

import json

import pytest
from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress, InterfaceCounters
from hostscope.platforms.base import Host
from hostscope.render.interface_columns import render_speed
from tests.unit.cli.conftest import Run

BEFORE = InterfaceCounters(1 << 20, 512, 10, 5, 1, 0, 0, 2)
WIRED = Interface(
    "eth0", 2, "ethernet", ("up", "running"), "up", "02:00:00:00:00:01", 1500, 2_500_000_000, "full",
    (InterfaceAddress("inet", "192.0.2.2", 24),), BEFORE, net_ns=7,
)  # fmt: skip
UNKNOWN = Interface(
    "wlan0\x1b[2J", 3, "wireless", (), "down", gaps=(Gap("speed_bits_s", Reason.UNAVAILABLE),), net_ns=7
)


@pytest.fixture(autouse=True)
def _interfaces(asked: Host) -> None:
    gained = replace(BEFORE, received_bytes=BEFORE.received_bytes + 10**9)
    asked.interfaces.answers.interfaces = [[WIRED, UNKNOWN], [replace(WIRED, counters=gained), UNKNOWN]]  # type: ignore[attr-defined]


def test_the_table_is_harmless_and_says_what_is_not_known(hostscope: Run) -> None:
    result = hostscope("interfaces")
    assert result.code == 0
    head, wired, unknown, *_ = result.out.splitlines()
    assert head.split()[:5] == ["NAME", "KIND", "STATE", "MTU", "SPEED"]
    assert wired.split() == [
        "eth0",
        "ethernet",
        "up",
        "1500",
        "2.5G",
        "1.0M",
        "512",
        "1",
        "2",
        "-",
        "-",
        "7",
        "192.0.2.2/24",
    ]
    assert "\x1b" not in result.out
    assert unknown.split()[:5] == [r"wlan0\x1b[2J", "wireless", "down", "-", "?"]


def test_filter_sort_and_json(hostscope: Run) -> None:
    result = hostscope(
        "interfaces", "--filter", "state == 'up' and speed_bits > 1000", "--sort", "-received", "--format", "json"
    )
    assert [row["name"] for row in json.loads(result.out)["rows"]] == ["eth0"]
    assert json.loads(result.out)["schema"] == "hostscope.interface/1"


def test_two_looks_show_rates(hostscope: Run) -> None:
    result = hostscope("interfaces", "--rates", "--interval", "0.05")
    assert result.out.splitlines()[0].split()[:4] == ["NAME", "KIND", "STATE", "RX/S"]
    assert result.out.splitlines()[1].split()[3][-1] == "G"
    (row, *_) = json.loads(hostscope("interfaces", "--rates", "--interval", "0.05", "--format", "json").out)["rows"]
    assert row["rates"] is not None


@pytest.mark.usefixtures("ticking")
def test_watching_shows_it_again(hostscope: Run) -> None:
    result = hostscope("interfaces", "--watch", "--interval", "0.05", "--duration", "3")
    assert result.out.count("NAME") == 2
    assert result.code == 0


def test_a_column_that_there_is_not(hostscope: Run) -> None:
    result = hostscope("interfaces", "--columns", "speeed")
    assert (result.code, result.err.splitlines()[1]) == (2, "hint: columns: speed, speed_bits")


@pytest.mark.parametrize(("bits", "text"), [(10**10, "10G"), (2_500_000_000, "2.5G"), (10**8, "100M"), (56_000, "56k")])
def test_speeds_are_decimal(bits: int, text: str) -> None:
    assert render_speed(bits) == text
