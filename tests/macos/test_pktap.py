"""Packets of all interfaces by PKTAP, on the scripted system: whose they are, filters, and what stays of it."""

# Fixtures of another file are imports that arguments name again.
# ruff: noqa: F401, F811

import ctypes.util
import struct
import threading
from typing import Any

import pytest

from hostscope.audit import AuditTrail, this_process
from hostscope.errors import Unsupported, UsageError
from hostscope.model.capture import CaptureRequest
from hostscope.platforms.macos.capture import Capture
from hostscope.platforms.macos.native import bpf, pcap, pktap
from hostscope.platforms.macos.privileges import Privileges
from hostscope.platforms.tally import Tally
from tests.macos.scripted import Darwin
from tests.macos.test_network import Devices, capture, devices, links, taken, tap
from tests.unit.platforms.macos.network_bytes import bpf_packet, pktap_v1, pktap_v2


@pytest.mark.parametrize("name", ["pktap", "any"])
def test_pktap_is_made_and_taken_away(devices: Devices, tap: list[Any], name: str) -> None:
    with capture().open(CaptureRequest(interfaces=(name,)), Tally()) as source:
        assert [(one.name, one.link) for one in source.interfaces] == [
            ("pktap7", 258), ("lo0", 0), ("en0", 1), ("en5", 1),
        ]  # fmt: skip
    names = [name for name, _ in tap]
    assert [names.index(one) for one in ("made", "shown", "wanted", "bind", "destroyed")] == sorted(
        names.index(one) for one in ("made", "shown", "wanted", "bind", "destroyed")
    )
    assert ("filter", ((6, 0, 0, 262_144 + 192),)) in tap


def test_packets_of_pktap_have_interface_direction_and_process(darwin: Darwin, devices: Devices, tap: Any) -> None:
    darwin.add(5, comm=b"curl")
    darwin.add(6, comm=b"nsurlsessiond")
    with capture().open(CaptureRequest(interfaces=("pktap",), snap_bytes=5), Tally()) as source:
        devices.give(
            bpf_packet(pktap_v1(1, 5, b"curl", b"en0", 2) + b"frame, cut", 1, 1),
            bpf_packet(pktap_v1(1, 6, b"nsurlsessiond", b"en0", 1, effective=5) + b"frame", 1, 2),
            bpf_packet(pktap_v1(0, 77, b"gone", b"lo0", 1) + b"looped", 1, 3),
            bpf_packet(pktap_v1(1, 5, b"other", b"en0", 2) + b"reused", 1, 4),
            bpf_packet(pktap_v1(1, 5, b"curl", b"en9", 2) + b"later", 1, 5),
        )
        ours, looped, reused = taken(source, threading.Event())
        counted = {one.interface: (one.received, one.dropped) for one in source.counts()}
    assert [bytes(ours.data[at : at + size]) for at, size in zip(ours.offsets, ours.captured, strict=True)] == [
        b"frame", b"frame",
    ]  # fmt: skip
    assert (ours.lengths.tolist(), ours.flags.tolist(), ours.link, ours.lost) == ([10, 5], [2, 1], 1, 2)
    assert [owner and owner.key.pid for owner in ours.owners] == [5, 5]
    assert [source.interfaces[batch.interface[0]].name for batch in (ours, looped, reused)] == ["en0", "lo0", "en0"]
    assert (looped.owners, reused.owners) == ((None,), (None,))
    assert counted == {"pktap7": (3, 3), "lo0": (1, 0), "en0": (3, 0), "en5": (0, 0)}


def test_a_kernel_without_headers_of_pktap(devices: Devices, tap: list[Any]) -> None:
    devices.links["pktap7"] = bpf.DLT_RAW
    with pytest.raises(Unsupported), capture().open(CaptureRequest(interfaces=("pktap",)), Tally()):
        pass


@pytest.fixture
def libpcap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of this system: its functions and numbers are those of macOS'."""
    found = ctypes.util.find_library("pcap")
    if found is None:
        pytest.skip("there is no libpcap here (libpcap0.8)")
    monkeypatch.setattr(pcap, "pcap", pcap.Library(found, pcap.SIGNATURES))


def tcp(port: int) -> bytes:
    """A packet to that port."""
    network = struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + bytes([192, 168, 1, 5, 93, 184, 216, 34])
    return network + struct.pack(">HHIIBBHHH", 50000, port, 1, 0, 0x50, 0x10, 100, 0, 0)


def of_en0(port: int) -> bytes:
    return pktap_v1(1, 5, b"curl", b"en0", 2) + bytes(12) + b"\x08\x00" + tcp(port)


def of_lo0(port: int) -> bytes:
    return pktap_v1(0, 5, b"curl", b"lo0", 2) + b"\x02\0\0\0" + tcp(port)


def test_a_filter_is_asked_of_packets_behind_pktaps_headers(
    darwin: Darwin, devices: Devices, tap: list[Any], libpcap: None
) -> None:
    """Of each by what its own interface's packets begin with; libpcap itself says what fits."""
    darwin.add(5, comm=b"curl")
    tally = Tally()
    with capture().open(CaptureRequest(interfaces=("pktap",), bpf="tcp port 443", snap_bytes=20), tally) as source:
        assert ("filter", ((6, 0, 0, 262_144 + 192),)) in tap  # the kernel lets all through, and uncut
        second = pktap_v2(1, 5, b"curl", b"en0", 2) + bytes(12) + b"\x08\x00" + tcp(443)
        frames = of_en0(443), of_en0(80), of_lo0(443), of_lo0(80), second
        devices.give(*(bpf_packet(frame, 1, number) for number, frame in enumerate(frames)))
        found = taken(source, threading.Event())
        counted = {one.interface: (one.received, one.dropped) for one in source.counts()}
    assert [(source.interfaces[batch.interface[0]].name, len(batch)) for batch in found] == [
        ("en0", 1), ("lo0", 1), ("en0", 1),
    ]  # fmt: skip
    assert [batch.captured.tolist() for batch in found] == [[20], [20], [20]]
    assert counted == {"pktap7": (2, 2), "lo0": (1, 0), "en0": (2, 0), "en5": (0, 0)}
    assert tally.notes == []


def test_what_libpcap_rejects_leaves_no_interface_behind(devices: Devices, tap: list[Any], libpcap: None) -> None:
    with (
        pytest.raises(UsageError, match="bad filter"),
        capture().open(CaptureRequest(interfaces=("pktap",), bpf="no such words"), Tally()),
    ):
        pass
    assert tap[-1] == ("destroyed", "pktap7")


def test_interfaces_for_which_a_filter_makes_no_sense_are_named(devices: Devices, tap: Any, libpcap: None) -> None:
    tally = Tally()
    with capture().open(CaptureRequest(interfaces=("pktap",), bpf="ether host 02:00:00:00:00:01"), tally):
        assert tally.notes == ["the filter makes no sense for packets of lo0: none of them are shown"]


def test_losses_wait_for_a_packet_that_fits(darwin: Darwin, devices: Devices, tap: list[Any], libpcap: None) -> None:
    with capture().open(CaptureRequest(interfaces=("pktap",), bpf="tcp port 443"), Tally()) as source:
        (channel,) = source._channels  # type: ignore[attr-defined]
        assert list(channel.batches(bpf_packet(of_en0(80), 1, 1), 0, 3)) == []
        (batch,) = channel.batches(bpf_packet(of_en0(443), 1, 2), 0, 1)
        assert batch.lost == 4


def test_packets_with_processes_where_they_are_wanted(darwin: Darwin, devices: Devices, tap: list[Any]) -> None:
    """Loopback keeps a device of its own, and of the tap come the packets of wanted interfaces only."""
    darwin.add(5, comm=b"curl")
    tally = Tally()
    with capture().open(CaptureRequest(owners=True), tally) as source:
        assert [one.name for one in source.interfaces] == ["lo0", "pktap7", "en0"]
        devices.give(bpf_packet(of_en0(443), 1, 1), bpf_packet(of_lo0(443), 1, 2), to="pktap7")
        devices.give(bpf_packet(b"once", 1, 3), to="lo0")
        looped, ours = taken(source, threading.Event())
        counted = {one.interface: (one.received, one.dropped) for one in source.counts()}
    assert (looped.packet(0), looped.owners) == (b"once", None)
    assert [owner and owner.key.pid for owner in ours.owners or ()] == [5]
    assert source.interfaces[ours.interface[0]].name == "en0"
    assert counted == {"lo0": (7, 2), "pktap7": (2, 2), "en0": (1, 0)}
    assert tally.notes == ["packets say whose they are (PKTAP), but those of loopback"]
    assert ("destroyed", "pktap7") in tap


def test_without_pktap_packets_come_from_each_interface(devices: Devices) -> None:
    tally = Tally()
    with capture().open(CaptureRequest(owners=True), tally) as source:
        assert [one.name for one in source.interfaces] == ["lo0", "en0"]
    assert "do not say whose they are" in tally.notes[0]
    assert not [effect for effect in tally.effects if "was made" in effect]


def test_nothing_is_tapped_for_loopback_alone(devices: Devices, tap: list[Any]) -> None:
    with capture().open(CaptureRequest(interfaces=("lo0",), owners=True), Tally()) as source:
        assert [one.name for one in source.interfaces] == ["lo0"]
    assert "made" not in [name for name, _ in tap]


class Invoked:
    """Somebody's sudo."""

    def __init__(self) -> None:
        self.uid, self.given_up = 0, False

    def effective(self) -> int:
        return self.uid

    def invoker(self) -> tuple[int, int]:
        return 501, 20

    def become(self, uid: int) -> None:
        self.uid = uid

    def become_for_good(self, uid: int, gid: int) -> None:
        self.uid, self.given_up = uid, True


@pytest.mark.parametrize("interface", ["pktap", "en0"])
def test_who_must_take_an_interface_away_does_not_give_root_up(
    darwin: Darwin, devices: Devices, tap: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, interface: str
) -> None:
    identity = Invoked()
    privileges = Privileges(AuditTrail(tmp_path / "audit.jsonl", this_process()), identity)
    privileges.limit_to("capture")
    ended: list[int] = []
    monkeypatch.setattr(bpf, "destroy_interface", lambda fd, name: ended.append(identity.uid))
    with Capture(dict, privileges).open(CaptureRequest(interfaces=(interface,)), Tally()):
        privileges.settle("named")
        assert (identity.uid, identity.given_up) == (501, interface == "en0")
    assert (ended, identity.uid) == ([0] if interface == "pktap" else [], 501)
    assert any("not given up" in note for note in privileges.notes) is (interface == "pktap")
