"""Whose packets: sockets of a made-up host."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from hostscope.collectors.attribution import Owners, Question, plain
from hostscope.errors import Denied
from hostscope.model.interface import Interface, InterfaceAddress
from hostscope.model.socket import Endpoint, Socket, SocketOwner, SocketRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally
from hostscope.render.mask import mask_process
from tests.fake import Answers, host, key, process

OURS, OTHER = 1, 2
CLIENT, SERVER = Endpoint("10.0.0.1", 40000), Endpoint("192.0.2.1", 443)
FORTH = Question("tcp", CLIENT, SERVER)


def sock(
    pid: int, local: Endpoint, remote: Endpoint | None = None, protocol: str = "tcp", net_ns: int = OURS
) -> Socket:
    owners = (SocketOwner(key(pid), f"p{pid}"),)
    return Socket("inet", "stream", protocol, "established", local, remote, pid, net_ns, owners=owners)


def answers(*sockets: Socket) -> Answers:
    addresses = (InterfaceAddress("inet", "10.0.0.1", 24), InterfaceAddress("inet", "127.0.0.1", 8))
    own = Interface("eth0", 1, "ethernet", ("up",), "up", addresses=addresses)
    return Answers(sockets=list(sockets), interfaces=[[own]])


PROCESSES = (process(5, "curl", argv=("curl", "--password=hunter2")), process(6, "nginx"))


def owners_of(box: Host, **given: Any) -> Owners:
    return Owners(box, mask_process, Tally(), OURS, **given)


def names(found: Any) -> tuple[list[str], list[str], str | None]:
    return [one.name for one in found.source], [one.name for one in found.destination], found.unknown


def test_a_connection_is_its_sockets_holder_in_either_direction() -> None:
    owners = owners_of(host(*PROCESSES, answers=answers(sock(5, CLIENT, SERVER))))
    forth, back = owners.of([FORTH, Question("tcp", SERVER, CLIENT)])
    assert names(forth) == (["curl"], [], None)
    assert names(back) == ([], ["curl"], None)


def test_secrets_are_masked_before_anyone_sees_them() -> None:
    owners = owners_of(host(*PROCESSES, answers=answers(sock(5, CLIENT, SERVER))))
    assert owners.of([FORTH])[0].source[0].command == "curl --password=***"


def test_both_ends_of_loopback_have_owners() -> None:
    one, two = Endpoint("127.0.0.1", 1000), Endpoint("127.0.0.1", 80)
    owners = owners_of(host(*PROCESSES, answers=answers(sock(5, one, two), sock(6, two, one))))
    assert names(owners.of([Question("tcp", one, two)])[0]) == (["curl"], ["nginx"], None)


@pytest.mark.parametrize("bound", ["10.0.0.1", "0.0.0.0", "::"])
def test_a_datagram_belongs_to_who_waits_there(bound: str) -> None:
    waiting = sock(6, Endpoint(bound, 40000), protocol="udp")
    owners = owners_of(host(*PROCESSES, answers=answers(waiting)))
    assert names(owners.of([Question("udp", SERVER, CLIENT)])[0]) == ([], ["nginx"], None)


def test_mapped_addresses_are_ipv4() -> None:
    mapped = sock(5, Endpoint("::ffff:10.0.0.1", 40000), Endpoint("::ffff:192.0.2.1", 443))
    owners = owners_of(host(*PROCESSES, answers=answers(mapped)))
    assert names(owners.of([FORTH])[0]) == (["curl"], [], None)
    assert plain(Endpoint("fe80::1%eth0", 1)) == Endpoint("fe80::1", 1)


def test_sockets_of_other_namespaces_count_but_their_loopback_does_not() -> None:
    inside = sock(6, Endpoint("127.0.0.1", 80), net_ns=OTHER)
    elsewhere = sock(5, CLIENT, SERVER, net_ns=OTHER)
    owners = owners_of(host(*PROCESSES, answers=answers(inside, elsewhere)))
    found = owners.of([FORTH, Question("tcp", Endpoint("127.0.0.1", 9), Endpoint("127.0.0.1", 80))])
    assert [names(one) for one in found] == [(["curl"], [], None), ([], [], "gone")]


def test_ours_wins_over_the_same_ends_in_another_namespace() -> None:
    owners = owners_of(
        host(*PROCESSES, answers=answers(sock(5, CLIENT, SERVER), sock(6, CLIENT, SERVER, net_ns=OTHER)))
    )
    assert names(owners.of([FORTH])[0]) == (["curl"], [], None)


def test_reasons_for_no_process() -> None:
    owners = owners_of(host(*PROCESSES, answers=answers()))
    through = Question("tcp", Endpoint("198.51.100.1", 1), SERVER)
    echo = Question("icmp", CLIENT, SERVER)
    assert [one.unknown for one in owners.of([FORTH, through, echo])] == ["gone", "forwarded", "kernel"]


def test_a_socket_whose_holder_may_not_be_seen_or_that_has_none() -> None:
    denied = changed(sock(5, CLIENT, SERVER), owners=None)
    kernels = changed(sock(5, CLIENT, Endpoint("192.0.2.7", 2049)), owners=())
    closing = changed(sock(5, CLIENT, Endpoint("192.0.2.8", 1)), owners=(), inode=None)
    owners = owners_of(host(*PROCESSES, answers=answers(denied, kernels, closing)))
    asked = [Question("tcp", CLIENT, one.remote) for one in (denied, kernels, closing) if one.remote]
    assert [one.unknown for one in owners.of(asked)] == ["denied", "kernel", "gone"]


class Sockets:
    """Counts how often it is asked."""

    def __init__(self, *looks: list[Socket]) -> None:
        self.looks, self.asked = list(looks), 0

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        self.asked += 1
        return iter(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def owners(self, port: int) -> tuple[int, ...]:
        return ()


def test_sockets_are_looked_at_again_only_after_a_while_and_closed_ones_are_remembered() -> None:
    now = [0.0]
    sockets = Sockets([sock(5, CLIENT, SERVER)], [])
    owners = owners_of(replace(host(*PROCESSES, answers=answers()), sockets=sockets), clock=lambda: now[0])
    unknown = Question("tcp", CLIENT, Endpoint("192.0.2.9", 1))
    assert names(owners.of([FORTH])[0]) == (["curl"], [], None)
    owners.of([unknown])
    assert sockets.asked == 1
    now[0] = 10.0
    owners.of([unknown])
    assert sockets.asked == 2
    assert names(owners.of([FORTH])[0]) == (["curl"], [], None), "its socket was there one look before"


def test_a_host_that_does_not_list_sockets_is_said_once() -> None:
    class Refusing(Sockets):
        def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
            self.asked += 1
            raise Denied("not you")

    refusing, tally = Refusing([]), Tally()
    owners = Owners(replace(host(answers=answers()), sockets=refusing), mask_process, tally, OURS)
    assert owners.of([FORTH])[0].unknown == "gone"
    owners.of([FORTH])
    assert refusing.asked == 1
    assert tally.notes == ["packets carry no processes: not you"]


def test_a_process_that_ended_keeps_its_name() -> None:
    owners = owners_of(host(answers=answers(sock(5, CLIENT, SERVER))))
    (owner,) = owners.of([FORTH])[0].source
    assert (owner.name, owner.command) == ("p5", None)
