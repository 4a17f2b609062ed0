"""Sockets, interfaces, resolvers and traffic, on the scripted system."""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.errors import Denied, NativeError, Unavailable, Unsupported, UsageError
from hostscope.model.capture import CaptureRequest
from hostscope.model.gap import Reason
from hostscope.model.process import Account
from hostscope.model.socket import SocketRequest
from hostscope.model.traffic import Counts, TrafficRequest
from hostscope.platforms.macos import capture as captures
from hostscope.platforms.macos import interfaces, network_statistics, packet_device, parse_route_table
from hostscope.platforms.macos.capture import Capture
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.interfaces import TABLE, TOTALS, WHERE, Interfaces
from hostscope.platforms.macos.native import bpf, errnos, kernel_control, pcap, pktap, routes
from hostscope.platforms.macos.owners import owners_of
from hostscope.platforms.macos.parse_dnsinfo import Configured
from hostscope.platforms.macos.resolvers import Resolvers
from hostscope.platforms.macos.sockets import Sockets
from hostscope.platforms.macos.traffic import Traffic
from hostscope.platforms.tally import Tally
from tests.macos.scripted import Darwin
from tests.unit.platforms.macos.network_bytes import (
    address_message,
    bpf_packet,
    fdinfo,
    inet_part,
    link_message,
    mib_record,
    ntstat_message,
    ntstat_update,
    pcb,
    pcblist,
    route_message,
    unix_part,
)

SOCKET = 2
LOCAL, REMOTE = ("192.168.1.5", 50000), ("93.184.216.34", 443)


@pytest.fixture
def sockets(darwin: Darwin, monkeypatch: pytest.MonkeyPatch) -> Sockets:
    darwin.value("net.inet.tcp.pcblist_n", pcblist())
    darwin.value("net.inet.udp.pcblist_n", pcblist())
    return Sockets(owners_of(read_boot()), lambda uid: Account(str(uid), "ann" if uid == 501 else None))


class Descriptors:
    """Sockets of scripted processes; the scripted library takes struct socket_info."""

    def __init__(self, darwin: Darwin) -> None:
        self._darwin, self._kept = darwin, list[Any]()

    def process(self, pid: int, infos: dict[int, bytes], **fields: Any) -> None:
        made = []
        for fd, info in infos.items():
            buffer = ctypes.create_string_buffer(info[24:], len(info))
            self._kept.append(buffer)
            made.append({"fd": fd, "type": SOCKET, "socket": ctypes.addressof(buffer)})
        self._darwin.add(pid, fds=made, **fields)


@pytest.fixture
def descriptors(darwin: Darwin) -> Descriptors:
    return Descriptors(darwin)


def rows(sockets: Sockets, **fields: Any) -> tuple[list[Any], Tally]:
    tally = Tally()
    return list(sockets.sweep(SocketRequest(**fields), tally)), tally


def connected(generation: int = 4, so: int = 0xBEEF) -> bytes:
    return fdinfo(2, so, 2, 1, 6, inet_part(LOCAL, REMOTE, generation, state=4), received=1)


def test_sockets_have_their_holders(darwin: Darwin, descriptors: Descriptors, sockets: Sockets) -> None:
    descriptors.process(100, {5: connected(), 3: connected()}, comm=b"curl")
    descriptors.process(101, {9: connected()}, comm=b"child", ppid=100)
    darwin.value("net.inet.tcp.pcblist_n", pcblist(pcb(LOCAL, REMOTE, generation=4, state=4, uid=501)))
    found, tally = rows(sockets)
    (row,) = found
    assert [(owner.key.pid, owner.name, owner.fd) for owner in row.owners] == [(100, "curl", 3), (101, "child", 9)]
    assert (row.state, row.direction, row.user) == ("established", "outbound", Account("501", "ann"))
    assert (tally.method, tally.seen, tally.denied) == ("libproc", 1, 0)


def test_a_socket_of_a_process_that_may_not_be_looked_at(
    darwin: Darwin, descriptors: Descriptors, sockets: Sockets
) -> None:
    descriptors.process(100, {3: connected()})
    darwin.fail("PIDINFO", errnos.EPERM, 100, 1)
    raw = pcblist(pcb(LOCAL, REMOTE, generation=4, state=4), pcb(("0.0.0.0", 22), generation=5, state=10))
    darwin.value("net.inet.tcp.pcblist_n", raw)
    found, tally = rows(sockets)
    assert [(row.state, row.owners) for row in found] == [("established", None), ("time-wait", ())]
    assert [gap.reason for gap in found[0].gaps if gap.field == "owners"] == [Reason.DENIED]
    assert tally.denied == 1


def test_a_process_that_dies_is_counted(darwin: Darwin, descriptors: Descriptors, sockets: Sockets) -> None:
    descriptors.process(100, {3: connected()})
    darwin.fail("PIDFDINFO", errnos.ESRCH, 100)
    found, tally = rows(sockets)
    assert (found, tally.vanished) == ([], 1)


def test_a_descriptor_that_was_closed_is_left_out(darwin: Darwin, descriptors: Descriptors, sockets: Sockets) -> None:
    descriptors.process(100, {3: connected()})
    darwin.fail("PIDFDINFO", errnos.EBADF, 100)
    found, tally = rows(sockets)
    assert (found, tally.vanished, tally.denied) == ([], 0, 0)


def test_the_lists_alone_have_no_holders(darwin: Darwin, sockets: Sockets) -> None:
    darwin.value("net.inet.udp.pcblist_n", pcblist(pcb(("0.0.0.0", 5353), generation=4)))
    (row,), tally = rows(sockets, method="pcblist")
    assert (row.owners, row.direction, tally.method) == (None, "listening", "pcblist")
    assert "not who holds it" in row.gaps[0].detail


def test_unix_sockets_are_those_of_processes(descriptors: Descriptors, sockets: Sockets) -> None:
    listener = fdinfo(3, 1, 1, 1, 0, unix_part(0, b"/var/run/x"), options=2, waiting=1, limit=5)
    descriptors.process(100, {3: listener, 4: fdinfo(3, 2, 1, 1, 0, unix_part(1, b""), status=2)})
    found, _ = rows(sockets, families=frozenset({"unix"}))
    assert [(row.state, row.backlog_limit, row.inode, row.peer_inode) for row in found] == [
        ("listen", 5, 1, None),
        ("connected", None, 2, 1),
    ]


def test_owners_of_a_port_are_listeners_first(descriptors: Descriptors, sockets: Sockets) -> None:
    listen = fdinfo(2, 1, 2, 1, 6, inet_part(("0.0.0.0", 50000), None, 1, state=1))
    descriptors.process(100, {3: connected()})
    descriptors.process(200, {3: listen})
    assert sockets.owners(50000) == (200, 100)
    assert sockets.owners(1) == ()


def test_an_unreadable_list_is_noted(darwin: Darwin, sockets: Sockets) -> None:
    darwin.value("net.inet.tcp.pcblist_n", b"short")
    _, tally = rows(sockets)
    assert tally.hidden and "pcblist_n" in tally.notes[0]


def test_methods_are_named(sockets: Sockets) -> None:
    with pytest.raises(UsageError, match="no method"):
        sockets.sweep(SocketRequest(method="diag"), Tally())


# Interfaces and resolvers ---------------------------------------------------------------------------------------------

LINKS = (
    link_message(b"lo0", 1, 0x18, 0x8049)
    + link_message(b"en0", 4, 0x6, 0x8863, bytes(6), in_=1000, out=500)
    + address_message(4, "192.168.1.5", bytes([7, 0, 0, 0, 255, 255, 255]))
    + link_message(b"en5", 6, 0x6, 0x8862)
)


@pytest.fixture
def links(darwin: Darwin, monkeypatch: pytest.MonkeyPatch) -> Darwin:
    darwin.numbers(WHERE, LINKS)
    media = {"en0": (3, 0x100080), "en5": (1, 0x20)}

    def read(descriptor: int, name: str) -> tuple[int, int]:
        if name not in media:
            raise OSError(errnos.EOPNOTSUPP, "no media")
        return media[name]

    monkeypatch.setattr(routes, "read_media", read)
    return darwin


def test_interfaces_tell_their_media(links: Darwin) -> None:
    lo, wireless, wired = Interfaces().interfaces(Tally())
    assert (lo.kind, lo.state) == ("loopback", "up")
    assert (wireless.kind, wireless.state, wireless.addresses[0].prefix) == ("wireless", "up", 24)
    assert (wired.kind, wired.state) == ("ethernet", "down")


ROUTES = (
    route_message(4, 0x803, "0.0.0.0", b"", "192.168.1.1")
    + route_message(4, 0x101, "192.168.1.0", bytes([7, 0, 0, 0, 255, 255, 255]), None)
    + route_message(4, 0x20405, "192.168.1.9", None, None)
    + route_message(4, 0x5, "192.168.1.5", None, None)
    + route_message(1, 0x5, "127.0.0.1", None, None)
    + route_message(4, 0x800101, "224.0.0.0", bytes([5, 0, 0, 0, 240]), None)
    + route_message(4, 0x803, "2001:db8::", bytes([12, 30, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]), "fe80::1")
)


def test_routes_stand_with_their_interface(links: Darwin) -> None:
    links.numbers(TABLE, ROUTES)
    lo, wireless, wired = Interfaces().interfaces(Tally())
    assert [(one.destination, one.gateway, one.metric) for one in wireless.routes] == [
        ("0.0.0.0/0", "192.168.1.1", None),
        ("192.168.1.0/24", None, None),
        ("2001:db8::/32", "fe80::1", None),
    ]
    assert ([one.destination for one in lo.routes], wired.routes, lo.gaps) == (["127.0.0.1/32"], (), ())


def test_a_refused_table_of_routes_is_a_gap(links: Darwin) -> None:
    """Where nothing was scripted the library answers ENOENT."""
    one, *_ = Interfaces().interfaces(Tally())
    assert [gap.field for gap in one.gaps] == ["routes"]


def test_a_table_that_is_too_long_is_a_gap(links: Darwin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_route_table, "MOST_ROUTES", 2)
    links.numbers(TABLE, ROUTES)
    one, *_ = Interfaces().interfaces(Tally())
    assert (one.routes, one.gaps) == (None, (interfaces.MANY_ROUTES,))


def test_bytes_beyond_32_bits_come_from_the_other_list(links: Darwin) -> None:
    links.numbers(TOTALS, mib_record(b"lo0", 1, 1) + mib_record(b"en0", 30_277_303_935, 5_000_000_000))
    _, wireless, wired = Interfaces().interfaces(Tally())
    assert (wireless.counters.received_bytes, wireless.counters.sent_bytes) == (30_277_303_935, 5_000_000_000)
    assert wired.counters.received_bytes == 0


def test_a_refused_list_is_denied(darwin: Darwin) -> None:
    darwin.fail("SYSCTL", errnos.EPERM)
    with pytest.raises(Denied):
        interfaces.read_links()


def test_resolvers_are_told_in_order(links: Darwin) -> None:
    scoped = Configured("corp.example", (("10.8.0.1", 0),), 5354, (), None, 5, 1, 4, 0x1000, True)
    main = Configured(None, (("127.0.0.1", 0), ("1.1.1.1", 853)), 0, ("lan",), None, 5, 200, 0, 0, False)
    multicast = Configured("local", (), 0, (), "mdns", 5, 300, 0, 0, False)
    found = list(Resolvers(lambda: (main, multicast, scoped)).resolvers(Tally()))
    assert [(one.address, one.port, one.stub, one.interface) for one in found] == [
        ("127.0.0.1", 53, True, None),
        ("1.1.1.1", 853, False, None),
        ("10.8.0.1", 5354, False, "en0"),
    ]
    assert (found[0].search, found[2].routes, found[2].options) == (("lan",), ("corp.example",), ("scoped",))


# Statistics -----------------------------------------------------------------------------------------------------------


class Kernel:
    """The other end of the statistics' socket, which answers as the kernel does."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket, self.refuse = ours, 0
        self.updates: list[bytes] = []
        self.parts = 1
        self.asked = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while raw := self._socket.recv(65536):
            context, kind, _, _ = struct.unpack_from("<QIHH", raw)
            if self.refuse:
                self._socket.send(ntstat_message(1, context, 0, struct.pack("<II", self.refuse, 0)))
                continue
            if kind == 1007:
                self.asked += 1
                for update in self.updates:
                    self._socket.send(update)
                self.parts, more = max(1, self.parts - 1), self.parts > 1
                self._socket.send(ntstat_message(0, context, 2 if more else 0))
            else:
                self._socket.send(ntstat_message(0, context))


@pytest.fixture
def kernel(links: Darwin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = Kernel(theirs)
    ours.setblocking(False)
    monkeypatch.setattr(kernel_control, "open_control", lambda name, room: ours.detach())
    yield made
    ours.close()
    theirs.shutdown(socket.SHUT_RDWR)
    made.thread.join(60)
    theirs.close()


def measure(**fields: Any) -> Any:
    return Traffic(owners_of(read_boot())).open(TrafficRequest(**fields), Tally())


def test_flows_count_from_when_the_meter_was_opened(kernel: Kernel, darwin: Darwin) -> None:
    darwin.add(100, comm=b"curl")
    kernel.updates = [ntstat_update(9, 2, 100, b"curl", LOCAL, REMOTE, (10, 4000, 5, 300))]
    with measure() as meter:
        darwin.numbers(WHERE, LINKS.replace(struct.pack("<Q", 1000), struct.pack("<Q", 9000)))
        kernel.updates = [
            ntstat_update(9, 2, 100, b"curl", LOCAL, REMOTE, (12, 4500, 6, 400), flags=4),
            ntstat_update(10, 4, 999, b"ended", ("0.0.0.0", 53), None, (1, 60, 1, 40)),
        ]
        reading = meter.read()
    first, second = reading.flows
    assert (first.key.pid, first.name, first.payload, first.closed) == (100, "curl", Counts(100, 500, 1, 2), True)
    assert (second.key, second.name, second.unknown, second.payload) == (None, "ended", "gone", Counts(40, 60, 1, 1))
    assert first.interface == "en0"
    assert (reading.ledger.interface_bytes, reading.ledger.lines[0].bytes) == (8000, 600)


def test_an_answer_in_parts_is_asked_for_again(kernel: Kernel) -> None:
    with measure() as meter:
        before, kernel.parts = kernel.asked, 3
        meter.read()
        assert kernel.asked - before == 3


def test_layouts_that_are_not_known_are_told(kernel: Kernel) -> None:
    with measure() as meter:
        kernel.updates = [ntstat_update(9, 2, 5, b"x", LOCAL, REMOTE, (1, 1, 1, 1))[:300]]
        kernel.updates = [update[:12] + struct.pack("<H", len(update)) + update[14:] for update in kernel.updates]
        assert meter.read().flows == ()
        assert "layout that is not known" in " ".join(meter._tally.notes)
        assert meter._tally.hidden


@pytest.mark.parametrize(("code", "error"), [(errnos.EPERM, Denied), (errnos.EINVAL, Unsupported)])
def test_a_kernel_that_refuses(kernel: Kernel, code: int, error: type[Exception]) -> None:
    kernel.refuse = code
    with pytest.raises(error), measure():
        pass


def test_a_kernel_that_does_not_answer(links: Darwin, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(kernel_control, "open_control", lambda name, room: ours.detach())
    monkeypatch.setattr(network_statistics, "ANSWER_S", 0.01)
    with closing_both(theirs, ours), pytest.raises(Unsupported), measure():
        pass


@contextmanager
def closing_both(*made: socket.socket) -> Iterator[None]:
    try:
        yield
    finally:
        for one in made:
            one.close()


@pytest.mark.parametrize(("code", "error"), [(errnos.EPERM, Denied), (errnos.ENOENT, Unsupported)])
def test_statistics_that_cannot_be_opened(
    links: Darwin, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    def refuse(name: bytes, room: int) -> int:
        raise errnos.error(code, "no")

    monkeypatch.setattr(kernel_control, "open_control", refuse)
    with pytest.raises(error), measure():
        pass


def test_traffic_knows_its_methods(links: Darwin) -> None:
    with pytest.raises(UsageError, match="no method"), measure(method="wire"):
        pass
    with pytest.raises(UsageError, match="no interface"), measure(interfaces=("en9",)):
        pass


# Capture --------------------------------------------------------------------------------------------------------------


class Devices:
    """Devices of the packet filter: pipes, and what was asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.writers: list[int] = []
        self.bound: dict[int, str] = {}
        self.link, self.counted = 1, (7, 2)
        self.links: dict[str, int] = {}
        """Of interfaces whose packets begin in another way than `link`."""
        for name, answer in (("open_device", self._open), ("set_number", self._set),
                             ("get_number", lambda fd, request: self.links.get(self.bound[fd], self.link)),
                             ("bind", self._bind),
                             ("create_interface", raising(errnos.EINVAL)),
                             ("set_filter", lambda fd, program: self.asked.append(("filter", program))),
                             ("promiscuous", lambda fd: self.asked.append(("promiscuous", None))),
                             ("counts", lambda fd: self.counted)):  # fmt: skip
            monkeypatch.setattr(bpf, name, answer)

    def _open(self) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.writers.append(writer)
        return reader

    def _bind(self, fd: int, name: str) -> None:
        self.bound[fd] = name
        self.asked.append(("bind", name))

    def _set(self, fd: int, request: int, number: int) -> int:
        self.asked.append((hex(request), number))
        return min(number, 65_536)

    def give(self, *packets: bytes, to: str | None = None) -> None:
        """To the device of that interface, or to the last one."""
        place = [*self.bound.values()].index(to) if to else -1
        os.write(self.writers[place], b"".join(packets))

    def close(self) -> None:
        for writer in self.writers:
            os.close(writer)


@pytest.fixture
def devices(links: Darwin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devices]:
    made = Devices(monkeypatch)
    yield made
    made.close()


def capture() -> Capture:
    return Capture(owners_of(read_boot()))


def taken(source: Any, stop: threading.Event) -> list[Any]:
    """Batches until the first empty one, after which the capture is ended."""
    found = []
    for batch in source.batches(stop):
        if not len(batch):
            stop.set()
        else:
            found.append(batch)
    return found


def test_packets_of_an_interface(devices: Devices) -> None:
    tally = Tally()
    with capture().open(CaptureRequest(interfaces=("en0",), snap_bytes=100, promiscuous=True), tally) as source:
        devices.give(bpf_packet(b"first!", 10, 1), bpf_packet(b"second", 11, 2))
        (batch,) = taken(source, threading.Event())
        assert [bytes(batch.data[at : at + 6]) for at in batch.offsets] == [b"first!", b"second"]
        assert (batch.link, batch.lost) == (1, 2)
        assert [(one.received, one.dropped) for one in source.counts()] == [(7, 2)]
        assert [(one.index, one.name, one.link) for one in source.interfaces] == [(4, "en0", 1)]
    filters = [what for name, what in devices.asked if name == "filter"]
    assert filters == [packet_device.DROP_ALL, ((6, 0, 0, 100),)]
    names = [name for name, _ in devices.asked]
    assert names.index(hex(bpf.BIOCSBLEN)) < names.index("bind")
    assert "promiscuous mode on en0" in tally.effects


def test_all_interfaces_that_are_up(devices: Devices) -> None:
    with capture().open(CaptureRequest(), Tally()) as source:
        assert [one.name for one in source.interfaces] == ["lo0", "en0"]


@pytest.fixture
def tap(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done to the interface that PKTAP makes, beside what was asked of devices."""
    life = devices.asked
    monkeypatch.setattr(bpf, "create_interface", lambda fd, kind: life.append(("made", kind)) or "pktap7")
    monkeypatch.setattr(bpf, "destroy_interface", lambda fd, name: life.append(("destroyed", name)))
    monkeypatch.setattr(pktap, "want_headers", lambda fd: life.append(("wanted", None)))
    monkeypatch.setattr(pktap, "show_every_interface", lambda fd, name: life.append(("shown", name)))
    devices.links["pktap7"] = pktap.DLT_PKTAP
    return life


def test_what_another_program_taps_is_not_captured_twice(devices: Devices, links: Darwin) -> None:
    links.numbers(WHERE, LINKS + link_message(b"pktap0", 9, 0xFE, 0x41))
    with capture().open(CaptureRequest(), Tally()) as source:
        assert [one.name for one in source.interfaces] == ["lo0", "en0"]


def test_an_interface_that_goes_away_ends_the_capture(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()

    def gone(device: Any) -> bytes:
        raise errnos.error(errnos.ENXIO, "gone")

    with capture().open(CaptureRequest(interfaces=("en0",)), tally) as source:
        monkeypatch.setattr(packet_device.PacketDevice, "read", gone)
        assert all(len(batch) == 0 for batch in source.batches(threading.Event()))
    assert "went away" in tally.notes[0]


@pytest.mark.parametrize(
    ("code", "error"), [(errnos.EACCES, Denied), (errnos.EBUSY, Unavailable), (errnos.ENOENT, NativeError)]
)
def test_devices_that_cannot_be_opened(
    links: Darwin, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    monkeypatch.setattr(bpf, "open_device", raising(code))
    with pytest.raises(error), capture().open(CaptureRequest(interfaces=("en0",)), Tally()):
        pass


def test_a_device_is_closed_when_it_cannot_be_bound(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(bpf, "bind", raising(errnos.ENXIO))
    monkeypatch.setattr(packet_device.os, "close", closed.append)
    with pytest.raises(UsageError, match="no interface"), capture().open(CaptureRequest(interfaces=("en0",)), Tally()):
        pass
    assert len(closed) == 1
    monkeypatch.undo()
    os.close(closed[0])


@pytest.mark.parametrize("name", ["en9", "en5"])
def test_interfaces_that_are_not_there_or_down(links: Darwin, name: str) -> None:
    with pytest.raises(UsageError), capture().open(CaptureRequest(interfaces=(name,)), Tally()):
        pass


def test_there_are_no_namespaces(links: Darwin) -> None:
    with pytest.raises(Unsupported), capture().open(CaptureRequest(namespace="1"), Tally()):
        pass


def test_a_filter_is_libpcaps(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap, "compile_filter", lambda text, link, snap: ((6, 0, 0, link),))
    with capture().open(CaptureRequest(interfaces=("en0",), bpf="tcp"), Tally()):
        assert ("filter", ((6, 0, 0, 1),)) in devices.asked
    assert captures.LISTING


def raising(code: int) -> Callable[..., Any]:
    def fail(*arguments: object) -> Any:
        raise errnos.error(code, "no")

    return fail
