"""Processes that talk over the network, and tell in one line of JSON what they sent and received.

``python -m tests.system.talkers NAME [ARGUMENT…]``; run by `tests.system.test_traffic` and its neighbours.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def talk(name: str, *arguments: object, prefix: tuple[str, ...] = ()) -> Any:
    """What a talker told."""
    command = [*prefix, sys.executable, "-m", "tests.system.talkers", name, *map(str, arguments)]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, timeout=60, check=True)
    return json.loads(done.stdout)


def start(name: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A talker that goes on until its input ends; `said` reads what it tells."""
    command = [*prefix, sys.executable, "-m", "tests.system.talkers", name, *map(str, arguments)]
    return subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(child: "subprocess.Popen[str]") -> Any:
    """The next line of a talker."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the talker ended with {child.wait(60)}")
    return json.loads(line)


def go_on(child: "subprocess.Popen[str]") -> None:
    """Gives a talker the line that it waits for."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def end(child: "subprocess.Popen[str]") -> Any:
    """Ends its input; what it told last, if anything."""
    out, _ = child.communicate(timeout=60)
    return json.loads(out) if out.strip() else None


def _pass(sender: socket.socket, receiver: socket.socket, size: int, times: int) -> int:
    sent = 0
    for _ in range(times):
        sender.sendall(b"x" * size)
        left = size
        while left:
            left -= len(receiver.recv(left))
        sent += size
    return sent


def _connected(family: socket.AddressFamily, address: str, target: str) -> tuple[socket.socket, socket.socket]:
    listener = socket.create_server((address, 0), family=family, dualstack_ipv6=address == "::")
    client = socket.create_connection((target, listener.getsockname()[1]))
    server, _ = listener.accept()
    return client, server


def tcp(size: str, times: str, address: str = "127.0.0.1", target: str = "") -> Any:
    """A connection to itself."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client, server = _connected(family, address, target or address)
    sent = _pass(client, server, int(size), int(times))
    return {"pid": os.getpid(), "sent": sent, "received": sent, "port": client.getsockname()[1]}


def udp(size: str, times: str, how: str = "connected", address: str = "127.0.0.1") -> Any:
    """Datagrams to itself: each is read before the next is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sender, receiver = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    receiver.bind((address, 0))
    place = receiver.getsockname()[:2]
    if how == "connected":
        sender.connect(place)
    for _ in range(int(times)):
        if how == "connected":
            sender.send(b"x" * int(size))
        else:
            sender.sendto(b"x" * int(size), place)
        receiver.recv(1 << 16)
    moved = int(size) * int(times)
    return {"pid": os.getpid(), "sent": moved, "received": moved}


def peek() -> Any:
    """Reads everything twice, once to look at it."""
    client, server = _connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    client.sendall(b"x" * 1000)
    assert len(server.recv(1000, socket.MSG_PEEK | socket.MSG_WAITALL)) == 1000
    assert len(server.recv(1000, socket.MSG_WAITALL)) == 1000
    return {"pid": os.getpid(), "sent": 1000, "received": 1000}


def unix() -> Any:
    """Only AF_UNIX."""
    one, other = socket.socketpair()
    one.sendall(b"x" * 1000)
    other.recv(1000)
    return {"pid": os.getpid()}


def sendfile(size: str) -> Any:
    """A file through sendfile(2), and splice(2) out of a socket."""
    client, server = _connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    handle = os.memfd_create("content")
    os.truncate(handle, int(size))
    sent = 0
    while sent < int(size):
        sent += os.sendfile(client.fileno(), handle, sent, int(size) - sent)
        left = sent
        with suppress(BlockingIOError):
            while left and server.recv(1 << 16, socket.MSG_DONTWAIT):
                left -= 1
    return {"pid": os.getpid(), "sent": sent}


def spliced(size: str) -> Any:
    """What it receives goes from the socket into a pipe, and never through the process."""
    client, server = _connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    read, write = os.pipe()
    client.sendall(b"x" * int(size))
    left = int(size)
    while left:
        moved = os.splice(server.fileno(), write, left)
        left -= moved
        os.read(read, moved)
    return {"pid": os.getpid(), "sent": int(size)}


def forked(size: str) -> Any:
    """A server that forks for each connection, as many do; the parent accepts, the children answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    children = []
    for _ in range(3):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        pid = os.fork()
        if pid == 0:
            server.sendall(b"x" * int(size))
            os._exit(0)
        server.close()
        left = int(size)
        while left:
            left -= len(client.recv(left))
        os.waitpid(pid, 0)
        children.append(pid)
    return {"pid": os.getpid(), "children": children, "received": 3 * int(size)}


def passed(size: str) -> Any:
    """A connection that one process opens and another one uses."""
    client, server = _connected(socket.AF_INET, "127.0.0.1", "127.0.0.1")
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _, (handle,), _, _ = socket.recv_fds(theirs, 1, 1)
        socket.socket(fileno=handle).sendall(b"y" * int(size))
        os._exit(0)
    client.sendall(b"x" * 10)
    socket.send_fds(ours, [b"."], [client.fileno()])
    left = 10 + int(size)
    while left:
        left -= len(server.recv(left))
    os.waitpid(pid, 0)
    return {"pid": os.getpid(), "sent": 10, "child": pid, "child_sent": int(size)}


def reuse() -> Any:
    """Three processes share a port, each with a socket of its own; who got what they tell themselves."""
    first = _reusing(0)
    port = first.getsockname()[1]
    pipes, children = [], []
    for _ in range(2):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _answer(_reusing(port), write)
        pipes.append(read)
        children.append(pid)
    for read in pipes:
        assert os.read(read, 1) == b"r"
    got = {str(os.getpid()): 0} | {str(pid): 0 for pid in children}
    for number in range(40):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("127.0.0.2", 0))
        client.connect(("127.0.0.1", port))
        client.send(b"x" * 100)
        client.settimeout(0.05)
        try:
            got[client.recv(100).decode()] += 100
        except TimeoutError:
            assert first.recv(100), number
            got[str(os.getpid())] += 100
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return {"pid": os.getpid(), "port": port, "got": got}


def _reusing(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def _answer(server: socket.socket, write: int) -> None:
    os.write(write, b"r")
    while True:
        _, peer = server.recvfrom(1 << 16)
        server.sendto(str(os.getpid()).encode(), peer)


def brief(count: str, size: str) -> Any:
    """Many processes of a few milliseconds, each with one connection and one datagram."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    pids = []
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            socket.create_connection(listener.getsockname()).sendall(b"x" * int(size))
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"u" * 100, receiver.getsockname())
            os._exit(0)
        server, _ = listener.accept()
        left = int(size)
        while left:
            left -= len(server.recv(left))
        receiver.recv(200)
        server.close()
        os.waitpid(pid, 0)
        pids.append(pid)
    return {"pid": os.getpid(), "pids": pids, "sent": int(size) + 100, "received": int(count) * (int(size) + 100)}


SO_COOKIE = 57
"""Python has no name for it."""


def crowd(count: str, rounds: str, wait: str = "") -> None:
    """Many sockets in turn, each with datagrams of 10 bytes, not all as many. Tells after each round (or only after
    the last) how many by cookie, and waits for a line."""
    receiver = _receiver()
    made, times = [_sender(receiver) for _ in range(int(count))], dict[int, int]()
    for turn in range(int(rounds)):
        for place, one in enumerate(made):
            _send_tens(one, 1 + (turn + place) % 7, times)
        if wait or turn == int(rounds) - 1:
            print(json.dumps({"pid": os.getpid(), "times": times}), flush=True)
        if wait:
            sys.stdin.readline()


def crowds(generations: str, count: str) -> None:
    """The same with new sockets in each round; tells of all that there were."""
    receiver, times = _receiver(), dict[int, int]()
    for _ in range(int(generations)):
        for place in range(int(count)):
            with _sender(receiver) as one:
                _send_tens(one, 1 + place % 7, times)
        print(json.dumps({"pid": os.getpid(), "times": times}), flush=True)
        sys.stdin.readline()


def _receiver() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def _sender(receiver: socket.socket) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(receiver.getsockname())
    return made


def _send_tens(sender: socket.socket, number: int, times: dict[int, int]) -> None:
    for _ in range(number):
        sender.send(b"x" * 10)
    cookie = int.from_bytes(sender.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)
    times[cookie] = times.get(cookie, 0) + number


def inherited(size: str) -> Any:
    """Parent and child send by the same socket, not as often."""
    receiver = _receiver()
    sender = _sender(receiver)
    sender.send(b"x" * int(size))
    pid = os.fork()
    for _ in range(2 if pid else 5):
        sender.send(b"x" * int(size))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return {"pid": os.getpid(), "child": pid}


def serve(address: str) -> None:
    """Takes connections and datagrams on one port until its input ends, then tells how many bytes it got."""
    listener, receiver = socket.create_server((address, 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(listener.getsockname())
    print(json.dumps({"pid": os.getpid(), "port": listener.getsockname()[1]}), flush=True)
    listener.setblocking(False)
    receiver.setblocking(False)
    got, connections = 0, list[socket.socket]()
    os.set_blocking(0, False)
    while os.read(0, 1) if _readable(0) else True:
        with suppress(BlockingIOError):
            connections.append(listener.accept()[0])
            connections[-1].setblocking(False)
        for one in (receiver, *connections):
            with suppress(BlockingIOError):
                got += len(one.recv(1 << 16))
        time.sleep(0.0002)
    print(json.dumps({"received": got}), flush=True)


def _readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0)[0])


def send(address: str, port: str, size: str, kind: str = "tcp") -> Any:
    """Sends to somebody else, and waits until it has arrived."""
    if kind == "tcp":
        client = socket.create_connection((address, int(port)))
        client.sendall(b"x" * int(size))
        client.shutdown(socket.SHUT_WR)
    else:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(int(size) // 1000):
            client.sendto(b"x" * 1000, (address, int(port)))
            time.sleep(0.0005)
    return {"pid": os.getpid(), "sent": int(size)}


TALKERS: dict[str, Callable[..., Any]] = {
    "tcp": tcp, "udp": udp, "peek": peek, "unix": unix, "sendfile": sendfile, "spliced": spliced,
    "forked": forked, "passed": passed, "crowd": crowd, "crowds": crowds, "inherited": inherited,
    "reuse": reuse, "brief": brief, "serve": serve, "send": send,
}  # fmt: skip

if __name__ == "__main__":
    told = TALKERS[sys.argv[1]](*sys.argv[2:])
    if told is not None:
        print(json.dumps(told), flush=True)
