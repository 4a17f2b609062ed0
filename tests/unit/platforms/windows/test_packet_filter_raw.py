"""Packet filters without libpcap, on packets whose ends are known."""

import struct
from collections.abc import Iterable
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Error, Unsupported, UsageError
from hostscope.platforms.windows.packet_filter import compile_filter
from hostscope.wire.batch import PacketBatch, empty_batch

TCP, UDP, ICMP, ICMP6, IGMP = 6, 17, 1, 58, 2


def packet(source: str, destination: str, protocol: int, ports: tuple[int, int] = (0, 0), fragment: int = 0) -> bytes:
    body = struct.pack(">HH", *ports) + bytes(16)
    ends = ip_address(source).packed + ip_address(destination).packed
    if ":" in source:
        return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    return struct.pack(">BBHHHBBH", 0x46, 0, 44, 1, fragment, 64, protocol, 0) + ends + b"\1\1\1\1" + body


def batch(packets: Iterable[bytes], captured: int | None = None) -> PacketBatch:
    every = list(packets)
    sizes = np.array([len(one) for one in every], np.int64)
    kept = sizes if captured is None else np.minimum(sizes, captured)
    return PacketBatch(
        data=np.frombuffer(b"".join(every), np.uint8), offsets=np.cumsum(sizes) - sizes,
        captured=kept.astype(np.uint32), lengths=sizes.astype(np.uint32), at_ns=sizes,
        interface=sizes.astype(np.uint16), link=101,
    )  # fmt: skip


PACKETS = {
    "web": packet("192.0.2.1", "198.51.100.7", TCP, (49152, 443)),
    "answer": packet("198.51.100.7", "192.0.2.1", TCP, (443, 49152)),
    "dns": packet("192.0.2.1", "192.0.2.53", UDP, (5000, 53)),
    "dns6": packet("2001:db8::1", "2001:db8::53", UDP, (5000, 53)),
    "web6": packet("2001:db8::1", "2001:db8::2", TCP, (5000, 443)),
    "ping": packet("192.0.2.1", "192.0.2.2", ICMP),
    "ping6": packet("2001:db8::1", "2001:db8::2", ICMP6),
    "group": packet("192.0.2.1", "224.0.0.22", IGMP),
    "later": packet("192.0.2.1", "192.0.2.53", UDP, (5000, 53), fragment=100),
}


def passing(expression: str | None) -> set[str]:
    mask = compile_filter(expression)(batch(PACKETS.values()))
    return {name for name, passes in zip(PACKETS, mask, strict=True) if passes}


@pytest.mark.parametrize(("expression", "names"), [
    (None, "web answer dns dns6 web6 ping ping6 later"),
    ("tcp", "web answer web6"),
    ("udp port 53", "dns dns6"),
    ("port 53 or port 5353 or port 5355", "dns dns6"),
    ("src port 443", "answer"),
    ("tcp dst port 443", "web web6"),
    ("ip6", "dns6 web6 ping6"),
    ("ip and not (tcp or udp)", "ping group"),
    ("icmp || icmp6", "ping ping6"),
    ("host 192.0.2.53", "dns later"),
    ("src host 2001:db8::1 && tcp", "web6"),
    ("net 198.51.100.0/24", "web answer"),
    ("dst net 2001:db8::/64", "dns6 web6 ping6"),
    ("net 224.0.0.0/3", "group"),
    ("net 0.0.0.0/0 and udp", "dns later"),
    ("! tcp and ! udp", "ping ping6 group"),
    ("udp or tcp and ip6", "dns dns6 later web6"),
])  # fmt: skip
def test_expressions(expression: str | None, names: str) -> None:
    assert passing(expression) == set(names.split())


@pytest.mark.parametrize("expression", [
    "port", "port x", "port 70000", "port ²", "host", "host x", "net 1.2.3.4/99", "(tcp", "tcp)", "tcp tcp", "not",
    "and",
])  # fmt: skip
def test_nonsense(expression: str) -> None:
    with pytest.raises(Error) as refused:
        compile_filter(expression)
    assert isinstance(refused.value, UsageError | Unsupported) and refused.value.hint


@pytest.mark.parametrize("expression", ["ether host 00:00:00:00:00:01", "portrange 1-9", "tcp[13] & 2 != 0", "src tcp"])
def test_what_needs_libpcap_says_so(expression: str) -> None:
    with pytest.raises(Unsupported, match="libpcap"):
        compile_filter(expression)


def test_deep_and_long_ones_are_refused() -> None:
    with pytest.raises(Error, match="nested"):
        compile_filter("(" * 300 + "tcp" + ")" * 300)
    with pytest.raises(Unsupported, match="too long"):
        compile_filter(" or ".join(["tcp"] * 2000))


def test_what_was_cut_off_reads_as_zeros() -> None:
    assert not compile_filter("port 53")(batch(PACKETS.values(), captured=20)).any()
    assert compile_filter("host 192.0.2.53")(batch([PACKETS["dns"]], captured=20)).all()


def test_no_packets() -> None:
    assert len(compile_filter(None)(empty_batch())) == 0


@given(st.lists(st.binary(max_size=64), max_size=8), st.text("tcpudporsk nohit0123456789.:/()!&|", max_size=40))
def test_any_packets_and_words(packets: list[bytes], words: str) -> None:
    every = batch(packets)
    for expression in (None, words):
        try:
            test = compile_filter(expression)
        except (UsageError, Unsupported):
            continue
        assert test(every).shape == (len(every),)
