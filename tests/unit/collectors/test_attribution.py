"""Whose packets: sockets of a made-up host, listed and counted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from hostscope.collectors import attribution
from hostscope.collectors.attribution import (
    DENIED_NOTE,
    NEEDS,
    UNCOUNTED,
    FlowOwners,
    Owners,
    People,
    Question,
    counting,
)
from hostscope.collectors.held_ends import CountedEnds, plain
from hostscope.errors import Denied, Unavailable
from hostscope.model.gap import Gap, Reason
from hostscope.model.interface import Interface, InterfaceAddress
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.model.traffic import Counts, Flow, Reading
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally
from hostscope.render.mask import mask_process
from tests.fake import Answers, FakeMeter, host, key, process

OURS, OTHER, THIRD = 1, 2, 3
AT = 1_700_000_000_000_000_000
S = 1_000_000_000
CLIENT, SERVER = Endpoint("10.0.0.1", 40000), Endpoint("192.0.2.1", 443)
LO_CLIENT, LO_SERVER = Endpoint("127.0.0.1", 1000), Endpoint("127.0.0.1", 80)
FORTH = Question("tcp", CLIENT, SERVER, AT)


def sock(
    pid: int, local: Endpoint, remote: Endpoint | None = None, protocol: str = "tcp", net_ns: int = OURS
) -> Socket:
    owners = (SocketOwner(key(pid), f"p{pid}"),)
    return Socket("inet", "stream", protocol, "established", local, remote, pid, net_ns, owners=owners)


def flow(
    pid: int | None,
    local: Endpoint,
    remote: Endpoint | None = None,
    protocol: str = "tcp",
    at_ns: tuple[int, int] = (AT, AT),
    cookie: int = 7,
    net_ns: int = OURS,
) -> Flow:
    owner, why = (key(pid), None) if pid else (None, "kernel")
    first, last = at_ns
    return Flow(
        protocol, local, remote, owner, f"p{pid}", why, net_ns=net_ns, cookie=cookie, payload=Counts(),
        first_at_ns=first, last_at_ns=last,
    )  # fmt: skip


def answers(*sockets: Socket) -> Answers:
    addresses = (
        InterfaceAddress("inet", "10.0.0.1", 24, broadcast="10.0.0.255"),
        InterfaceAddress("inet", "127.0.0.1", 8),
    )
    own = Interface("eth0", 1, "ethernet", ("up",), "up", addresses=addresses, net_ns=OURS)
    inside = [
        Interface("eth0", 1, "veth", ("up",), "up", addresses=(InterfaceAddress("inet", one, 24),), net_ns=net_ns)
        for net_ns, one in ((OTHER, "172.17.0.2"), (OTHER, "10.9.9.9"), (THIRD, "10.9.9.9"))
    ]
    return Answers(sockets=list(sockets), interfaces=[[own, *inside]])


PROCESSES = (process(5, "curl", argv=("curl", "--password=hunter2")), process(6, "nginx"))


def box(*sockets: Socket) -> Host:
    return host(*PROCESSES, answers=answers(*sockets))


def owners_of(*sockets: Socket, flows: tuple[Flow, ...] | None = None, tally: Tally | None = None) -> Owners:
    meter = None if flows is None else FakeMeter([Reading(AT, 0, flows, None)])
    return Owners(box(*sockets), tally or Tally(), OURS, meter)


def names(found: FlowOwners) -> tuple[list[str], list[str], str | None, str | None]:
    ends = ([one.name for one in party.owners] for party in (found.source, found.destination))
    return *ends, found.unknown, found.half  # type: ignore[return-value]


def asked(owners: Owners, *questions: Question, last: bool = True) -> list[Any]:
    return [names(one) for one in owners.of(questions, last)]


def test_a_connection_is_its_sockets_holder_in_either_direction() -> None:
    found = asked(owners_of(sock(5, CLIENT, SERVER)), FORTH, Question("tcp", SERVER, CLIENT, AT))
    assert found == [(["p5"], [], None, None), ([], ["p5"], None, None)]


def test_a_socket_that_closed_long_ago_has_its_process_from_the_counters() -> None:
    assert asked(owners_of(flows=(flow(5, CLIENT, SERVER),)), FORTH) == [(["p5"], [], None, None)]


def test_what_the_capturing_kernel_said_comes_first() -> None:
    """For a client's packet it names the sender, for the answer the receiver: the same end."""
    back = Question("tcp", SERVER, CLIENT, AT)
    for question, sends in ((FORTH, True), (back, False)):
        owners = owners_of(sock(6, CLIENT, SERVER))
        owners.tell(question, SocketOwner(key(5), "p5"), sends)
        assert asked(owners, FORTH, back) == [(["p5"], [], None, None), ([], ["p5"], None, None)]


def test_of_datagrams_it_is_believed_for_a_moment() -> None:
    owners = owners_of()
    owners.tell(Question("udp", CLIENT, SERVER, AT), SocketOwner(key(5), "p5"), True)
    soon, late = (Question("udp", CLIENT, SERVER, AT + later) for later in (S // 2, 60 * S))
    assert [one[0] for one in asked(owners, soon, late)] == [["p5"], []]


def test_what_was_said_is_kept_for_so_many_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "_MOST_TOLD", 2)
    owners = owners_of()
    for port in range(5):
        owners.tell(Question("tcp", Endpoint("10.0.0.1", port), SERVER, AT), SocketOwner(key(5), "p5"), True)
    assert owners._told.count <= 2


def test_both_ends_of_loopback_have_owners_from_different_sources() -> None:
    owners = owners_of(sock(6, LO_SERVER), flows=(flow(5, LO_CLIENT, LO_SERVER),))
    assert asked(owners, Question("tcp", LO_CLIENT, LO_SERVER, AT)) == [(["p5"], ["p6"], None, None)]


def test_an_end_of_this_host_without_a_socket_is_said_to_be_missing() -> None:
    owners = owners_of(flows=(flow(5, LO_CLIENT, LO_SERVER),))
    (found,) = owners.of([Question("tcp", LO_CLIENT, LO_SERVER, AT)], last=True)
    assert (names(found), found.destination.unknown, found.firm) == ((["p5"], [], None, "gone"), "gone", False)


def test_who_used_the_connection_comes_before_all_who_hold_it() -> None:
    held = changed(sock(5, LO_SERVER, LO_CLIENT), owners=tuple(SocketOwner(key(n), f"p{n}") for n in (5, 6, 7)))
    owners = owners_of(held, flows=(flow(6, LO_SERVER, LO_CLIENT),))
    owners.owner_of("tcp", LO_CLIENT, LO_SERVER, AT)
    assert asked(owners, Question("tcp", LO_SERVER, LO_CLIENT, AT))[0][0] == ["p6"]


def test_all_processes_that_used_one_socket_are_named() -> None:
    flows = flow(5, CLIENT, SERVER), flow(6, CLIENT, SERVER, at_ns=(AT + S, AT + 2 * S))
    assert asked(owners_of(flows=flows), FORTH)[0][0] == ["p5", "p6"]


def test_ports_that_are_used_again_belong_to_who_used_them_then() -> None:
    flows = flow(5, CLIENT, SERVER, cookie=1), flow(6, CLIENT, SERVER, at_ns=(AT + 60 * S, AT + 61 * S), cookie=2)
    later = Question("tcp", CLIENT, SERVER, AT + 60 * S)
    assert [one[0] for one in asked(owners_of(flows=flows), FORTH, later)] == [["p5"], ["p6"]]


@pytest.mark.parametrize("bound", ["10.0.0.1", "0.0.0.0", "::"])
@pytest.mark.parametrize("counted", [True, False])
def test_a_datagram_belongs_to_who_waits_there(bound: str, counted: bool) -> None:
    end, question = Endpoint(bound, 40000), Question("udp", SERVER, CLIENT, AT)
    owners = owners_of(flows=(flow(6, end, protocol="udp"),)) if counted else owners_of(sock(6, end, protocol="udp"))
    assert asked(owners, question) == [([], ["p6"], None, None)]


def test_the_most_specific_socket_gets_a_datagram() -> None:
    wide, narrow = Endpoint("0.0.0.0", 40000), Endpoint("10.0.0.1", 40000)
    flows = flow(5, wide, protocol="udp", cookie=1), flow(6, narrow, protocol="udp", cookie=2)
    question = Question("udp", SERVER, CLIENT, AT)
    assert asked(owners_of(flows=flows), question)[0][1] == ["p6"]
    both = owners_of(sock(5, wide, protocol="udp"), sock(6, narrow, protocol="udp"))
    assert asked(both, question)[0][1] == ["p6"]


def test_a_bound_socket_that_was_used_at_another_time_is_not_believed() -> None:
    flows = (flow(5, CLIENT, protocol="udp", at_ns=(AT - 9 * S, AT - 8 * S)),)
    assert asked(owners_of(flows=flows), Question("udp", CLIENT, SERVER, AT)) == [([], [], "gone", None)]


def test_a_port_on_another_host_is_not_ours() -> None:
    """A name server that waits on all addresses does not get what is sent to the port of another host."""
    owners = owners_of(
        sock(6, Endpoint("0.0.0.0", 443), protocol="udp"), flows=(flow(6, Endpoint("0.0.0.0", 443), protocol="udp"),)
    )
    assert asked(owners, Question("udp", CLIENT, SERVER, AT)) == [([], [], "gone", None)]


def test_sockets_that_share_a_port_are_said_to_be_several() -> None:
    flows = tuple(flow(pid, CLIENT, protocol="udp", cookie=pid) for pid in (5, 6))
    owners = owners_of(flows=flows)
    (found,) = owners.of([Question("udp", SERVER, CLIENT, AT)])
    assert (found.destination.sockets, len(found.destination.owners)) == (2, 2)
    gap = owners.owner_of("udp", CLIENT, SERVER, AT)
    assert isinstance(gap, Gap) and gap.reason is Reason.UNAVAILABLE


def test_mapped_addresses_are_ipv4() -> None:
    mapped = sock(5, Endpoint("::ffff:10.0.0.1", 40000), Endpoint("::ffff:192.0.2.1", 443))
    assert asked(owners_of(mapped), FORTH)[0][0] == ["p5"]
    assert plain(Endpoint("fe80::1%eth0", 1)) == Endpoint("fe80::1", 1)


def test_sockets_of_other_namespaces_count_but_their_loopback_does_not() -> None:
    inside = sock(6, LO_SERVER, net_ns=OTHER)
    guest = Endpoint("172.17.0.2", 5)
    owners = owners_of(inside, sock(5, guest, SERVER, net_ns=OTHER))
    found = asked(owners, Question("tcp", guest, SERVER, AT), Question("tcp", LO_CLIENT, LO_SERVER, AT))
    assert found == [(["p5"], [], None, None), ([], [], "gone", None)]


def test_a_socket_for_all_addresses_has_only_those_of_its_namespace() -> None:
    everywhere = Endpoint("0.0.0.0", 53)
    owners = owners_of(sock(6, everywhere, protocol="udp", net_ns=OTHER))
    questions = [Question("udp", SERVER, Endpoint(one, 53), AT) for one in ("10.0.0.1", "172.17.0.2")]
    assert [one[1] for one in asked(owners, *questions)] == [[], ["p6"]]


def test_the_same_address_in_two_other_namespaces_is_nobodys() -> None:
    twice = Endpoint("10.9.9.9", 5)
    owners = owners_of(sock(5, twice, SERVER, net_ns=OTHER), sock(6, twice, SERVER, net_ns=THIRD))
    assert asked(owners, Question("tcp", twice, SERVER, AT)) == [([], [], "other-namespace", None)]


def test_ours_wins_over_the_same_ends_in_another_namespace() -> None:
    owners = owners_of(flows=(flow(5, CLIENT, SERVER), flow(6, CLIENT, SERVER, net_ns=OTHER, cookie=8)))
    assert asked(owners, FORTH)[0][0] == ["p5"]


def test_reasons_for_no_process() -> None:
    through = Question("tcp", Endpoint("198.51.100.1", 1), SERVER, AT)
    echo = Question("icmp", Endpoint("10.0.0.1"), Endpoint("192.0.2.1"), AT)
    to_all = Question("udp", Endpoint("198.51.100.1", 1), Endpoint("239.0.0.1", 9), AT)
    found = owners_of().of([FORTH, through, echo, to_all], last=True)
    assert [one.unknown for one in found] == ["gone", "forwarded", "kernel", "gone"]


def test_nobody_need_hear_what_is_sent_to_many() -> None:
    for many in ("239.0.0.1", "255.255.255.255", "10.0.0.255"):
        found = asked(
            owners_of(flows=(flow(5, CLIENT, protocol="udp"),)), Question("udp", CLIENT, Endpoint(many, 9), AT)
        )
        assert found == [(["p5"], [], None, None)], many


def test_echoes_are_their_senders_and_the_kernel_answers() -> None:
    lo = Endpoint("127.0.0.1")
    ping = flow(5, Endpoint("0.0.0.0"), protocol="icmp")
    assert asked(owners_of(flows=(ping,)), Question("icmp", lo, lo, AT)) == [(["p5"], [], None, None)]
    assert asked(owners_of(), Question("icmp", Endpoint("192.0.2.1"), Endpoint("10.0.0.1"), AT))[0][2] == "kernel"


def test_raw_sockets_send_what_no_other_socket_does() -> None:
    scanner = flow(5, Endpoint("0.0.0.0"), protocol="raw")
    assert asked(owners_of(flows=(scanner,)), FORTH)[0][0] == ["p5"]


def test_what_the_kernel_sends_is_its_own() -> None:
    assert asked(owners_of(flows=(flow(None, CLIENT, SERVER),)), FORTH)[0][2] == "kernel"


def test_a_socket_whose_holder_may_not_be_seen_or_that_has_none() -> None:
    denied = changed(sock(5, CLIENT, SERVER), owners=None)
    kernels = changed(sock(5, CLIENT, Endpoint("192.0.2.7", 2049)), owners=())
    closing = changed(sock(5, CLIENT, Endpoint("192.0.2.8", 1)), owners=(), inode=None)
    tally = Tally()
    owners = owners_of(denied, kernels, closing, tally=tally)
    questions = [Question("tcp", CLIENT, one.remote, AT) for one in (denied, kernels, closing) if one.remote]
    assert [one.unknown for one in owners.of(questions)] == ["denied", "kernel", "gone"]
    assert tally.notes == [DENIED_NOTE]
    assert owners.owner_of("tcp", CLIENT, SERVER, AT) == Gap("key", Reason.DENIED, NEEDS)


def test_a_connection_that_nobody_has_accepted_is_its_listeners() -> None:
    embryo = changed(sock(6, LO_SERVER, LO_CLIENT), owners=(), inode=None)
    owners = owners_of(embryo, sock(5, LO_CLIENT, LO_SERVER), sock(6, LO_SERVER))
    (found,) = owners.of([Question("tcp", LO_CLIENT, LO_SERVER, AT)])
    assert (names(found), found.firm) == ((["p5"], ["p6"], None, None), False)


class Sockets:
    """Counts how often it is asked."""

    def __init__(self, *looks: list[Socket]) -> None:
        self.looks, self.asked = list(looks), 0

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        self.asked += 1
        return iter(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def owners(self, port: int) -> tuple[int, ...]:
        return ()


class Meter:
    """Counts how often it is read."""

    method = "made-up"

    def __init__(self, *flows: Flow, fails: bool = False) -> None:
        self.flows, self.fails, self.reads = flows, fails, 0

    def read(self) -> Reading:
        self.reads += 1
        if self.fails:
            raise Unavailable("broken")
        return Reading(AT, 0, self.flows, None)


def test_sockets_are_listed_again_only_after_a_while_and_closed_ones_are_remembered() -> None:
    now = [0.0]
    sockets = Sockets([sock(5, CLIENT, SERVER)], [])
    owners = Owners(replace(box(), sockets=sockets), Tally(), OURS, clock=lambda: now[0])
    unknown = Question("tcp", CLIENT, Endpoint("192.0.2.9", 1), 1 << 62)
    assert asked(owners, FORTH)[0][0] == ["p5"]
    owners.of([unknown])
    assert sockets.asked == 1
    now[0] = 10.0
    owners.of([unknown])
    assert sockets.asked == 2
    assert asked(owners, FORTH)[0][0] == ["p5"], "its socket was there one look before"


def test_last_questions_of_all_are_not_put_off() -> None:
    sockets = Sockets([])
    owners = Owners(replace(box(), sockets=sockets), Tally(), OURS, clock=lambda: 5.0)
    late = Question("tcp", CLIENT, SERVER, 1 << 62)
    owners.of([late], last=True)
    owners.of([late], last=True)
    assert sockets.asked == 1
    owners.hurry()
    owners.of([late], last=True)
    assert sockets.asked == 2


def test_one_listing_answers_for_everything_before_it() -> None:
    sockets = Sockets([])
    owners = Owners(replace(box(), sockets=sockets), Tally(), OURS, clock=iter(range(0, 10**6, 10)).__next__)
    for _ in range(3):
        owners.of([FORTH], last=True)
    assert sockets.asked == 1


def test_counters_are_read_once_more_before_anything_is_gone() -> None:
    now, meter = [0.0], Meter()
    owners = Owners(box(), Tally(), OURS, meter, clock=lambda: now[0])
    late = Question("tcp", CLIENT, SERVER, 1 << 62)
    for moment, last, reads in ((0.0, False, 1), (0.05, False, 1), (0.05, True, 2), (0.06, True, 2), (0.2, False, 3)):
        now[0] = moment
        owners.of([late], last)
        assert meter.reads == reads, moment


def test_a_slow_reading_puts_off_the_last_one_no_longer_than_itself() -> None:
    """On a busy host too what is about to be called gone is looked for."""
    now, meter = [0.0], Meter()

    def clock() -> float:
        now[0] += 0.05
        return now[0]

    owners = Owners(box(), Tally(), OURS, meter, clock=clock)
    late = Question("tcp", CLIENT, SERVER, 1 << 62)
    for _ in range(4):
        owners.of([late], last=True)
    assert meter.reads >= 2 and not owners.has_counted(late.at_ns) and owners.has_counted(0)


def test_what_was_counted_after_a_packet_is_not_read_again_for_it() -> None:
    meter = Meter()
    owners = Owners(box(), Tally(), OURS, meter, clock=iter(range(0, 10**6, 10)).__next__)
    for _ in range(3):
        owners.of([FORTH], last=True)
    assert meter.reads == 1


def test_counters_that_fail_are_said_and_not_asked_again() -> None:
    tally, meter = Tally(), Meter(fails=True)
    owners = Owners(box(sock(5, CLIENT, SERVER)), tally, OURS, meter)
    assert asked(owners, FORTH)[0][0] == ["p5"]
    owners.of([Question("tcp", CLIENT, SERVER, 1 << 62)])
    assert (meter.reads, tally.notes) == (1, [f"{UNCOUNTED}: broken"])


def test_a_host_that_does_not_count_says_what_that_loses() -> None:
    class Uncounted:
        def open(self, request: object, tally: object) -> object:
            raise Denied("counting needs CAP_BPF")

    tally = Tally()
    with counting(replace(box(), traffic=Uncounted()), tally) as meter:  # type: ignore[arg-type]
        assert meter is None
    assert tally.notes == [f"{UNCOUNTED}: counting needs CAP_BPF"]


def test_a_host_that_does_not_list_sockets_is_said_once() -> None:
    class Refusing(Sockets):
        def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
            self.asked += 1
            raise Denied("not you")

    refusing, tally = Refusing([]), Tally()
    owners = Owners(replace(box(), sockets=refusing), tally, OURS)
    assert owners.of([FORTH])[0].unknown == "gone"
    owners.of([FORTH])
    assert refusing.asked == 1
    assert tally.notes == ["packets carry no processes: not you"]


def test_new_addresses_are_learnt() -> None:
    now, late = [0.0], Endpoint("198.51.100.9", 5)
    asked_host = box()
    more = Interface("tun0", 9, "tun", ("up",), "up", addresses=(InterfaceAddress("inet", late.address, 32),), net_ns=1)
    asked_host.interfaces.answers.interfaces.append([more])  # type: ignore[attr-defined]
    owners = Owners(asked_host, Tally(), OURS, clock=lambda: now[0])
    question = Question("tcp", late, SERVER, AT)
    assert owners.of([question])[0].unknown == "forwarded"
    now[0] = 60.0
    owners.of([question])
    assert owners.of([question])[0].unknown == "gone"


def test_flows_that_a_meter_dropped_are_forgotten_in_the_end() -> None:
    counted = CountedEnds(OURS)
    for round_ in range(40):
        counted.update(
            tuple(flow(5, Endpoint("10.0.0.1", n), SERVER, cookie=round_ * 1000 + n) for n in range(1, 1000))
        )
    assert counted.ends.count < 20_000


def test_secrets_are_masked_before_anyone_sees_them() -> None:
    people = People(box(), mask_process, Tally())
    assert people.describe(SocketOwner(key(5), "p5")).command == "curl --password=***"


def test_a_process_that_ended_keeps_its_name() -> None:
    tally = Tally()
    owner = People(host(), mask_process, tally).describe(SocketOwner(key(5), "p5"))
    assert (owner.name, owner.command) == ("p5", None)
    assert [(gap.field, gap.reason) for gap in tally.coverage().gaps] == [("command", Reason.GONE)]


def test_the_process_that_has_its_number_now_is_another_one() -> None:
    owner = People(box(), mask_process, Tally()).describe(SocketOwner(changed(key(5), start=99), "p5"))
    assert (owner.name, owner.command) == ("p5", None)
