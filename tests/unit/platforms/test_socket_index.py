"""Ends of packets to holders of sockets."""

from hostscope.model.process import Account
from hostscope.model.socket import Endpoint, Socket, SocketOwner
from hostscope.model.traffic import Counts, Flow
from hostscope.platforms.socket_index import GONE, KERNEL, HostSockets
from tests.fake import process

ONE, OTHER = process(10, "one", 1), process(11, "other", 1)
HERE, THERE = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.9", 5000)


def socket(local: Endpoint, remote: Endpoint | None = None, state: str = "established", **fields: object) -> Socket:
    owner = SocketOwner(ONE.key, "one")
    given: dict[str, object] = {"owners": (owner,), "inode": 5, "net_ns": 1, **fields}
    return Socket("inet", "stream", "tcp", state, local, remote, **given)  # type: ignore[arg-type]


def used(local: Endpoint, remote: Endpoint | None, size: int, row: object = OTHER, **fields: object) -> Flow:
    return Flow(
        "tcp", local, remote, row.key, row.name, payload=Counts(size), net_ns=1, **fields  # type: ignore[attr-defined, arg-type]
    )  # fmt: skip


def name(sockets: HostSockets, *ends: object, cookie: int = 0) -> str | None:
    found = sockets.index(1).find(ends, cookie)  # type: ignore[arg-type]
    return found.name if found else None


def test_connected_before_bound() -> None:
    sockets = HostSockets()
    sockets.add_socket(socket(Endpoint("0.0.0.0", 80), state="listen"))
    sockets.add_flow(used(HERE, THERE, 5))
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5000) == "other"
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5001) == "one"
    assert name(sockets, "tcp", "10.0.0.1", 81, "10.0.0.9", 5001) is None
    assert name(sockets, "udp", "10.0.0.1", 80, "10.0.0.9", 5000) is None


def test_an_exact_address_before_any() -> None:
    sockets = HostSockets()
    sockets.add_socket(socket(Endpoint("0.0.0.0", 80), state="listen"))
    sockets.add_flow(used(HERE, None, 1))
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 1) == "other"
    assert name(sockets, "tcp", "10.0.0.2", 80, "10.0.0.9", 1) == "one"


def test_who_uses_a_shared_socket_most() -> None:
    sockets = HostSockets()
    sockets.add_flow(used(HERE, THERE, 5, ONE))
    sockets.add_flow(used(HERE, THERE, 500, OTHER))
    sockets.add_flow(used(HERE, THERE, 6, ONE))
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5000) == "other"


def test_a_cookie_tells_sockets_of_one_port_apart() -> None:
    sockets = HostSockets()
    sockets.add_flow(used(HERE, None, 100, ONE, cookie=7))
    sockets.add_flow(used(HERE, None, 1, OTHER, cookie=8))
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5000, cookie=8) == "other"
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5000) == "one"


def test_mptcp_sends_tcp() -> None:
    sockets = HostSockets()
    sockets.add_flow(Flow("mptcp", HERE, THERE, ONE.key, "one", net_ns=1))
    assert name(sockets, "tcp", "10.0.0.1", 80, "10.0.0.9", 5000) == "one"


def test_without_a_holder_it_is_the_kernels_or_closing() -> None:
    sockets = HostSockets()
    user = Account("0", "root")
    sockets.add_socket(socket(HERE, THERE, owners=(), user=user))
    sockets.add_socket(socket(HERE, Endpoint("10.0.0.9", 1), "time-wait", owners=(), inode=None))
    kernel = sockets.index(1).find(("tcp", "10.0.0.1", 80, "10.0.0.9", 5000))
    closing = sockets.index(1).find(("tcp", "10.0.0.1", 80, "10.0.0.9", 1))
    assert kernel is not None and kernel.unknown == KERNEL
    assert closing is not None and closing.unknown == GONE


def test_other_namespaces() -> None:
    sockets = HostSockets()
    sockets.add_flow(used(HERE, THERE, 1))
    ends = ("tcp", "10.0.0.1", 80, "10.0.0.9", 5000)
    assert sockets.elsewhere(1, ends) is None
    assert sockets.elsewhere(2, ends) is not None
