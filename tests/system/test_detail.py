"""What a process holds, told by the process itself."""

import os
import platform
import subprocess
from pathlib import Path

import psutil
import pytest

from hostscope.errors import Gone
from hostscope.model.detail import OpenFile, ProcessDetail
from hostscope.model.gap import Reason
from hostscope.model.socket import Socket
from hostscope.platforms.linux.detail import PARTS, read_detail
from tests.system.told_child import run_told, told_child

pytestmark = pytest.mark.system

ALL = frozenset(PARTS)


def by_fd(detail: ProcessDetail) -> dict[int, OpenFile]:
    assert detail.open_files is not None
    return {file.fd: file for file in detail.open_files}


def test_open_files(tmp_path: Path) -> None:
    script = f"""
import os
where = {str(tmp_path)!r}
def make(name, flags=os.O_RDWR): return os.open(os.path.join(where, name), flags | os.O_CREAT, 0o600)
plain, append, gone, named, newline = make("plain"), make("append", os.O_WRONLY | os.O_APPEND), make("gone"), \\
    make("real (deleted)"), make("new\\nline\\udcff")
os.write(plain, b"x" * 17)
os.unlink(os.path.join(where, "gone"))
os.mkfifo(os.path.join(where, "fifo"))
told = {{"plain": plain, "append": append, "gone": gone, "named": named, "newline": newline}}
told |= {{"path": os.open(where, os.O_PATH), "directory": os.open(where, os.O_RDONLY), "fifo": make("fifo")}}
told |= {{"memfd": os.memfd_create("secret"), "event": os.eventfd(0), "pidfd": os.pidfd_open(os.getpid()),
    "null": os.open("/dev/null", os.O_WRONLY), "pipe": os.pipe()[0]}}
inodes = {{name: os.fstat(fd).st_ino for name, fd in told.items()}}
told = [told, inodes]
"""
    with told_child(script) as (pid, (told, inodes)):
        detail = read_detail(pid, frozenset({"open_files"}))
        listed = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    files, at = by_fd(detail), {name: by_fd(detail)[fd] for name, fd in told.items()}
    assert files.keys() == listed
    assert detail.gaps == ()
    assert at["plain"] == OpenFile(told["plain"], "file", f"{tmp_path}/plain", "rw", 17, inodes["plain"], False)
    assert (at["append"].mode, at["append"].position) == ("wa", 0)
    assert (at["gone"].path, at["gone"].deleted) == (f"{tmp_path}/gone", True)
    assert (at["named"].path, at["named"].deleted) == (f"{tmp_path}/real (deleted)", False)
    assert at["newline"].path == f"{tmp_path}/new\nline\U0010eeff"
    kinds = {name: file.kind for name, file in at.items()}
    assert kinds == dict.fromkeys(("plain", "append", "gone", "named", "newline"), "file") | {
        "path": "directory",
        "directory": "directory",
        "fifo": "pipe",
        "memfd": "memfd",
        "event": "anon_inode",
        "pidfd": "pidfd",
        "null": "device",
        "pipe": "pipe",
    }
    assert (at["path"].mode, at["directory"].mode, at["null"].mode) == (None, "r", "w")
    assert (at["pipe"].path, at["pipe"].inode) == (f"pipe:[{inodes['pipe']}]", inodes["pipe"])
    assert at["memfd"].path == "/memfd:secret" and at["memfd"].deleted


def test_an_unlinked_name_of_a_file_with_another_is_deleted(tmp_path: Path) -> None:
    script = f"""
import os
path = {str(tmp_path / "name")!r}
told = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
os.link(path, path + ".other"); os.unlink(path)
"""
    with told_child(script) as (pid, fd):
        found = by_fd(read_detail(pid, frozenset({"open_files"})))[fd]
    assert (found.path, found.deleted) == (str(tmp_path / "name"), True)


def test_maps(tmp_path: Path) -> None:
    script = f"""
import mmap, os
def mapped(name):
    fd = os.open(os.path.join({str(tmp_path)!r}, name), os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, 8192)
    found = mmap.mmap(fd, 8192, mmap.MAP_SHARED, mmap.PROT_READ)
    keep.append(found)
    return os.fstat(fd).st_ino
keep = []
told = {{name: mapped(name) for name in ("plain", "new\\nline", "gone", "real (deleted)")}}
os.unlink(os.path.join({str(tmp_path)!r}, "gone"))
keep.append(mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
"""
    with told_child(script) as (pid, inodes):
        maps = read_detail(pid, frozenset({"maps"})).maps or ()
        lines = Path(f"/proc/{pid}/maps").read_bytes().count(b"\n")
    assert len(maps) == lines
    named = {found.path: found for found in maps if found.path and found.path.startswith(str(tmp_path))}
    assert {Path(path).name: found.inode for path, found in named.items()} == inodes
    assert {Path(path).name for path, found in named.items() if found.deleted} == {"gone"}
    plain = named[f"{tmp_path}/plain"]
    assert (plain.permissions, plain.end - plain.start, plain.offset) == ("r--s", 8192, 0)
    assert [found.permissions for found in maps if found.path is None and found.permissions == "rwxp"] == ["rwxp"]
    assert {"[heap]", "[stack]"} <= {found.path for found in maps}


def test_threads() -> None:
    script = """
import threading, time
told = []
for _ in range(3):
    ready = threading.Event()
    def run(): told.append(threading.get_native_id()); ready.set(); threading.Event().wait()
    threading.Thread(target=run, daemon=True).start(); ready.wait()
while time.thread_time() < 0.1: pass
open("/proc/self/task/%d/comm" % told[0], "w").write("a) R (b\\n")
"""
    with told_child(script) as (pid, tids):
        threads = {thread.tid: thread for thread in read_detail(pid, frozenset({"threads"})).threads or ()}
        started = psutil.Process(pid).create_time()
    assert set(threads) == {pid, *tids}
    assert threads[tids[0]].name == "a) R (b\n"
    assert all(thread.state == "sleeping" for tid, thread in threads.items() if tid != pid)
    assert abs(threads[pid].started_at_ns / 1e9 - started) < 2
    assert threads[pid].user_ns + threads[pid].system_ns >= 80_000_000


def by_descriptor(detail: ProcessDetail) -> dict[int | None, Socket]:
    return {one.owners[0].fd: one for one in detail.sockets or () if one.owners}


def test_sockets() -> None:
    script = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); served = listener.accept()[0]
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); six.bind(("::1", 0))
pair = socket.socketpair()
named = socket.socket(socket.AF_UNIX); named.bind("\\0hostscope %d" % os.getpid()); named.listen()
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); link.bind((0, 0))
unbound = socket.socket()
port = lambda one: one.getsockname()[1]
told = {
    "listener": [listener.fileno(), "tcp", "listen", "127.0.0.1:%d" % port(listener), None],
    "client": [client.fileno(), "tcp", "established", "127.0.0.1:%d" % port(client), "127.0.0.1:%d" % port(listener)],
    "served": [served.fileno(), "tcp", "established", "127.0.0.1:%d" % port(listener), "127.0.0.1:%d" % port(client)],
    "six": [six.fileno(), "udp", "unconnected", "[::1]:%d" % port(six), None],
    "pair": [pair[0].fileno(), None, "connected", None, None],
    "named": [named.fileno(), None, "listen", "@hostscope %d" % os.getpid(), None],
    "netlink": [link.fileno(), "route", None, ":%d" % link.getsockname()[0], None],
    "unbound": [unbound.fileno(), None, None, None, None],
}
"""
    with told_child(script) as (pid, told):
        detail = read_detail(pid, frozenset({"sockets"}))
        inodes = {fd: os.stat(f"/proc/{pid}/fd/{fd}").st_ino for fd, *_ in told.values()}
    sockets = by_descriptor(detail)
    found = {
        fd: [fd, one.protocol, one.state, one.local and str(one.local), one.remote and str(one.remote)]
        for fd, one in sockets.items()
    }
    assert {name: found[row[0]] for name, row in told.items()} == told
    assert {fd: one.inode for fd, one in sockets.items() if fd in inodes} == inodes
    assert {owner.key.pid for one in sockets.values() for owner in one.owners or ()} == {pid}
    directions = {name: sockets[row[0]].direction for name, row in told.items()}
    assert [directions[name] for name in ("listener", "client", "served")] == ["listening", "outbound", "inbound"]
    assert sockets[told["unbound"][0]].family == "tcp"
    # A TCP socket that was never bound is in no table; the kernel still names its protocol.
    assert [(gap.reason, (gap.detail or "")[:9]) for gap in detail.gaps] == [(Reason.UNAVAILABLE, "1 sockets")]


@pytest.mark.root
def test_packet_and_raw_sockets_and_another_network_namespace() -> None:
    script = """
import socket
packet, raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
packet.bind(("lo", 0x88cc))
server = socket.create_server(("0.0.0.0", 0))
told = [packet.fileno(), raw.fileno(), server.fileno(), server.getsockname()[1]]
"""
    with told_child(script, prefix=["unshare", "--net"]) as (pid, (packet, raw, server, port)):
        found = by_descriptor(read_detail(pid, frozenset({"sockets"})))
    assert (found[packet].family, found[packet].protocol) == ("packet", "0x88cc")
    assert (found[raw].kind, found[raw].protocol, str(found[raw].local)) == ("raw", "icmp", "0.0.0.0")
    assert (found[server].protocol, found[server].state) == ("tcp", "listen")
    assert str(found[server].local) == f"0.0.0.0:{port}"


def test_environment() -> None:
    environment = {"PATH": os.environ["PATH"], "A": "b=c", "EMPTY": "", "LINE": "one\ntwo"}
    with told_child("told = 0", env=environment) as (pid, _):
        found = read_detail(pid, frozenset({"environment"})).environment or ()
    assert {one.name: one.value for one in found} == environment


def test_a_zombie_has_nothing_left_and_no_gaps() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        found = read_detail(pid, ALL)
    finally:
        os.waitpid(pid, 0)
    assert (found.maps, found.environment, found.open_files, found.sockets) == ((), (), (), ())
    assert [thread.state for thread in found.threads or ()] == ["zombie"]
    assert found.gaps == ()
    with pytest.raises(Gone):
        read_detail(pid, ALL)


def test_what_goes_on_after_the_first_thread_ended_is_read() -> None:
    """pthread_exit in main leaves a zombie in /proc/PID, while files, memory and sockets live on."""
    exit_thread = {"x86_64": 60}.get(platform.machine(), 93)  # SYS_exit ends the calling thread alone
    script = f"""
import ctypes, json, os, socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
def first_thread_ended(): return open("/proc/self/stat").read().rpartition(") ")[2][0] == "Z"
def go_on():
    while not first_thread_ended(): os.sched_yield()
    print(json.dumps([listener.fileno(), listener.getsockname()[1]]), flush=True)
    sys.stdin.readline()
    os._exit(0)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall(ctypes.c_long({exit_thread}), 0)
"""
    with told_child(script) as (pid, (fd, port)):
        found = read_detail(pid, ALL)
    assert [thread.state for thread in found.threads or ()].count("zombie") == 1
    assert by_fd(found)[fd].kind == "socket"
    assert found.maps and found.environment
    assert str(by_descriptor(found)[fd].local) == f"127.0.0.1:{port}"
    assert found.gaps == ()


@pytest.mark.root
def test_a_kernel_thread_has_no_maps_and_no_gaps() -> None:
    kernel_threads = [process.pid for process in psutil.process_iter(["ppid"]) if process.info["ppid"] == 2]
    if not kernel_threads:
        pytest.skip("no kernel threads in this PID namespace")
    found = read_detail(kernel_threads[0], ALL)
    assert (found.maps, found.environment, found.open_files, found.gaps) == ((), (), (), ())


@pytest.mark.root
def test_without_privilege_each_part_says_denied() -> None:
    script = f"""
from hostscope.platforms.linux.detail import PARTS, read_detail
found = read_detail({os.getpid()}, frozenset(PARTS))
told = [{{gap.field: gap.reason for gap in found.gaps}}, len(found.threads)]
"""
    gaps, threads = run_told(script, drop=True)
    assert gaps == dict.fromkeys(("open_files", "maps", "sockets", "environment", "modules"), "denied")
    assert threads >= 1


def test_a_process_that_ends_between_two_parts() -> None:
    """The open directory of an ended process answers ESRCH, never with another process."""
    from hostscope.platforms.linux.detail import _Reader

    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    directory = os.open(f"/proc/{child.pid}", os.O_PATH)
    try:
        child.communicate()
        found = _Reader(directory, directory, 0).read(ALL)
    finally:
        os.close(directory)
    assert {gap.field: gap.reason for gap in found.gaps} == dict.fromkeys(PARTS, Reason.GONE)
