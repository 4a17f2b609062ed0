"""Bytes of the kernel about its network: understood where they are whole, never trusted."""

import struct
from ctypes import sizeof
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.socket import Endpoint
from hostscope.model.traffic import Counts
from hostscope.platforms.macos import (
    parse_dnsinfo,
    parse_fdinfo,
    parse_ntstat,
    parse_pcblist,
    parse_pktap,
    parse_route_table,
    parse_routes,
)
from hostscope.platforms.macos.native import descriptors, routes
from hostscope.platforms.macos.parse_bpf import batch_of, parse_packets
from hostscope.platforms.macos.socket_facts import direction_of, listeners_of, of_descriptor, of_list
from tests.unit.platforms.macos.network_bytes import (
    MadeMemory,
    address_message,
    bpf_packet,
    fdinfo,
    inet_part,
    link_message,
    ntstat_message,
    ntstat_update,
    pcb,
    pcblist,
    pktap_v1,
    pktap_v2,
    route_message,
    sockaddr,
    unix_part,
)

# Interfaces -----------------------------------------------------------------------------------------------------------

LINKS = (
    link_message(b"lo0", 1, 0x18, 0x8049, mtu=16384, in_=5, out=5)
    + address_message(1, "127.0.0.1", bytes([5, 0, 0, 0, 255]))
    + link_message(
        b"en0", 4, 0x6, 0x8863, bytes(range(6)), in_=5_000_000_000, out=7, speed=10**9, drops=3, send_drops=2
    )
    + address_message(4, "192.168.1.5", bytes([7, 0, 0, 0, 255, 255, 255]), "192.168.1.255")
    + address_message(4, "fe80:4::1", struct.pack("BBHI", 28, 30, 0, 0) + b"\xff" * 8 + bytes(12))
    + link_message(b"utun0", 9, 0x1, 0x8051)
    + address_message(9, "10.8.0.2", bytes([5, 0, 0, 0, 255]), "10.8.0.1")
)


def test_interfaces_are_listed_with_their_addresses() -> None:
    lo, en, tunnel = parse_routes.parse_links(LINKS)
    assert (lo.name, lo.kind, lo.mac, lo.mtu_bytes) == ("lo0", "loopback", None, 16384)
    assert [(one.address, one.prefix, one.scope) for one in lo.addresses] == [("127.0.0.1", 8, "host")]
    assert (en.name, en.number, en.mac, en.speed_bits_s) == ("en0", 4, "00:01:02:03:04:05", 10**9)
    assert (en.counters.received_bytes, en.counters.received_drops, en.counters.sent_drops) == (5_000_000_000, 3, 2)
    assert [(one.address, one.prefix, one.scope, one.broadcast) for one in en.addresses] == [
        ("192.168.1.5", 24, "global", "192.168.1.255"),
        ("fe80::1", 64, "link", None),
    ]
    assert (tunnel.kind, tunnel.addresses[0].peer, tunnel.addresses[0].broadcast) == ("tunnel", "10.8.0.1", None)
    assert parse_routes.flag_names(en.flags)[:3] == ("up", "broadcast", "running")


def test_sizes_are_those_of_the_headers() -> None:
    assert sizeof(routes.if_msghdr2) == 160
    assert sizeof(routes.ifa_msghdr) == 20
    assert routes.if_msghdr2.ifm_data.offset == 32
    data = routes.ifmibdata.ifmd_data.offset
    totals = [data + getattr(routes.if_data64, name).offset for name in ("ifi_ibytes", "ifi_obytes")]
    assert (sizeof(routes.ifmibdata), totals) == (180, [116, 124])
    assert (sizeof(routes.rt_msghdr2), routes.rt_msghdr2.rtm_index.offset, routes.rt_msghdr2.rtm_addrs.offset) == (
        92, 4, 12,
    )  # fmt: skip
    dropped = (
        routes.RTF_REJECT, routes.RTF_LLINFO, routes.RTF_BLACKHOLE, routes.RTF_WASCLONED, routes.RTF_LOCAL,
        routes.RTF_BROADCAST, routes.RTF_MULTICAST,
    )  # fmt: skip
    assert sum(dropped) == parse_route_table._NOT_CONFIGURED
    assert routes.if_msghdr2.ifm_snd_drops.offset == 24


@given(st.binary(max_size=600), st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_any_list_of_interfaces_is_read(raw: bytes, at: int, change: bytes) -> None:
    parse_routes.parse_links(raw)
    parse_routes.parse_links(LINKS[:at] + change + LINKS[at + len(change) :])
    parse_routes.parse_links(LINKS[:at])


ROUTES = route_message(4, 0x803, "0.0.0.0", b"", "192.168.1.1") * 2


@given(st.binary(max_size=600), st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_any_table_of_routes_is_read(raw: bytes, at: int, change: bytes) -> None:
    for tried in (raw, ROUTES[:at], ROUTES[:at] + change + ROUTES[at + len(change) :]):
        found = parse_route_table.parse_route_table(tried)
        assert found is not None
        for route in (one for each in found.values() for one in each):
            ip_network(route.destination, strict=False)
            assert route.gateway is None or ip_address(route.gateway)
        parse_routes.parse_totals(tried)


# The kernel's lists of sockets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [76, 104])
def test_sockets_are_walked_by_the_length_of_each_record(stride: int) -> None:
    raw = pcblist(
        pcb(("0.0.0.0", 22), generation=3, state=1, uid=0, backlog=(2, 128), stride=stride),
        pcb(("192.168.1.5", 50000), ("93.184.216.34", 443), generation=4, state=4, queues=(7, 9), stride=stride),
        pcb(("fe80:4::1", 546), ("ff02::1:2", 547), generation=5, stride=stride),
    )
    listener, connected, six = parse_pcblist.parse_pcbs(raw)
    assert (listener.local, listener.local_port, listener.state, listener.uid) == ("0.0.0.0", 22, 1, 0)
    assert (listener.backlog, listener.backlog_limit) == (2, 128)
    assert (connected.remote, connected.remote_port, connected.generation) == ("93.184.216.34", 443, 4)
    assert (connected.receive_queue, connected.send_queue, connected.last_pid) == (7, 9, 7)
    assert (six.family, six.local, six.state) == ("inet6", "fe80::1", None)


def test_the_tail_ends_the_list() -> None:
    raw = pcblist(pcb(("1.2.3.4", 5), state=4)) + pcb(("9.9.9.9", 9), state=4)
    assert [one.local for one in parse_pcblist.parse_pcbs(raw)] == ["1.2.3.4"]


@pytest.mark.parametrize("raw", [b"", bytes(24), struct.pack("<IIQQ", 4096, 0, 0, 0)])
def test_what_does_not_begin_as_a_list_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="list of sockets"):
        parse_pcblist.parse_pcbs(raw)


@given(st.binary(max_size=900), st.integers(0, 900), st.binary(min_size=1, max_size=8))
def test_any_list_of_sockets_is_read_or_refused(raw: bytes, at: int, change: bytes) -> None:
    whole = pcblist(pcb(("1.2.3.4", 5), state=4), pcb(("::1", 6), stride=76))
    for tried in (raw, pcblist(raw), whole[:at] + change + whole[at + len(change) :], whole[:at]):
        try:
            found = parse_pcblist.parse_pcbs(tried)
        except ValueError:
            continue
        assert len(found) <= len(tried) // 80


# Sockets of processes -------------------------------------------------------------------------------------------------


def test_places_are_those_of_the_headers() -> None:
    info, base = descriptors.socket_info, descriptors.socket_fdinfo.psi.offset
    assert sizeof(descriptors.socket_fdinfo) == parse_fdinfo.FDINFO_BYTES
    assert [base + place.offset for place in (info.soi_so, info.soi_options, info.soi_rcv, info.soi_snd)] == [
        parse_fdinfo._SOCKET_AT, parse_fdinfo._QUEUES_AT, parse_fdinfo._RECEIVE_AT, parse_fdinfo._SEND_AT,
    ]  # fmt: skip
    assert [base + info.soi_kind.offset, base + info.soi_proto.offset] == [
        parse_fdinfo._KIND_AT, parse_fdinfo._PROTOCOL_AT,
    ]  # fmt: skip
    inet, tcp, unix = descriptors.in_sockinfo, descriptors.tcp_sockinfo, descriptors.un_sockinfo
    assert (inet.insi_vflag.offset, inet.insi_faddr.offset, inet.insi_laddr.offset) == (24, 32, 48)
    assert (tcp.tcpsi_state.offset, tcp.tcpsi_mss.offset) == (parse_fdinfo._STATE_AT, parse_fdinfo._MSS_AT)
    assert (unix.unsi_addr.offset, unix.unsi_caddr.offset) == (parse_fdinfo._NAME_AT, parse_fdinfo._OTHER_NAME_AT)


def test_a_connection_of_a_process() -> None:
    part = inet_part(("192.168.1.5", 50000), ("93.184.216.34", 443), 4, state=4)
    found = parse_fdinfo.parse_socket(fdinfo(2, 0xBEEF, 2, 1, 6, part, received=3, sent=4))
    assert found is not None
    facts = of_descriptor(found)
    assert (facts.family, facts.kind, facts.protocol, facts.state) == ("inet", "stream", "tcp", "established")
    assert (facts.local, facts.remote) == (Endpoint("192.168.1.5", 50000), Endpoint("93.184.216.34", 443))
    assert (facts.receive_queue, facts.send_queue, facts.cookie) == (3, 4, 4 << 8 | 6)
    assert facts.tcp is not None and facts.tcp.mss_bytes == 1440


def test_both_ways_of_asking_have_the_same_cookie() -> None:
    part = inet_part(("::1", 53), None, 77)
    held = parse_fdinfo.parse_socket(fdinfo(1, 1, 30, 2, 17, part))
    (listed,) = parse_pcblist.parse_pcbs(pcblist(pcb(("::1", 53), generation=77)))
    assert held is not None
    assert of_descriptor(held).cookie == of_list(listed, "udp", "dgram", None).cookie


def test_unix_sockets_have_names_and_peers() -> None:
    part = unix_part(0xCAFE, b"/var/run/syslog", b"")
    found = parse_fdinfo.parse_socket(fdinfo(3, 0xBEEF, 1, 2, 0, part, status=2))
    assert found is not None
    facts = of_descriptor(found)
    assert (facts.family, facts.state, facts.local, facts.peer) == (
        "unix",
        "connected",
        Endpoint("/var/run/syslog"),
        0xCAFE,
    )


def test_directions_are_as_on_linux() -> None:
    raw = pcblist(
        pcb(("0.0.0.0", 22), generation=1, state=1),
        pcb(("10.0.0.1", 22), ("10.0.0.9", 999), generation=2, state=4),
        pcb(("10.0.0.1", 999), ("10.0.0.9", 22), generation=3, state=4),
    )
    rows = [of_list(one, "tcp", "stream", None) for one in parse_pcblist.parse_pcbs(raw)]
    udp = [of_list(one, "udp", "dgram", None) for one in parse_pcblist.parse_pcbs(pcblist(pcb(("0.0.0.0", 53))))]
    listeners = listeners_of(rows)
    assert [direction_of(row, listeners) for row in [*rows, *udp]] == ["listening", "inbound", "outbound", "listening"]


@given(st.binary(max_size=900))
def test_any_socket_is_read(raw: bytes) -> None:
    for tried in (raw, raw.ljust(792, b"\xff"), raw.rjust(792, b"\0")):
        found = parse_fdinfo.parse_socket(tried)
        if found is not None:
            of_descriptor(found)


# Resolvers ------------------------------------------------------------------------------------------------------------


def test_resolvers_are_read_through_their_pointers() -> None:
    made = MadeMemory()
    main = made.resolver([sockaddr("192.168.1.1"), sockaddr("2001:db8::1", 5353)], search=(b"lan", b"home"), order=200)
    scoped = made.resolver([sockaddr("10.8.0.1")], domain=b"corp.example", interface=9, flags=0x1000, port=5354)
    tunnel = made.resolver([sockaddr("10.9.0.1")], flags=parse_dnsinfo.SERVICE)
    first, second, third = parse_dnsinfo.parse_config(made.config([main], [scoped], [tunnel]), made.memory())
    assert (first.servers, first.search, first.order) == (
        (("192.168.1.1", 0), ("2001:db8::1", 5353)),
        ("lan", "home"),
        200,
    )
    assert (second.domain, second.interface, second.scoped, second.port) == ("corp.example", 9, True, 5354)
    assert (third.servers, third.scoped, third.flags) == ((("10.9.0.1", 0),), False, parse_dnsinfo.SERVICE)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_configuration_is_read_or_refused(raw: bytes, at: int) -> None:
    made = MadeMemory()
    address = made.put(raw.ljust(48, b"\1"))
    parse_dnsinfo.parse_config(address, made.memory())
    parse_dnsinfo.parse_config(made.config([made.put(raw.ljust(96, b"\0"))], [address]), made.memory())
    looped = MadeMemory()
    looped.put(struct.pack("<Q", looped.base) * 64)
    parse_dnsinfo.parse_config(looped.base + at % 64, looped.memory())


# Packets --------------------------------------------------------------------------------------------------------------


def test_packets_stand_at_multiples_of_four() -> None:
    raw = bpf_packet(b"a" * 61, 10, 20, 1500) + bpf_packet(b"b" * 60, 11, 0, header=20)
    found = parse_packets(raw)
    assert [raw[at : at + size] for at, size in zip(found.offsets, found.captured, strict=True)] == [
        b"a" * 61,
        b"b" * 60,
    ]
    assert found.lengths == [1500, 60]
    assert found.at_ns == [10_000_020_000, 11_000_000_000]
    batch = batch_of(raw, 3, 1, lost=2)
    assert (len(batch), batch.lost, list(batch.interface)) == (2, 2, [3, 3])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_read_of_packets_stays_inside(raw: bytes, cut: int) -> None:
    for tried in (raw, (bpf_packet(b"abc", 1, 2) * 3)[:cut]):
        found = parse_packets(tried)
        assert all(at + size <= len(tried) for at, size in zip(found.offsets, found.captured, strict=True))


@pytest.mark.parametrize("make", [pktap_v1, pktap_v2])
def test_pktap_says_whose_a_packet_is(make: object) -> None:
    head = make(1, 501, b"curl", b"en0", 2, effective=600)  # type: ignore[operator]
    origin = parse_pktap.parse_pktap(head + b"frame")
    assert origin is not None
    assert (origin.pid, origin.name, origin.interface, origin.effective_pid) == (501, "curl", "en0", 600)
    assert (origin.header_bytes, origin.link, origin.direction) == (len(head), 1, 2)


@given(st.binary(max_size=300))
def test_any_pktap_header_is_read(raw: bytes) -> None:
    found = parse_pktap.parse_pktap(raw)
    assert found is None or found.header_bytes <= len(raw)


# Statistics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [True, False])
def test_updates_of_both_layouts_are_understood(old: bool) -> None:
    ends = ("192.168.1.5", 50000), ("93.184.216.34", 443)
    raw = ntstat_update(9, 2, 501, b"curl", *ends, (3, 4000, 2, 300), old=old, effective=77)
    (message,) = parse_ntstat.parse_messages(raw)
    found = parse_ntstat.parse_update(message)
    assert found is not None
    assert (found.source, found.protocol, found.pid, found.name) == (9, "tcp", 501, "curl")
    assert (found.local, found.remote) == (Endpoint(*ends[0]), Endpoint(*ends[1]))
    assert (found.effective_pid, found.interface, found.counts) == (77, 4, Counts(300, 4000, 2, 3))
    assert found.version.startswith("macOS 10.13" if old else "macOS 11")


def test_udp_may_have_no_peer() -> None:
    raw = ntstat_update(1, 4, 65, b"mDNSResponder", ("::", 5353), None, (1, 2, 3, 4), flags=4)
    (message,) = parse_ntstat.parse_messages(raw)
    found = parse_ntstat.parse_update(message)
    assert found is not None
    assert (found.protocol, found.remote, found.closing, found.effective_pid) == ("udp", None, True, None)


def test_messages_come_together() -> None:
    one = ntstat_update(1, 2, 5, b"x", ("1.1.1.1", 1), ("2.2.2.2", 2), (1, 1, 1, 1))
    raw = one + ntstat_message(0, 7, 2) + ntstat_message(1, 8, 0, struct.pack("<II", 45, 0))
    update, success, failed = parse_ntstat.parse_messages(raw)
    assert (update.type, success.context, success.flags) == (10006, 7, 2)
    assert parse_ntstat.parse_error(failed) == 45


def test_requests_are_as_long_as_they_say() -> None:
    for raw in (parse_ntstat.build_add_all(2, 5), parse_ntstat.build_update(6, True)):
        assert struct.unpack_from("<H", raw, 12)[0] == len(raw)
    assert len(parse_ntstat.build_add_all(2, 5)) == 56


@given(st.binary(max_size=600), st.integers(0, 520), st.binary(min_size=1, max_size=4))
def test_any_message_is_read(raw: bytes, at: int, change: bytes) -> None:
    whole = ntstat_update(1, 2, 5, b"x", ("1.1.1.1", 1), ("2.2.2.2", 2), (1, 1, 1, 1))
    for tried in (raw, whole[:at] + change + whole[at + len(change) :], whole[:at]):
        for message in parse_ntstat.parse_messages(tried):
            parse_ntstat.parse_update(message)
            parse_ntstat.parse_error(message)
