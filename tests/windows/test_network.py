"""Sockets, interfaces and resolvers of a live network stack, beside children that tell what they hold."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope.errors import Unsupported
from hostscope.model.gap import Reason
from hostscope.model.interface import Interface
from hostscope.model.socket import Socket, SocketRequest
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.adapters import read_adapters
from hostscope.platforms.windows.clock import read_boot
from hostscope.platforms.windows.interfaces import Interfaces
from hostscope.platforms.windows.native import iphlpapi, netioapi
from hostscope.platforms.windows.parse_network import parse_route
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.resolvers import Resolvers
from hostscope.platforms.windows.sockets import METHODS, Sockets
from tests.windows.children import Child
from tests.windows.missing import skip_missing, unless_missing

HOLDER = """
import socket
from contextlib import suppress

def touched(one):  # Wine knows the owner of a socket only once its process has used it
    one.setblocking(False)
    for use in (one.getpeername, lambda: one.recv(1)):
        with suppress(OSError):
            use()
    return one.getsockname()[1]

family, loop = (socket.AF_INET6, "::1") if sys.argv[-1] == "inet6" else (socket.AF_INET, "127.0.0.1")
listener, datagrams = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
listener.bind((loop, 0))
listener.listen()
datagrams.bind((loop, 0))
client = socket.create_connection(listener.getsockname()[:2])
served, _ = listener.accept()
ports = {name: touched(one) for name, one in (("client", client), ("tcp", listener), ("udp", datagrams))}
say(**ports)
wait()
"""
LOOP = {"inet": "127.0.0.1", "inet6": "::1"}
Start = Callable[..., Child]


def sockets(method: str | None = None, **request: Any) -> list[Socket]:
    return list(Sockets(read_boot()).sweep(SocketRequest(method=method, **request), Tally()))


def at(rows: list[Socket], port: int) -> list[Socket]:
    return [row for row in rows if row.local and row.local.port == port]


def pids(row: Socket) -> list[int]:
    """Skips where Wine names nobody."""
    if row.owners is None and any(gap.field == "owners" and gap.reason is Reason.UNAVAILABLE for gap in row.gaps):
        skip_missing("GetExtendedTcpTable", "names no owner of a socket that its process did not use")
    return [owner.key.pid for owner in row.owners or ()]


@pytest.mark.parametrize("family", ["inet", "inet6"])
@pytest.mark.parametrize("method", METHODS)
def test_listeners_and_connections_of_a_child(child: Start, family: str, method: str) -> None:
    one = child(HOLDER, family)
    rows = sockets(method)
    listener, *accepted = sorted(at(rows, one.told["tcp"]), key=lambda row: row.state != "listen")
    (client,) = at(rows, one.told["client"])
    assert (listener.state, listener.direction, listener.family) == ("listen", "listening", family)
    assert listener.local is not None and listener.local.address == LOOP[family] and listener.remote is None
    assert (client.state, client.direction) == ("established", "outbound")
    assert client.remote is not None and (client.remote.address, client.remote.port) == (LOOP[family], one.told["tcp"])
    assert [(row.state, row.direction) for row in accepted] == [("established", "inbound")]
    assert pids(listener) == [one.pid] and pids(client) == [one.pid]


@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_udp_endpoints_of_a_child(child: Start, family: str) -> None:
    one = child(HOLDER, family)
    (row,) = [row for row in at(sockets(), one.told["udp"]) if row.protocol == "udp"]
    assert (row.kind, row.state, row.remote, row.family) == ("dgram", None, None, family)
    assert {"state", "remote"} <= {gap.field for gap in row.gaps}
    assert pids(row) == [one.pid]


def test_an_owner_is_the_very_process(child: Start) -> None:
    one = child(HOLDER)
    (row,) = [row for row in at(sockets(), one.told["tcp"]) if row.state == "listen"]
    assert pids(row) == [one.pid] and row.owners
    (listed,) = [listed for listed in read_processes() if listed.pid == one.pid]
    assert listed.created is not None
    assert row.owners[0].key == read_boot().key(one.pid, listed.created) and row.owners[0].name == listed.name


def test_owners_of_a_port(child: Start) -> None:
    one = child(HOLDER)
    assert Sockets(read_boot()).owners(one.told["udp"]) == (one.pid,)
    assert Sockets(read_boot()).owners(one.told["tcp"])[0] == one.pid


def test_a_socket_goes_with_its_process(child: Start) -> None:
    one = child(HOLDER)
    port = one.told["udp"]
    assert at(sockets(), port)
    one.end()
    assert not [row for row in at(sockets(), port) if row.protocol == "udp"]


def test_ages(child: Start) -> None:
    one = child(HOLDER)
    (row,) = [row for row in at(sockets(age=True), one.told["tcp"]) if row.state == "listen"]
    if row.age_ns is None:
        skip_missing("GetExtendedTcpTable", "does not tell when a socket was made")
    assert row.age_ns is not None and 0 <= row.age_ns < 120_000_000_000


def test_statistics_of_connections(child: Start) -> None:
    one = child(HOLDER)
    (row,) = at(sockets(tcp_details=True), one.told["client"])
    assert row.tcp is not None or any(gap.field == "tcp" for gap in row.gaps)
    with unless_missing():
        asked = iphlpapi.MIB_TCPROW()
        iphlpapi.connection_data(asked)


def test_services_behind_sockets() -> None:
    with unless_missing():
        iphlpapi.owner_module("tcp", iphlpapi.MIB_TCPROW_OWNER_MODULE())


def test_unix_sockets_are_not_listed() -> None:
    with pytest.raises(Unsupported):
        sockets(families=frozenset({"unix", "packet"}))


# Interfaces -----------------------------------------------------------------------------------------------------------


def interfaces() -> dict[str, Interface]:
    return {row.name: row for row in Interfaces().interfaces(Tally())}


def test_our_own_address_is_one_of_an_interfaces() -> None:
    found = {address.address for row in interfaces().values() for address in row.addresses}
    assert {"127.0.0.1"} <= found
    for _, _, _, _, place in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET):
        assert place[0] in found or str(place[0]).startswith("127.")


def test_the_loopback_interface() -> None:
    (row,) = [row for row in interfaces().values() if row.kind == "loopback"]
    assert row.state == "up" and "running" in row.flags and row.counters is not None
    assert ("127.0.0.1", 8, "host") in {(one.address, one.prefix, one.scope) for one in row.addresses}


def test_counters_move_with_traffic() -> None:
    before = interfaces()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        served, _ = server.accept()
        with served:
            client.sendall(bytes(100_000))
            left = 100_000
            while left:
                left -= len(served.recv(left))
    (name,) = [name for name, row in before.items() if row.kind == "loopback"]
    now, then = interfaces()[name].counters, before[name].counters
    assert now is not None and then is not None
    if now.received_bytes == then.received_bytes == 0:
        pytest.skip("Windows counts nothing on its loopback interface")
    assert now.received_bytes - then.received_bytes >= 100_000


def test_interfaces_are_those_of_the_system_below(wine_version: str | None) -> None:
    """Wine shows the interfaces of Linux, whose own words are in /sys."""
    if wine_version is None:
        pytest.skip("there is no Linux below a real Windows")
    root = Path(r"Z:\sys\class\net")
    found = interfaces()
    assert set(found) == {path.name for path in root.iterdir()}
    for name, row in found.items():
        assert int((root / name / "ifindex").read_text()) == row.index
        assert int((root / name / "mtu").read_text()) == row.mtu_bytes
        mac = (root / name / "address").read_text().strip()
        assert (row.mac or "00:00:00:00:00:00") == mac
        counters = row.counters
        assert counters is not None
        assert counters.received_bytes <= int((root / name / "statistics" / "rx_bytes").read_text())


def test_interfaces_are_psutils() -> None:
    psutil = pytest.importorskip("psutil")
    theirs, ours = psutil.net_if_addrs(), interfaces()
    assert set(theirs) <= set(ours)
    for name, rows in theirs.items():
        addresses = {row.address.partition("%")[0] for row in rows if row.family in (socket.AF_INET, socket.AF_INET6)}
        assert addresses == {one.address for one in ours[name].addresses}
        netmasks = {row.address: row.netmask for row in rows if row.family == socket.AF_INET}
        for one in ours[name].addresses:
            if one.family == "inet":
                mask = socket.inet_ntoa((0xFFFFFFFF << (32 - one.prefix) & 0xFFFFFFFF).to_bytes(4, "big"))
                assert netmasks[one.address] == mask


def test_routes_are_those_of_the_system_below(wine_version: str | None) -> None:
    """Wine tells of IPv4 ones only."""
    if wine_version is None:
        pytest.skip("there is no Linux below a real Windows")
    lines = [line.split() for line in Path(r"Z:\proc\net\route").read_text().splitlines()[1:]]
    # Destination and Gateway are in the machine's byte order, in hexadecimal.
    places = {
        (line[0], *(socket.inet_ntoa(int(word, 16).to_bytes(4, "little")) for word in line[1:3])) for line in lines
    }
    ours = {
        (name, route.destination.partition("/")[0], route.gateway or "0.0.0.0")
        for name, row in interfaces().items()
        for route in row.routes or ()
        if ":" not in route.destination
    }
    assert places and ours == places


def test_routes_lead_to_interfaces() -> None:
    found = [parse_route(row) for row in netioapi.routes()]
    indexes = {row.index for row in interfaces().values()}
    assert found and all(route is not None and route.interface in indexes for route in found)


# Resolvers ------------------------------------------------------------------------------------------------------------


def test_resolvers_are_those_of_adapters() -> None:
    found = list(Resolvers().resolvers(Tally()))
    servers = {server.text for one in read_adapters() for server in one.dns_servers if one.state == 1}
    assert {row.address.partition("%")[0] for row in found if row.source == "adapter"} == servers
    assert all(row.port == 53 and row.interface in interfaces() for row in found if row.source == "adapter")


def test_resolvers_are_those_of_the_system_below(wine_version: str | None) -> None:
    if wine_version is None:
        pytest.skip("there is no Linux below a real Windows")
    lines = Path(r"Z:\etc\resolv.conf").read_text().splitlines()
    servers = {line.split()[1] for line in lines if line.startswith("nameserver") and ":" not in line}
    assert servers <= {row.address for row in Resolvers().resolvers(Tally())}


# Commands -------------------------------------------------------------------------------------------------------------


def command(*arguments: str, code: int = 0) -> Any:
    """What the command says, as JSON; fails unless it ends with `code`."""
    asked = [sys.executable, "-m", "hostscope", *arguments, "--format", "json"]
    done = subprocess.run(
        asked, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False, env=os.environ
    )
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout) if not code else done.stderr.decode()


def test_net(child: Start) -> None:
    one = child(HOLDER)
    found = command("net", "--filter", f"local_port == {one.told['tcp']}")
    assert found["coverage"]["method"] == "owner-module"
    states = sorted(row["state"] for row in found["rows"])
    assert states == ["established", "listen"]
    (row,) = command("net", f":{one.told['udp']}", "--listening")["rows"]
    assert row["local"]["port"] == one.told["udp"]


def test_interfaces_and_dns() -> None:
    assert {row["name"] for row in command("interfaces")["rows"]} == set(interfaces())
    assert {row["address"] for row in command("dns")["rows"]} == {
        row.address for row in Resolvers().resolvers(Tally())
    }  # fmt: skip


def test_traffic_says_by_which_method(wine_version: str | None) -> None:
    if wine_version is not None:
        skip_missing("StartTraceW", "only pretends to trace")
    assert command("traffic", "--duration", "1")["coverage"]["method"] in ("etw", "capture", "polling")


def test_traffic_that_nothing_measures_is_an_error_and_no_empty_table(child: Start, wine_version: str | None) -> None:
    if wine_version is None:
        pytest.skip("a real Windows measures it")
    child(HOLDER)  # a connection, which Wine tells nothing of
    assert "there is no session" in command("traffic", "--duration", "1", code=6)
    assert "no connection is measured" in command("traffic", "--method", "polling", "--duration", "1", code=6)
    assert "raw sockets" in command("traffic", "--method", "capture", "--duration", "1", code=6)
