"""Ports of connections that are closed when the kernel has forgotten them, and who listened before."""

import pytest

from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.platforms.linux import accepted
from hostscope.platforms.linux.accepted import CLOSE, ESTABLISHED, Listeners, LocalPorts
from hostscope.platforms.linux.event_record import SocketState
from tests.fake import key

PEER = Endpoint("10.0.0.2", 40000)


def change(old: int, new: int, port: int, peer: Endpoint = PEER) -> SocketState:
    return SocketState("tcp", old, new, Endpoint("10.0.0.1", port), peer, 7)


def test_the_port_comes_back_at_the_end_and_only_once() -> None:
    ports = LocalPorts()
    made = change(3, ESTABLISHED, 80)
    assert ports.complete(made) is made
    assert ports.complete(change(9, CLOSE, 0)).local == Endpoint("10.0.0.1", 80)
    assert ports.complete(change(9, CLOSE, 0)).local == Endpoint("10.0.0.1", None)


def test_what_the_kernel_tells_stays() -> None:
    ports = LocalPorts()
    ports.complete(change(3, ESTABLISHED, 80))
    assert ports.complete(change(9, CLOSE, 81)).local.port == 81
    assert ports.complete(change(9, CLOSE, 0)).local.port is None


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepted, "MOST_CONNECTIONS", 2)
    ports = LocalPorts()
    for number in (1, 2, 3):
        ports.complete(change(3, ESTABLISHED, 80, Endpoint("10.0.0.2", number)))
    ended = [ports.complete(change(9, CLOSE, 0, Endpoint("10.0.0.2", number))).local.port for number in (1, 2, 3)]
    assert ended == [None, 80, 80]


def listening(address: str, port: int, *pids: int, net_ns: int = 7) -> Socket:
    owners = tuple(SocketOwner(key(pid, start=1000 - pid), "x") for pid in pids)
    return Socket("inet", "stream", "tcp", "listen", Endpoint(address, port), None, 1, net_ns, owners=owners)


def test_who_listens_is_found_by_address_before_any_address() -> None:
    found = Listeners([listening("10.0.0.1", 80, 1), listening("0.0.0.0", 80, 2), listening("::", 81, 3)])
    asked = [("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.2", 81), ("fe80::1", 81), ("fe80::1", 80), ("10.0.0.1", 9)]
    pids = [who.pid if who else None for who in (found.of(7, Endpoint(*place)) for place in asked)]
    assert pids == [1, 2, 3, 3, None, None]
    assert found.of(8, Endpoint("10.0.0.1", 80)) is None


def test_several_sockets_at_one_place_are_nobodys_and_shared_ones_the_oldest_holders() -> None:
    found = Listeners([listening("::", 80, 1), listening("::", 80, 2), listening("::", 81, 3, 4), listening("::", 82)])
    assert found.of(7, Endpoint("::1", 80)) is None and found.of(7, Endpoint("::1", 82)) is None
    oldest = found.of(7, Endpoint("::1", 81))
    assert oldest is not None and oldest.pid == 4
