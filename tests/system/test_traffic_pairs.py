"""The kernel's table of pairs of a process and a socket: crowded, contended, emptied and used again, to the byte."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostscope.model.traffic import Counts, Flow
from hostscope.platforms.linux import count_table, pair_table
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.payload_meter import PayloadMeter
from hostscope.platforms.linux.program_cache import load_image
from tests.system import talkers
from tests.system.commands import need

pytestmark = [pytest.mark.system, pytest.mark.root]

Payloads = dict[int, list[Counts | None]]
"""By the socket's cookie; more than one of a socket that was taken for two."""


@contextmanager
def counting(most: int = 65_536, **entries: int) -> Iterator[PayloadMeter]:
    """A meter whose maps have so many elements."""
    with Programs(load_image("traffic").image, entries={**pair_table.sizes(most), **entries}) as programs:
        yield PayloadMeter(programs, read_boot())


def sent_by(flows: tuple[Flow, ...], pid: int) -> Payloads:
    """What a process did with each of its connected sockets."""
    found: Payloads = {}
    for flow in flows:
        if flow.key and flow.key.pid == pid and flow.remote:
            found.setdefault(flow.cookie or 0, []).append(flow.payload)
    return found


def told_by(told: Any) -> Payloads:
    """The same of what a talker says that it sent, in datagrams of 10 bytes."""
    return {int(cookie): [Counts(10 * number, 0, number, 0)] for cookie, number in told["times"].items()}


def total(payloads: Payloads) -> Counts:
    return sum((one for several in payloads.values() for one in several if one), Counts())


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whatever was not used in the last tick is idle, and its element is free again when it is next looked at."""
    monkeypatch.setattr(count_table, "IDLE_S", 0)
    monkeypatch.setattr(pair_table, "LEAVING_NS", 0)
    return monkeypatch


@pytest.mark.parametrize("recent", [65_536, 4, 1])
def test_sockets_that_share_a_slot_are_told_apart(recent: int) -> None:
    """Among so many, dozens fight for a slot; where the map has nearly no slots, each send looks into the hash."""
    with counting(recent=recent) as meter:
        told = talkers.talk("crowd", 3000, 3)
        assert sent_by(meter.flows(), told["pid"]) == told_by(told)


def test_what_finds_no_room_is_counted_and_what_found_it_is_exact() -> None:
    with counting(most=100) as meter:
        told = talkers.talk("crowd", 400, 3)
        found, lost = sent_by(meter.flows(), told["pid"]), meter.lost()
    wanted = told_by(told)
    assert 0 < len(found) <= 100
    assert found.items() <= wanted.items()
    assert lost.sent_bytes >= total(wanted).sent_bytes - total(found).sent_bytes
    assert lost.sent_packets >= total(wanted).sent_packets - total(found).sent_packets


def test_elements_are_used_again_and_nothing_is_mixed_up(restless: pytest.MonkeyPatch) -> None:
    """Short-lived sockets go through a table with room for six rounds of them; what is taken out is kept, then
    dropped, and then still a part of the sum."""
    with counting(most=2000) as meter, talkers.start("crowds", 30, 300) as child:
        for turn in range(30):
            told = talkers.said(child)
            wanted, reading = told_by(told), meter.read()
            found = sent_by(reading.flows, told["pid"])
            assert found.items() <= wanted.items()
            assert len(found) == len(wanted) or turn > 5
            talkers.go_on(child)
        talkers.end(child)
    assert reading.lost == Counts()
    assert len(found) < 4000 < len(wanted)
    assert reading.evicted.sent_packets > 0
    assert total(wanted).sent_bytes <= (total(found) + reading.evicted).sent_bytes
    assert total(wanted).sent_packets <= (total(found) + reading.evicted).sent_packets


@pytest.mark.parametrize("leaving_ns", [0, 1_000_000, 1_000_000_000])
def test_what_is_taken_out_and_comes_back_goes_on(leaving_ns: int, restless: pytest.MonkeyPatch) -> None:
    """At each look all idle sockets are taken out, whatever the table has room for."""
    restless.setattr(pair_table, "LEAVING_NS", leaving_ns)
    restless.setattr(count_table, "_CROWDED", 0)
    restless.setattr(count_table, "_ROOMY", 0)
    with counting() as meter, talkers.start("crowd", 500, 20, "wait") as child:
        for _ in range(20):
            told = talkers.said(child)
            assert sent_by(meter.flows(), told["pid"]) == told_by(told)
            talkers.go_on(child)
        talkers.end(child)
        assert sent_by(meter.flows(), told["pid"]) == told_by(told)
        assert meter.lost() == Counts()


def test_a_socket_of_two_processes_is_two_pairs() -> None:
    with counting() as meter:
        told = talkers.talk("inherited", 10)
        flows = meter.flows()
    parent, child = (sent_by(flows, told[who]) for who in ("pid", "child"))
    assert parent.keys() == child.keys()
    assert list(parent.values()) == [[Counts(30, 0, 3, 0)]]
    assert list(child.values()) == [[Counts(50, 0, 5, 0)]]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.parametrize(("sockets", "times"), [(4000, 1), (2, 100_000)])
def test_two_processors_at_one_socket(sockets: int, times: int, tmp_path: Path) -> None:
    """They begin at the same moment thousands of times, and add to the same numbers hundreds of thousands of times."""
    program = tmp_path / "socket_race"
    source = Path(__file__).with_name("socket_race.c")
    subprocess.run([need("gcc", "gcc"), "-O2", "-pthread", "-o", program, source], check=True)
    with counting() as meter:
        done = subprocess.run([program, str(sockets), str(times), "7"], stdout=subprocess.PIPE, check=True, timeout=100)
        told = json.loads(done.stdout)
        found = sent_by(meter.flows(), told["pid"])
    assert found == {cookie: [Counts(14 * times, 0, 2 * times, 0)] for cookie in told["cookies"]}
