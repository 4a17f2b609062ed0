"""Capturing by raw sockets: scripted ones, which a selector can wait for as for real ones."""

import ctypes
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, NativeError, Unsupported, UsageError
from hostscope.model.capture import CaptureRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import capture, raw_socket
from hostscope.platforms.windows.capture import Capture, addresses_of
from hostscope.platforms.windows.native import netioapi, winsock
from hostscope.platforms.windows.native.library import set_last_error
from hostscope.platforms.windows.parse_network import Address
from hostscope.platforms.windows.parse_packets import ipv6_header, parse_destination, protocol_of
from hostscope.platforms.windows.raw_socket import RawSocket
from hostscope.wire.batch import PacketBatch
from hostscope.wire.decode import decode
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_network import Card, Stack, sockaddr
from tests.unit.platforms.windows.test_packet_filter_raw import IGMP, TCP, UDP, packet

LAN = Card("Ethernet", 12, addresses=(("169.254.1.1", 16), ("192.0.2.1", 24), ("fe80::1%12", 64), ("2001:db8::1", 64)))
LOOPBACK = Card("Loopback", 1, type=24, addresses=(("127.0.0.1", 8),))
DOWN, BARE = Card("Wi-Fi", 13, state=2, addresses=(("192.0.2.9", 24),)), Card("Bare", 14)


class Wire:
    """A socket of the standard library as Windows has it, whose packets come from a UDP socket beside it."""

    made: list["Wire"]
    refuse: dict[str, int]

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self.family, self.asked = family, (int(family), int(kind), protocol)
        self.calls: list[tuple[Any, ...]] = []
        self._check("socket6" if family == socket.AF_INET6 else "socket")
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inner.bind(("127.0.0.1", 0))
        self._inner.setblocking(False)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.connect(self._inner.getsockname())
        Wire.made.append(self)

    def _check(self, call: str) -> None:
        if code := Wire.refuse.get(call):
            failed = OSError(code, f"{call} was refused")
            failed.winerror = code  # type: ignore[attr-defined, unused-ignore]
            raise failed

    def pass_by(self, *packets: bytes) -> None:
        """Something to hear; it waits in the socket from now on."""
        for one in packets:
            self._sender.send(one)

    def fileno(self) -> int:
        return self._inner.fileno()

    def bind(self, address: Any) -> None:
        self.calls.append(("bind", address))
        self._check("bind")

    def setsockopt(self, *option: int) -> None:
        self.calls.append(("setsockopt", *option))

    def setblocking(self, flag: bool) -> None:
        self.calls.append(("setblocking", flag))

    def ioctl(self, control: int, option: int) -> None:
        self.calls.append(("ioctl", control, option))
        self._check("ioctl")

    def recv_into(self, buffer: memoryview) -> int:
        self._check("receive")
        return self._inner.recv_into(buffer)

    def close(self) -> None:
        self.calls.append(("close",))
        self._inner.close()
        self._sender.close()


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wire]]:
    Wire.made, Wire.refuse = [], {}

    def receive(handle: int, message: Any, size: Any, overlapped: Any, done: Any) -> int:
        """WSARecvMsg: payload from the wire behind the handle, with its ends."""
        wire = next(one for one in Wire.made if one.fileno() == handle)
        try:
            raw = wire._inner.recv(65535)
        except BlockingIOError:
            set_last_error(winsock.WSAEWOULDBLOCK)
            return -1
        told = message.contents
        payload, source, destination = raw[40:], raw[8:24], raw[24:40]
        ctypes.memmove(told.lpBuffers.contents.buf, payload, len(payload))
        size.contents.value = len(payload)
        name = sockaddr(str(ip_address(source)))
        ctypes.memmove(told.name, name, len(name))
        told.namelen = len(name)
        control = struct.pack("<Qii", 36, 41, 19) + destination + struct.pack("<I", 12)
        ctypes.memmove(told.Control.buf, control, len(control))
        told.Control.len = len(control)
        return 0

    pointer = winsock._receive(receive)

    def control(handle: int, code: int, given: Any, b: int, found: Any, d: int, size: Any, *_: Any) -> int:
        assert code == winsock.SIO_GET_EXTENSION_FUNCTION_POINTER
        ctypes.cast(found, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.cast(pointer, ctypes.c_void_p).value
        return 0

    script(monkeypatch, winsock.ws2_32, WSAIoctl=control)
    monkeypatch.setattr(raw_socket, "_made", lambda six: Wire(*_asked(six)))
    monkeypatch.setattr(capture, "WAIT_S", 0.001)
    stack = Stack([LAN, LOOPBACK, DOWN, BARE])
    script(monkeypatch, netioapi.iphlpapi, GetAdaptersAddresses=stack.ask_adapters)
    yield Wire.made
    for one in Wire.made:
        one._inner.close()
        one._sender.close()


def _asked(six: bool) -> tuple[int, int, int]:
    family = socket.AF_INET6 if six else socket.AF_INET
    return family, socket.SOCK_RAW, 41 if six else 0


def of(raw: bytes) -> bytes:
    """A packet with the checksum that a sender makes."""
    if raw[0] >> 4 == 4:
        return raw
    body, at = bytearray(raw[40:]), {TCP: 16, UDP: 6, 58: 2}[raw[6]]
    body[at : at + 2] = b"\0\0"
    pseudo = raw[8:40] + struct.pack(">II", len(body), raw[6])
    total = sum(struct.unpack(f">{(len(pseudo) + len(body)) // 2}H", pseudo + bytes(body)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")
    return raw[:40] + bytes(body)


FOUR = packet("192.0.2.1", "198.51.100.7", TCP, (49152, 443))
SIX = of(packet("2001:db8::1", "2001:db8::53", UDP, (5000, 53)))


def heard(source: Any, stop: threading.Event) -> list[tuple[bytes, int, str]]:
    """Everything until the stop: bytes, length, interface."""
    stop.set()
    return [
        (batch.packet(row), int(batch.lengths[row]), source.interfaces[batch.interface[row]].name)
        for batch in source.batches(stop)
        for row in range(len(batch))
    ]


def test_one_socket_for_each_family_of_an_interface(wires: list[Wire]) -> None:
    tally = Tally()
    with Capture().open(CaptureRequest(ring_bytes=8 << 20), tally) as source:
        four, six = wires
        assert [(one.name, one.index, one.link) for one in source.interfaces] == [("Ethernet", 12, 101)]
        assert four.asked == (int(socket.AF_INET), int(socket.SOCK_RAW), 0)
        assert ("bind", ("192.0.2.1", 0)) in four.calls and ("bind", ("2001:db8::1", 0, 0, 0)) in six.calls
        assert ("setsockopt", socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20) in four.calls
        assert four.calls[-1] == ("ioctl", winsock.SIO_RCVALL, winsock.RCVALL_IPLEVEL)
        assert ("setsockopt", 41, winsock.IPV6_PKTINFO, 1) in six.calls
    for one in wires:
        assert one.calls[-2:] == [("ioctl", winsock.SIO_RCVALL, winsock.RCVALL_OFF), ("close",)]
    assert tally.method == "raw-sockets" and tally.effects == ["raw sockets on Ethernet"]
    assert capture.LOST in tally.notes and capture.MADE_UP in tally.notes


def test_packets_of_both_families(wires: list[Wire]) -> None:
    stop = threading.Event()
    with Capture().open(CaptureRequest(), Tally()) as source:
        wires[0].pass_by(FOUR)
        wires[1].pass_by(SIX)
        found = {raw[0] >> 4: (raw, length, name) for raw, length, name in heard(source, stop)}
        assert found[4] == (FOUR, len(FOUR), "Ethernet")
        assert found[6][0][8:] == SIX[8:] and found[6][0][6] == UDP and found[6][0][7] == 0
        (counts,) = source.counts()
        assert (counts.interface, counts.received, counts.dropped) == ("Ethernet", 2, None)


def test_batches_decode_as_those_of_any_capture(wires: list[Wire]) -> None:
    stop = threading.Event()
    with Capture().open(CaptureRequest(), Tally()) as source:
        wires[0].pass_by(FOUR)
        batches = [batch for batch in source.batches(stop) if len(batch) or stop.set()]
    decoded = decode(batches[0])
    assert len(batches) == 1 and len(decoded) == 1


def test_live_captures_tick_while_nothing_passes(wires: list[Wire]) -> None:
    stop = threading.Event()
    with Capture().open(CaptureRequest(), Tally()) as source:
        batches = source.batches(stop)
        assert len(next(batches)) == 0 and len(next(batches)) == 0
        wires[0].pass_by(FOUR)
        assert len(first_of(batches)) == 1
        stop.set()
        assert [len(batch) for batch in batches] == []


def first_of(batches: Iterator[PacketBatch]) -> PacketBatch:
    return next(batch for batch in batches if len(batch))


def test_snap_lengths(wires: list[Wire]) -> None:
    with Capture().open(CaptureRequest(snap_bytes=30), Tally()) as source:
        wires[0].pass_by(FOUR, FOUR)
        found = heard(source, threading.Event())
    assert found == [(FOUR[:30], len(FOUR), "Ethernet")] * 2


def test_filters(wires: list[Wire]) -> None:
    tally = Tally()
    with Capture().open(CaptureRequest(bpf="udp"), tally) as source:
        wires[0].pass_by(FOUR, packet("192.0.2.1", "192.0.2.53", UDP, (1, 53)))
        assert len(heard(source, threading.Event())) == 1
        assert source.counts()[0].received == 1
    assert "1 packets did not pass the filter" in tally.notes


def test_other_protocols_are_left_out_unless_asked_for(wires: list[Wire]) -> None:
    group = packet("192.0.2.1", "224.0.0.22", IGMP)
    for bpf, count in ((None, 0), ("ip", 1)):
        wires.clear()
        with Capture().open(CaptureRequest(bpf=bpf), Tally()) as source:
            wires[0].pass_by(group)
            assert len(heard(source, threading.Event())) == count


def test_ipv6_packets_that_cannot_be_told_are_counted(wires: list[Wire]) -> None:
    tally = Tally()
    with Capture().open(CaptureRequest(), tally) as source:
        wires[1].pass_by(SIX[:40] + b"\0" * 30)
        assert heard(source, threading.Event()) == []
    assert any("1 IPv6 packets are left out" in note for note in tally.notes)


def test_promiscuous_mode(wires: list[Wire]) -> None:
    tally = Tally()
    with Capture().open(CaptureRequest(promiscuous=True), tally):
        assert wires[0].calls[-1] == ("ioctl", winsock.SIO_RCVALL, winsock.RCVALL_ON)
    assert "promiscuous mode on Ethernet" in tally.effects


def test_an_interface_that_goes_down_ends_the_capture(wires: list[Wire]) -> None:
    tally = Tally()
    Wire.refuse["socket6"] = winsock.WSAEAFNOSUPPORT
    with Capture().open(CaptureRequest(), tally) as source:
        wires[0].pass_by(FOUR)
        Wire.refuse["receive"] = winsock.WSAENETDOWN
        assert sum(len(batch) for batch in source.batches(threading.Event())) == 0
    assert any("Ethernet is not heard any more" in note for note in tally.notes)
    assert any("inet6 is not captured" in note for note in tally.notes)


@pytest.mark.parametrize(("call", "code", "error"), [
    ("socket", winsock.WSAEACCES, Denied), ("ioctl", winsock.WSAEACCES, Denied),
    ("socket", winsock.WSAEPROTONOSUPPORT, Unsupported), ("ioctl", winsock.WSAEOPNOTSUPP, Unsupported),
    ("bind", winsock.WSAEADDRNOTAVAIL, NativeError),
])  # fmt: skip
def test_refusals_leave_nothing_open(wires: list[Wire], call: str, code: int, error: type[Exception]) -> None:
    Wire.refuse = {call: code, "socket6": code}
    with pytest.raises(error), Capture().open(CaptureRequest(), Tally()):
        pass
    assert all(one.calls[-1] == ("close",) for one in wires)


@pytest.mark.parametrize(("names", "error"), [
    (("nowhere",), UsageError), (("Wi-Fi",), UsageError), (("Bare",), UsageError), (("Loopback",), Unsupported),
])  # fmt: skip
def test_interfaces_that_cannot_be_captured(wires: list[Wire], names: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error), Capture().open(CaptureRequest(interfaces=names), Tally()):
        pass


def test_interfaces_by_name_guid_or_all(wires: list[Wire]) -> None:
    for names in (("Ethernet",), (LAN.guid,), ("any",), ()):
        with Capture().open(CaptureRequest(interfaces=names), Tally()) as source:
            assert [one.name for one in source.interfaces] == ["Ethernet"]


def test_namespaces_and_libpcaps_filters_are_unsupported(wires: list[Wire]) -> None:
    with pytest.raises(Unsupported, match="no network namespaces"):
        Capture().open(CaptureRequest(namespace="1"), Tally()).__enter__()
    with pytest.raises(Unsupported, match="libpcap"):
        Capture().open(CaptureRequest(bpf="vlan 7"), Tally()).__enter__()
    assert not wires


def test_addresses_to_bind_to() -> None:
    addresses = tuple(Address(text, 0, 0, 0) for text, _ in (("169.254.1.1", 1), ("192.0.2.1", 1), ("192.0.2.2", 1)))
    from hostscope.platforms.windows.parse_network import parse_adapters
    from tests.unit.platforms.windows.scripted_network import adapters

    (adapter,) = parse_adapters(adapters([LAN], 1 << 32), 1 << 32)
    assert [one.text for one in addresses_of(adapter)] == ["192.0.2.1", "2001:db8::1"] and addresses


def test_a_raw_socket_that_cannot_receive_with_ends_is_closed(
    wires: list[Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, winsock.ws2_32, WSAIoctl=lambda *_: -1)
    set_last_error(winsock.WSAEOPNOTSUPP)
    with pytest.raises(OSError):
        RawSocket(Address("2001:db8::1", 64, 0, 0), winsock.RCVALL_ON, 1)
    assert wires[-1].calls[-1] == ("close",)


# Bytes ----------------------------------------------------------------------------------------------------------------

ENDS = ip_address("2001:db8::1").packed, ip_address("2001:db8::2").packed


@pytest.mark.parametrize("protocol", [TCP, UDP, 58])
def test_checksums_tell_the_protocol(protocol: int) -> None:
    raw = bytearray(of(packet("2001:db8::1", "2001:db8::2", protocol, (4000, 53))))
    assert protocol_of(bytes(raw[40:]), *ENDS) == protocol


def test_packets_whose_checksum_is_not_made_yet() -> None:
    datagram = struct.pack(">HHHH", 5000, 53, 12, 0xBEEF) + b"\1\2\3\4"
    segment = struct.pack(">HHIIBBHHH", 5000, 443, 1, 2, 0x50, 0x18, 100, 0xBEEF, 0) + b"data"
    assert protocol_of(datagram, *ENDS) == UDP
    assert protocol_of(segment, *ENDS) == TCP
    for flags in (0x00, 0x03, 0x06, 0x01):  # nothing at all, SYN and FIN, SYN and RST, FIN alone
        wrong = segment[:13] + bytes([flags]) + segment[14:]
        assert protocol_of(wrong, *ENDS) is None


@given(st.binary(max_size=100))
def test_any_payload_has_a_protocol_or_none(payload: bytes) -> None:
    assert protocol_of(payload, *ENDS) in (TCP, UDP, 58, None)


def test_the_header_that_is_made_up() -> None:
    assert ipv6_header(20, TCP, *ENDS) == struct.pack(">IHBB", 6 << 28, 20, TCP, 0) + ENDS[0] + ENDS[1]
    assert ipv6_header(70_000, None, *ENDS)[4:7] == b"\xff\xff\x3b"


def test_destinations() -> None:
    assert ctypes.sizeof(winsock.WSACMSGHDR) == 16 and ctypes.sizeof(winsock.IN6_PKTINFO) == 20
    other = struct.pack("<Qii", 20, 41, 21) + b"\7\0\0\0" + bytes(4)
    ours = struct.pack("<Qii", 36, 41, 19) + ENDS[1] + b"\x0c\0\0\0"
    assert parse_destination(ours) == ENDS[1]
    assert parse_destination(other + ours) == ENDS[1]
    assert parse_destination(other) is None and parse_destination(ours[:30]) is None


@given(st.binary(max_size=300))
def test_any_control_bytes(control: bytes) -> None:
    found = parse_destination(control)
    assert found is None or found in control
