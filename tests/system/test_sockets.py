"""Owners of ports, told by the children that bind them."""

import os
import socket
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.sockets import Sockets
from tests.system.told_child import run_told, told_child

pytestmark = pytest.mark.system


def sockets(privileges: Privileges | None = None) -> Sockets:
    return Sockets(read_boot(), Containers(), privileges or Privileges())


class Powerless(Privileges):
    """Raises nothing."""

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        return nullcontext()


LISTEN = """
import socket
one = socket.socket(socket.%s, socket.%s)
one.bind(("%s", 0))
if one.type == socket.SOCK_STREAM: one.listen()
told = one.getsockname()[1]
"""


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        ("AF_INET", "SOCK_STREAM", "127.0.0.1"),
        ("AF_INET6", "SOCK_STREAM", "::1"),
        ("AF_INET", "SOCK_DGRAM", "0.0.0.0"),
        ("AF_INET6", "SOCK_DGRAM", "::"),
    ],
)
def test_a_bound_port_has_its_owner(family: str, kind: str, address: str) -> None:
    with told_child(LISTEN % (family, kind, address)) as (pid, port):
        assert sockets().owners(port) == (pid,)
    assert sockets().owners(port) == ()


def test_listeners_come_first() -> None:
    """A connection from the listener's own port number, on another address of this host."""
    listening = told_child(LISTEN % ("AF_INET", "SOCK_STREAM", "127.0.0.1"))
    with listening as (listener, port), socket.socket() as ours:
        ours.bind(("127.0.0.2", port))
        ours.connect(("127.0.0.1", port))
        assert sockets().owners(port) == (listener, os.getpid())


def test_an_inherited_socket_has_two_owners() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        with told_child("told = 0", pass_fds=[ours.fileno()]) as (pid, _):
            assert sockets().owners(ours.getsockname()[1]) == tuple(sorted((os.getpid(), pid)))


@pytest.mark.root
def test_other_network_namespaces_are_looked_into() -> None:
    with told_child(LISTEN % ("AF_INET", "SOCK_STREAM", "0.0.0.0"), prefix=["unshare", "--net"]) as (pid, port):
        assert pid in sockets().owners(port)


@pytest.mark.root
def test_without_privilege_others_do_not_show() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        script = f"from hostscope.platforms.linux.host import open_host\ntold = open_host().sockets.owners({port})"
        assert run_told(script, drop=True) == []


@pytest.mark.root
def test_what_was_lowered_is_raised_for_the_search(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    privileges = Privileges(trail)
    found: list[tuple[int, ...]] = []

    def search(port: int) -> None:
        privileges.lower_all()
        found.extend([sockets(Powerless()).owners(port), sockets(privileges).owners(port)])

    with told_child(LISTEN % ("AF_INET", "SOCK_STREAM", "127.0.0.1"), drop=True) as (pid, port):
        thread = threading.Thread(target=search, args=[port])
        thread.start()
        thread.join()
    assert found == [(), (pid,)]
    assert f"find the owners of port {port}" in trail.path.read_text()


def test_a_free_port_has_none() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        assert sockets().owners(port) == ()  # bound, but neither listening nor connected: in no table
