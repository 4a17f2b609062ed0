"""Ports of connections that are closed when the kernel has forgotten them."""

import pytest

from hostscope.model.socket import Endpoint
from hostscope.platforms.linux import accepted
from hostscope.platforms.linux.accepted import CLOSE, ESTABLISHED, LocalPorts
from hostscope.platforms.linux.event_record import SocketState

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
