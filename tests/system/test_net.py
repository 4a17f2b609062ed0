"""Sockets of real processes, by each of the three methods: the same rows, and those that the children told."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.model.gap import Reason
from hostscope.model.socket import FAMILIES, Socket, SocketRequest
from hostscope.model.text import decode
from hostscope.platforms import open_host
from hostscope.platforms.linux.net_namespaces import Namespaces
from hostscope.platforms.linux.socket_records import OWNERS_UNSEEN
from hostscope.platforms.tally import Tally
from hostscope.render.documents import encode_json
from tests.system.test_containers import NAME, rootfs, runc, until
from tests.system.told_child import run_told, told_child

pytestmark = [pytest.mark.system, pytest.mark.root]

__all__ = ["rootfs", "runc"]
"""Fixtures of others that are used here."""

QUIET = subprocess.DEVNULL
METHODS = ("iterator", "diag", "proc")


def swept(method: str | None = None, **request: Any) -> tuple[list[Socket], Tally]:
    tally = Tally()
    given = {"families": FAMILIES, "method": method} | request
    return list(open_host().sockets.sweep(SocketRequest(**given), tally)), tally


def of_pid(rows: list[Socket], pid: int) -> list[Socket]:
    return [row for row in rows if any(owner.key.pid == pid for owner in row.owners or ())]


def only(rows: list[Socket], **fields: object) -> Socket:
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    return found


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


MIXTURE = """
import os, socket
keep, told = [], {}
def made(*how):
    keep.append(socket.socket(*how)); return keep[-1]
def ino(one): return os.fstat(one.fileno()).st_ino
listener = made(); listener.bind(("127.0.0.1", 0)); listener.listen(9)
port = listener.getsockname()[1]
client = made(); client.connect(("127.0.0.1", port)); served = listener.accept()[0]
client.sendall(b"12345"); served.recv(3)
waiting = made(); waiting.connect(("127.0.0.1", port))
dual = made(socket.AF_INET6, socket.SOCK_STREAM); dual.bind(("::", 0)); dual.listen(5)
mapped = made(); mapped.connect(("127.0.0.1", dual.getsockname()[1])); mapped_served = dual.accept()[0]
udp = made(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
talker = made(socket.AF_INET, socket.SOCK_DGRAM); talker.connect(udp.getsockname())
udp6 = made(socket.AF_INET6, socket.SOCK_DGRAM); udp6.bind(("::1", 0))
lite = made(socket.AF_INET, socket.SOCK_DGRAM, 136); lite.bind(("127.0.0.1", 0))
raw = made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
raw.setsockopt(255, 1, b"\\xff" * 4)  # SOL_RAW, ICMP_FILTER: else every ICMP message of the host piles up in it
packet = made(socket.AF_PACKET, socket.SOCK_RAW, 0); packet.bind(("lo", 0x88cc))
one, two = socket.socketpair()
named = made(socket.AF_UNIX); named.bind("\\0hostscope net %d" % os.getpid()); named.listen(3)
caller = made(socket.AF_UNIX); caller.connect(named.getsockname()); called = named.accept()[0]
silent, unbound = made(), made(socket.AF_INET, socket.SOCK_DGRAM); silent.bind(("127.0.0.1", 0))
names = ("listener client served waiting dual mapped mapped_served udp talker udp6 lite raw packet one two named "
         "caller called silent unbound").split()
told = {name: ino(globals()[name]) for name in names} | {"port": port, "fd": client.fileno()}
"""


@contextmanager
def mixture() -> Iterator[tuple[int, dict[str, int]]]:
    with told_child(MIXTURE) as (pid, told):
        yield pid, told


def test_every_kind_of_socket(method: str) -> None:
    with mixture() as (pid, told):
        rows, tally = swept(method)
    assert tally.method == method
    by_inode = {row.inode: row for row in of_pid(rows, pid)}
    name = {inode: name for name, inode in told.items() if name not in ("port", "fd")}
    found = {name[inode]: row for inode, row in by_inode.items() if inode in name}
    assert set(name.values()) - set(found) == {"silent", "unbound"}, "in no table: neither listening nor connected"
    kinds = {key: (row.family, row.kind, row.protocol, row.state, row.direction) for key, row in found.items()}
    assert kinds == {
        "listener": ("inet", "stream", "tcp", "listen", "listening"),
        "client": ("inet", "stream", "tcp", "established", "outbound"),
        "served": ("inet", "stream", "tcp", "established", "inbound"),
        "waiting": ("inet", "stream", "tcp", "established", "outbound"),
        "dual": ("inet6", "stream", "tcp", "listen", "listening"),
        "mapped": ("inet", "stream", "tcp", "established", "outbound"),
        "mapped_served": ("inet6", "stream", "tcp", "established", "inbound"),
        "udp": ("inet", "dgram", "udp", "unconnected", "listening"),
        "talker": ("inet", "dgram", "udp", "connected", "outbound"),
        "udp6": ("inet6", "dgram", "udp", "unconnected", "listening"),
        "lite": ("inet", "dgram", "udplite", "unconnected", "listening"),
        "raw": ("inet", "raw", "icmp", "unconnected", None),
        "packet": ("packet", "raw", "0x88cc", None, None),
        "one": ("unix", "stream", None, "connected", None),
        "two": ("unix", "stream", None, "connected", None),
        "named": ("unix", "stream", None, "listen", "listening"),
        "caller": ("unix", "stream", None, "connected", None if method == "proc" else "outbound"),
        "called": ("unix", "stream", None, "connected", "inbound"),
    }
    assert {len(row.owners or ()) for row in found.values()} == {1}
    check_details(method, pid, told, found)
    unaccepted = [row for row in rows if row.inode is None and row.local and row.local.port == told["port"]]
    assert [(row.state, row.owners, row.direction) for row in unaccepted] == [("established", (), "inbound")]


def check_details(method: str, pid: int, told: dict[str, int], found: dict[str, Socket]) -> None:
    client, served, listener = found["client"], found["served"], found["listener"]
    assert client.owners is not None
    assert (client.owners[0].key.pid, client.owners[0].fd, client.owners[0].name) == (pid, told["fd"], "python")
    assert client.owners[0].key.start > 0
    assert str(served.local) == f"127.0.0.1:{told['port']}" and served.remote == client.local
    assert served.receive_queue_bytes == 2, "five were sent and three were read"
    assert listener.backlog == 1 and listener.remote is None
    assert str(found["mapped_served"].remote).startswith("[::ffff:127.0.0.1]:")
    assert found["raw"].local is not None and found["raw"].local.port is None
    if method == "proc":
        assert {gap.field for gap in client.gaps} == {"tcp", "interface"}
        assert {gap.field for gap in listener.gaps} == {"backlog_limit", "interface"}
        return
    assert listener.backlog_limit == 9 and listener.gaps == ()
    assert client.tcp is not None and served.tcp is not None
    assert (client.tcp.sent_bytes, client.tcp.acked_bytes, served.tcp.received_bytes) == (5, 5, 5)
    assert client.tcp.rtt_ns and client.tcp.retransmits == 0
    assert found["packet"].interface == "lo"
    assert found["one"].peer_inode == told["two"]
    assert str(found["caller"].remote) == f"@hostscope net {pid}" == str(found["called"].local)
    assert found["named"].backlog_limit == 3


LOOSE = frozenset({"cookie", "gaps", "tcp", "interface", "backlog_limit", "peer_inode", "remote", "direction"})
"""What a method may not know, or what changes between two looks."""


def test_methods_agree_on_what_they_share() -> None:
    with mixture() as (pid, _), socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        found = {name: {row.inode: row for row in of_pid(swept(name)[0], pid)} for name in METHODS}
    best = found["iterator"]
    assert len(best) > 15
    for name in METHODS[1:]:
        assert found[name].keys() == best.keys()
        for inode, row in found[name].items():
            for field in Socket.__struct_fields__:
                mine, theirs = getattr(best[inode], field), getattr(row, field)
                known = theirs is not None or not (field in LOOSE or row.gaps or name == "proc")
                assert mine == theirs or not known or field in ("cookie", "gaps", "tcp"), (name, field, mine, theirs)


def test_all_who_hold_a_socket_own_it(method: str) -> None:
    """Forked servers, and a descriptor that was passed on."""
    script = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0)); dup = os.dup(listener.fileno())
def fork(work):
    down, up = os.pipe()
    pid = os.fork()
    if not pid:
        work(); os.write(up, b"x"); os.close(up); sys.stdin.buffer.raw.read(); os._exit(0)
    os.close(up); assert os.read(down, 1) == b"x"; return pid
heir = fork(lambda: None)
left, right = socket.socketpair()
def receive():
    right.settimeout(10); os.close(listener.fileno()); os.close(dup)
    globals()["got"] = socket.recv_fds(right, 1, 1)
alone = fork(lambda: (os.close(listener.fileno()), os.close(dup)))
socket.send_fds(left, [b"x"], [listener.fileno()])
friend = fork(receive)
told = [heir, alone, friend, listener.fileno(), listener.getsockname()[1]]
"""
    with told_child(script) as (pid, (heir, alone, friend, fd, port)):
        rows, _ = swept(method)
        row = only([row for row in rows if row.local and row.local.port == port], state="listen")
        assert row.owners is not None
        assert sorted(owner.key.pid for owner in row.owners) == sorted([pid, heir, friend])
        assert alone not in {owner.key.pid for owner in row.owners}
        assert {owner.key.pid: owner.fd for owner in row.owners}[pid] == fd, "the lowest of two"


def test_a_descriptor_on_its_way_has_no_owner_yet(method: str) -> None:
    """Between two processes a socket is in no table of descriptors: a way to hide it."""
    script = """
import os, socket
left, right = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(listener.getsockname())
held = listener.accept()[0]
told = [os.fstat(held.fileno()).st_ino, os.fstat(listener.fileno()).st_ino]
socket.send_fds(left, [b"x"], [held.fileno(), listener.fileno()])
held.close(); listener.close()
"""
    with told_child(script) as (_, inodes):
        rows, tally = swept(method)
        found = {row.inode: row for row in rows if row.inode in inodes}
    assert set(found) == set(inodes)
    for row in found.values():
        assert not row.owners and (row.owners == () or row.gaps)
    if method == "iterator":
        assert {(row.owners, row.gaps) for row in found.values()} == {(None, (OWNERS_UNSEEN,))}
        assert any("no process that could be seen" in note for note in tally.notes)
        assert {row.direction for row in found.values()} == {"inbound", "listening"}


KERNEL_SOCKET = """
import subprocess
up = ["ip", "link", "set", "v", "up"]
add = ["ip", "link", "add", "v", "type", "vxlan", "id", "7", "dstport", "4789", "remote", "127.0.0.1"]
told = all(subprocess.run(words, capture_output=True).returncode == 0 for words in (add, up))
"""


@pytest.mark.skipif(not shutil.which("ip") or not shutil.which("unshare"), reason="needs iproute2 and util-linux")
def test_the_kernels_own_socket_is_told_from_one_with_a_hidden_holder() -> None:
    with told_child(KERNEL_SOCKET, prefix=["unshare", "--net"]) as (pid, made):
        if not made:
            pytest.skip("this kernel makes no vxlan device")
        net_ns = os.stat(f"/proc/{pid}/ns/net").st_ino
        rows, tally = swept("iterator")
    own = [row for row in rows if row.net_ns == net_ns and row.local and row.local.port == 4789]
    assert own and all(row.owners == () and row.inode and not row.gaps for row in own)
    assert tally.method == "iterator"


def test_many_listeners_of_one_port(method: str) -> None:
    script = """
import socket
keep = []
for _ in range(4):
    one = socket.socket(); one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", keep[0].getsockname()[1] if keep else 0)); one.listen(); keep.append(one)
told = keep[0].getsockname()[1]
"""
    with told_child(script) as (first, port), told_child(script) as (second, other):
        rows, _ = swept(method)
    assert len([row for row in of_pid(rows, first) if row.local and row.local.port == port]) == 4
    assert len([row for row in of_pid(rows, second) if row.local and row.local.port == other]) == 4


def test_what_was_accepted_is_inbound_after_its_listener_has_gone() -> None:
    """The kernel knows; the other methods can only look for a listener."""
    script = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(listener.getsockname())
served = listener.accept()[0]; listener.close()
told = [os.fstat(one.fileno()).st_ino for one in (client, served)]
"""
    with told_child(script) as (_, (client, served)):
        rows = {row.inode: row for row in swept("iterator")[0]}
        assert (rows[client].direction, rows[served].direction) == ("outbound", "inbound")


def test_time_wait_has_no_owner(method: str) -> None:
    script = """
import socket
listener = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(listener.getsockname())
served = listener.accept()[0]; told = [listener.getsockname()[1], client.getsockname()[1]]
client.shutdown(socket.SHUT_WR); assert served.recv(1) == b""; served.close(); assert client.recv(1) == b""
client.close()
"""
    with told_child(script) as (_, (port, client)):
        rows, _ = swept(method)
        row = only([row for row in rows if row.local and row.remote and row.local.port == client], state="time-wait")
        assert row.remote is not None and row.remote.port == port
        assert (row.owners, row.user, row.inode, row.tcp, row.gaps[1:]) == ((), None, None, None, ())


NAMESPACE = """
import os, socket
one = socket.create_server(("0.0.0.0", 0))
told = [one.getsockname()[1], os.stat("/proc/self/ns/net").st_ino]
"""


def test_a_process_in_another_namespace(method: str) -> None:
    with told_child(NAMESPACE, prefix=["unshare", "--net"]) as (pid, (port, net_ns)):
        row = only(of_pid(swept(method)[0], pid), state="listen")
        assert (row.net_ns, row.local and row.local.port) == (net_ns, port)
        ours = swept(method, all_namespaces=False)[0]
        assert of_pid(ours, pid) == [] and ours


ODD_DEVICE = """
import socket, subprocess
name = b"v\\xff\\x9b"
told = not subprocess.run([b"ip", b"link", b"add", name, b"type", b"bridge"], capture_output=True).returncode
one = socket.socket()
if told:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name + bytes(1))
    one.bind(("0.0.0.0", 0))
    one.listen()
"""


@pytest.mark.root
def test_a_device_whose_name_is_no_text(method: str) -> None:
    """Anybody can make one, in namespaces of their own."""
    with told_child(ODD_DEVICE, prefix=["unshare", "--net"]) as (pid, made):
        if not made:
            pytest.skip("this kernel makes no bridge")
        row = only(of_pid(swept(method)[0], pid), state="listen")
    assert row.interface in ((None,) if method == "proc" else (decode(b"v\xff\x9b"),))
    assert encode_json(row)


@pytest.mark.root
def test_the_ended_are_in_no_namespace_that_could_not_be_told() -> None:
    """A zombie of another user shows neither the number of its namespace nor its tables: it has none any more."""
    zombie = """
import os
pid = os.fork()
if not pid: os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""
    script = """
from hostscope.platforms.linux.net_namespaces import find
told = [find().unread, os.path.exists(f"/proc/{pid}")]
"""
    assert run_told(script, drop=True, before=zombie) == [0, True]


def test_what_namespaces_could_not_be_told_makes_an_answer_incomplete() -> None:
    tally = Tally()
    Namespaces((), 0).tell(tally)
    assert tally.coverage().complete and not tally.notes
    Namespaces((), 3).tell(tally)
    assert not tally.coverage().complete
    assert tally.notes[0].startswith("the network namespaces of 3 processes could not be told")


@pytest.mark.parametrize("more", [b"", b"\xff\n"])
def test_a_namespace_that_only_a_mount_holds(method: str, more: bytes) -> None:
    """``ip netns``, with a socket in it that nobody in our namespace made: its port is told all the same."""
    name = f"hostscope-test-{os.getpid()}".encode() + more
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"ip netns does not work here: {made.stderr.strip()}")
    try:
        place = b"/run/netns/" + name
        inode = os.stat(place).st_ino
        script = f"""
import os, socket
from hostscope.platforms.linux.net_namespaces import NetNamespace, inside
one = inside(NetNamespace({inode}, {decode(place)!r}), lambda: socket.create_server(("0.0.0.0", 0)))
told = [one.getsockname()[1], os.stat("/proc/self/ns/net").st_ino]
"""
        with told_child(script) as (pid, (port, own)):
            row = only(of_pid(swept(method)[0], pid), state="listen")
        assert (row.net_ns, row.local and row.local.port) == (inode, port) and own != inode
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_a_namespace_that_only_a_descriptor_holds(method: str) -> None:
    """Nothing lists it. The socket in it is on its way between processes, so that only its tables show it."""
    script = """
import ctypes, os, socket, threading
left, right = socket.socketpair(); told = []
def hide():
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    globals()["kept"] = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    one = socket.create_server(("0.0.0.0", 0)); told.extend([one.getsockname()[1], os.fstat(kept).st_ino])
    socket.send_fds(left, [b"x"], [one.fileno()]); one.close()
thread = threading.Thread(target=hide); thread.start(); thread.join()
"""
    with told_child(script) as (_, (port, net_ns)):
        rows, _ = swept(method)
        row = only([row for row in rows if row.net_ns == net_ns], state="listen")
        assert row.local is not None and row.local.port == port and not row.owners


def test_a_container(runc: int, method: str) -> None:
    """Busybox listens in a plain runc container, which has a network namespace of its own."""
    command = ["runc", "exec", "-d", NAME, "/bin/busybox", "nc", "-l", "-p", "7777"]
    subprocess.run(command, stdin=QUIET, stdout=QUIET, stderr=QUIET, check=True, timeout=60)
    net_ns = os.stat(f"/proc/{runc}/ns/net").st_ino

    def listening() -> int | None:
        waiting.extend(row for row in swept(method)[0] if row.state == "listen" and row.net_ns == net_ns)
        return len(waiting) or None

    waiting: list[Socket] = []
    assert until(listening) == 1
    assert waiting[0].local is not None and waiting[0].local.port == 7777
    assert waiting[0].owners is not None and waiting[0].owners[0].name == "busybox"
    container = waiting[0].container
    assert container is not None and (container.runtime, container.id) == ("runc", NAME)


def test_processes_that_vanish_meanwhile_end_nothing(method: str) -> None:
    script = """
import subprocess, sys, threading
code = "import socket; socket.create_server(('127.0.0.1', 0))"
stop = threading.Event()
def churn():
    while not stop.is_set(): subprocess.run([sys.executable, "-S", "-E", "-c", code])
threads = [threading.Thread(target=churn, daemon=True) for _ in range(3)]
[thread.start() for thread in threads]; told = 0
"""
    with told_child(script), socket.create_server(("127.0.0.1", 0)) as ours:
        for _ in range(5):
            rows, tally = swept(method)
            mine = only(of_pid(rows, os.getpid()), inode=os.fstat(ours.fileno()).st_ino)
            assert mine.state == "listen" and tally.failed == 0
            seen = [row.inode for row in rows if row.inode and row.family.startswith("inet")]
            assert len(seen) == len(set(seen)), "no socket twice"


@pytest.mark.parametrize("method", ["diag", "proc"])
def test_without_privilege(method: str) -> None:
    script = f"""
import os
from hostscope.model.socket import FAMILIES, SocketRequest
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.tally import Tally
import socket
own = socket.create_server(("127.0.0.1", 0))
tally = Tally()
rows = list(open_host().sockets.sweep(SocketRequest(families=FAMILIES, method={method!r}), tally))
told = [[row.inode, None if row.owners is None else [o.key.pid for o in row.owners], [g.reason for g in row.gaps
        if g.field == "owners"], row.net_ns] for row in rows] + [[os.fstat(own.fileno()).st_ino, os.getpid(), 0, 0]]
"""
    with (
        told_child(NAMESPACE, prefix=["unshare", "--net"]) as (_, (_, net_ns)),
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        *rows, (own, pid, _, _) = run_told(script, drop=True)
        found = {inode: (owners, reasons) for inode, owners, reasons, _ in rows}
        assert found[own] == ([pid], [])
        assert found[os.fstat(other.fileno()).st_ino] == (None, [Reason.DENIED])
    assert net_ns not in {row[3] for row in rows}, "its number may not be read"
    assert any(row[3] is None for row in rows), "but its sockets show"


def test_without_privilege_the_iterator_is_not_chosen_and_coverage_says_why() -> None:
    script = """
from hostscope.model.socket import SocketRequest
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.tally import Tally
tally = Tally(); rows = list(open_host().sockets.sweep(SocketRequest(), tally))
told = [tally.method, tally.method_reason, tally.effects]
"""
    method, reason, effects = run_told(script, drop=True)
    assert method == "diag" and "iterator cannot be used" in reason and effects == []


def test_the_age_of_a_socket_is_a_gap_once_when_it_is_asked_for() -> None:
    with socket.socket() as ours:
        assert os.fstat(ours.fileno()).st_ctime_ns == 0, "now sockets have times: fill age_ns"
    _, tally = swept("diag", age=True)
    assert [(gap.field, gap.reason, gap.rows) for gap in tally.coverage().gaps if gap.field == "age_ns"] == [
        ("age_ns", Reason.UNAVAILABLE, 1)
    ]


@pytest.mark.skipif(not hasattr(socket, "IPPROTO_MPTCP"), reason="this Python does not know MPTCP")
def test_multipath_tcp() -> None:
    try:
        ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    except OSError as failed:
        pytest.skip(f"no MPTCP here: {failed}")
    with ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        for name in ("iterator", "diag"):
            found = of_pid(swept(name)[0], os.getpid())
            assert {row.protocol for row in found if row.local and row.local.port == ours.getsockname()[1]} >= {"mptcp"}
