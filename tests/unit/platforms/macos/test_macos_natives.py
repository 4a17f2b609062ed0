"""What goes over the border to the kernel, byte by byte: devices, interfaces, kernel controls, dnsinfo, libpcap."""

import ctypes
import ctypes.util
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hostscope.errors import Unavailable, UsageError
from hostscope.platforms.macos import resolvers
from hostscope.platforms.macos.native import bpf, dnsinfo, errnos, kernel_control, pcap, pktap, routes
from tests.unit.platforms.macos.network_bytes import sockaddr

IN, OUT = 0x8000_0000, 0x4000_0000


class Requests:
    """The other side of ioctl(2)."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self.answers: dict[int, bytes | OSError | Callable[[bytes], bytes]] = {}

    def __call__(self, fd: int, request: int, argument: bytes = b"") -> bytes:
        """As the kernel: so many bytes are copied in and out as the number of the request says."""
        assert request >> 16 & 0x1FFF == len(argument), hex(request)
        self.asked.append((request, bytes(argument)))
        answer = self.answers.get(request, argument)
        if isinstance(answer, OSError):
            raise answer
        found = answer(argument) if callable(answer) else answer
        return found if request & OUT else argument


@pytest.fixture
def ioctl(monkeypatch: pytest.MonkeyPatch) -> Requests:
    made = Requests()
    monkeypatch.setattr("fcntl.ioctl", made)
    return made


def test_numbers_go_in_and_come_out(ioctl: Requests) -> None:
    ioctl.answers[bpf.BIOCSBLEN] = struct.pack("<I", 524_288)
    ioctl.answers[bpf.BIOCGDLT] = struct.pack("<I", 149)
    assert bpf.set_number(3, bpf.BIOCSBLEN, 4 << 20) == 524_288
    assert bpf.get_number(3, bpf.BIOCGDLT) == 149
    bpf.promiscuous(3)
    pktap.want_headers(3)
    assert ioctl.asked[0] == (bpf.BIOCSBLEN, struct.pack("<I", 4 << 20))
    assert ioctl.asked[2:] == [(bpf.BIOCPROMISC, b""), (pktap.BIOCSWANTPKTAP, struct.pack("<I", 1))]


def test_interfaces_are_named_in_fifteen_bytes(ioctl: Requests) -> None:
    bpf.bind(3, "en0")
    bpf.destroy_interface(3, "x" * 40)
    ioctl.answers[bpf.SIOCIFCREATE] = b"pktap12\0".ljust(32, b"\xff")
    assert bpf.create_interface(3, "pktap") == "pktap12"
    assert ioctl.asked[0] == (bpf.BIOCSETIF, b"en0".ljust(32, b"\0"))
    assert ioctl.asked[1] == (bpf.SIOCIFDESTROY, (b"x" * 15).ljust(32, b"\0"))


def test_filters_are_instructions_behind_a_pointer(ioctl: Requests) -> None:
    seen: list[bytes] = []

    def take(argument: bytes) -> bytes:
        count, address = struct.unpack("<I4xQ", argument)
        seen.append(ctypes.string_at(address, 8 * count))
        return argument

    ioctl.answers[bpf.BIOCSETF] = take
    bpf.set_filter(3, ((0x28, 0, 0, 12), (0x15, 1, 2, 0x800), (6, 0, 0, 0xFFFF_FFFF)))
    assert seen == [struct.pack("<HBBIHBBIHBBI", 0x28, 0, 0, 12, 0x15, 1, 2, 0x800, 6, 0, 0, 0xFFFF_FFFF)]


def test_counters_of_a_device(ioctl: Requests) -> None:
    ioctl.answers[bpf.BIOCGSTATS] = struct.pack("<II", 4_000_000_000, 2)
    assert bpf.counts(3) == (4_000_000_000, 2)


def test_every_interface_passes_the_first_rule_of_pktap(ioctl: Requests) -> None:
    seen: list[tuple[Any, ...]] = []

    def take(argument: bytes) -> bytes:
        name, command, size, address = struct.unpack("<16sQQQ", argument)
        seen.append((name, command, ctypes.string_at(address, size)))
        return argument

    ioctl.answers[pktap.SIOCSDRVSPEC] = take
    pktap.show_every_interface(3, "pktap0")
    assert seen == [(b"pktap0".ljust(16, b"\0"), 3, struct.pack("<II24s", 1, 1, b"") + bytes(7 * 32))]


def test_media(ioctl: Requests) -> None:
    ioctl.answers[routes.SIOCGIFMEDIA] = struct.pack("<16s5iQ", b"en0", 0, 0, 3, 0x100020, 0, 0)
    assert routes.read_media(3, "en0") == (3, 0x100020)
    ioctl.answers[routes.SIOCGIFMEDIA] = errnos.error(errnos.EOPNOTSUPP, "no media")
    with pytest.raises(OSError):
        routes.read_media(3, "utun0")


@pytest.mark.parametrize(
    ("codes", "opened", "code"),
    [
        ([errnos.EBUSY, errnos.EBUSY, None], "/dev/bpf2", None),
        ([errnos.EBUSY, errnos.ENOENT], None, errnos.EBUSY),
        ([errnos.ENOENT], None, errnos.ENOENT),
        ([errnos.EACCES, None], None, errnos.EACCES),
    ],
)
def test_the_first_free_device_is_opened(
    monkeypatch: pytest.MonkeyPatch, codes: list[int | None], opened: str | None, code: int | None
) -> None:
    tried: list[str] = []

    def open_(path: str, flags: int) -> int:
        tried.append(path)
        failed = codes[len(tried) - 1]
        if failed is not None:
            raise OSError(failed, "no")
        return 77

    monkeypatch.setattr(bpf.os, "open", open_)  # type: ignore[attr-defined]
    if code is None:
        assert (bpf.open_device(), tried[-1]) == (77, opened)
    else:
        with pytest.raises(OSError) as refused:
            bpf.open_device()
        assert refused.value.errno == code


# Kernel controls ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, int]]:
    """What socket(2) gives: an end of a pair."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fd = ours.detach()
    monkeypatch.setitem(vars(kernel_control.calls), "socket", lambda *asked: fd)
    monkeypatch.setitem(vars(kernel_control.calls), "setsockopt", lambda *asked: 0)
    yield theirs, fd
    theirs.close()


def closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def test_a_kernel_control_is_connected_by_its_number(
    ioctl: Requests, ends: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ioctl.answers[kernel_control.CTLIOCGINFO] = lambda asked: struct.pack("<I", 9) + asked[4:]
    addresses: list[bytes] = []

    def connect(fd: int, address: Any, size: int) -> int:
        addresses.append(ctypes.string_at(address, size))
        return 0

    monkeypatch.setitem(vars(kernel_control.calls), "connect", connect)
    fd = kernel_control.open_control(b"com.apple.network.statistics", 1 << 20)
    assert addresses == [struct.pack("<BBHII20x", 32, 32, 2, 9, 0)]
    assert ioctl.asked[0][1] == struct.pack("<I96s", 0, b"com.apple.network.statistics")
    assert not os.get_blocking(fd)
    os.close(fd)


@pytest.mark.parametrize("step", ["name", "connect"])
def test_a_kernel_control_that_is_refused_is_closed(
    ioctl: Requests, ends: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*asked: Any) -> int:
        ctypes.set_errno(errnos.EPERM)
        return -1

    monkeypatch.setitem(vars(kernel_control.calls), "connect", refuse)
    if step == "name":
        ioctl.answers[kernel_control.CTLIOCGINFO] = errnos.error(errnos.ENOENT, "no")
    with pytest.raises(OSError) as refused:
        kernel_control.open_control(b"none", 1 << 20)
    assert refused.value.errno == (errnos.ENOENT if step == "name" else errnos.EPERM)
    assert closed(ends[1])


# dnsinfo --------------------------------------------------------------------------------------------------------------


class Copy:
    """A configuration in our own memory, as libSystem makes one."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self.freed: list[int] = []

    def put(self, content: bytes) -> int:
        buffer = ctypes.create_string_buffer(content, len(content))
        self._kept.append(buffer)
        return ctypes.addressof(buffer)

    def make(self) -> int:
        server = self.put(sockaddr("192.0.2.53"))
        domain = self.put(b"corp.example\0")
        one = struct.pack("<QiQHxxiQiQQIIIII", domain, 1, self.put(struct.pack("<Q", server)), 0, 0, 0, 0, 0, 0, 5, 0,
                          4, 0, 0)  # fmt: skip
        resolver = self.put(one.ljust(96, b"\0"))
        return self.put(struct.pack("<iQiQQiQI", 1, self.put(struct.pack("<Q", resolver)), 0, 0, 1, 0, 0, 1))


def test_the_configuration_is_read_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Copy()
    address = copy.make()
    monkeypatch.setitem(vars(dnsinfo.resolving), "dns_configuration_copy", lambda: address)
    monkeypatch.setitem(vars(dnsinfo.resolving), "dns_configuration_free", copy.freed.append)
    (found,) = resolvers.read_configuration()
    assert (found.domain, found.servers, found.interface) == ("corp.example", (("192.0.2.53", 0),), 4)
    assert copy.freed == [address]


def test_no_configuration_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        ctypes.set_errno(errnos.EPERM)

    monkeypatch.setitem(vars(dnsinfo.resolving), "dns_configuration_copy", none)
    with pytest.raises(OSError) as refused, dnsinfo.configuration():
        pass
    assert refused.value.errno == errnos.EPERM


def test_what_is_no_pointer_is_not_followed() -> None:
    assert (dnsinfo.fetch(8, 100), dnsinfo.fetch_text(8, 100)) == (b"", b"")


# libpcap --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def libpcap(monkeypatch: pytest.MonkeyPatch) -> None:
    """This system's, which has the same functions."""
    path = ctypes.util.find_library("pcap")
    if path is None:
        pytest.skip("there is no libpcap")
    monkeypatch.setattr(pcap, "pcap", pcap.Library(path, pcap.SIGNATURES))


@pytest.mark.usefixtures("libpcap")
def test_filters_are_compiled_by_libpcap() -> None:
    program = pcap.compile_filter("ip", bpf.DLT_EN10MB, 1000)
    assert program == ((0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 1000), (6, 0, 0, 0))
    with pytest.raises(UsageError, match="bad filter"):
        pcap.compile_filter("no such (", bpf.DLT_EN10MB, 1000)


def test_libpcap_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(pcap.pcap), "pcap_open_dead", lambda *asked: None)
    with pytest.raises(Unavailable):
        pcap.compile_filter("ip", bpf.DLT_EN10MB, 1000)
