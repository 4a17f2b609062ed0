"""Events of real processes: nothing missed, or the loss told at its place."""

import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.model.event import (
    Body,
    CredentialChange,
    Event,
    EventRequest,
    Loss,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    PtraceAttach,
    SocketEvent,
)
from hostscope.platforms import open_host
from hostscope.platforms.linux.container_group import UNIFIED
from hostscope.platforms.linux.event_groups import ROOT_GROUP
from hostscope.platforms.linux.events import Events
from hostscope.platforms.linux.proc_connector import NETLINK_CONNECTOR, ProcConnector, What
from hostscope.platforms.tally import Tally

pytestmark = [pytest.mark.system, pytest.mark.root]
LIFE = frozenset({"start", "exec", "exit"})


@contextmanager
def watching(request: EventRequest) -> Iterator[Callable[[], list[Event]]]:
    """Watches while the block runs; the function ends it and gives what happened."""
    stop, events = threading.Event(), []
    try:
        stream = open_host(None).events.watch(request, stop, Tally())
    except (Denied, Unsupported) as failed:
        pytest.skip(f"events cannot be watched here: {failed}")
    reader = threading.Thread(target=lambda: events.extend(stream), daemon=True)
    reader.start()

    def finish() -> list[Event]:
        stop.set()
        reader.join(30)
        assert not reader.is_alive()
        return events

    try:
        yield finish
    finally:
        finish()


def happened(request: EventRequest, act: Callable[[], object]) -> list[Event]:
    with watching(request) as finish:
        act()
        return finish()


def run(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, check=False, capture_output=True)


def of_kind(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event.body, kind)]


def test_every_short_process_is_seen_whole() -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true one two $i; done; exit 3"
    events = happened(EventRequest(LIFE), run("sh", "-c", script))
    execs = [event for event in of_kind(events, ProcessExec) if event.body.exe.endswith("/true")]  # type: ignore[union-attr]
    mine = [event for event in execs if event.body.argv[:2] == ("/bin/true", "one")]  # type: ignore[union-attr, index]
    assert [event.body.argv[3] for event in mine] == [str(n) for n in range(1, 21)]  # type: ignore[union-attr, index]
    assert all(event.body.ancestry[0] == "sh" for event in mine)  # type: ignore[union-attr]
    keys = {event.key for event in mine}
    assert len(keys) == 20
    for kind in (ProcessStart, ProcessExit):
        assert keys <= {event.key for event in of_kind(events, kind)}
    shell = next(event for event in of_kind(events, ProcessExec) if event.body.argv == ("sh", "-c", script))  # type: ignore[union-attr]
    ended = next(event.body for event in of_kind(events, ProcessExit) if event.key == shell.key)
    assert isinstance(ended, ProcessExit) and ended.code == 3 and ended.run_ns and ended.peak_resident_bytes
    assert [event.seq for event in events] == list(range(len(events)))


def test_how_a_process_ended() -> None:
    events = happened(EventRequest(LIFE), run("sh", "-c", "kill -KILL $$"))
    assert any(isinstance(event.body, ProcessExit) and event.body.signal == 9 for event in events)


def test_hostile_and_long_arguments() -> None:
    hostile, long = "\x1b[31mred\n\udcff", "x" * 100_000
    events = happened(EventRequest(LIFE), lambda: (run("/bin/true", hostile)(), run("/bin/true", long)()))
    bodies = [event.body for event in of_kind(events, ProcessExec)]
    argvs = [body.argv for body in bodies if isinstance(body, ProcessExec) and body.argv]
    assert ("/bin/true", "\x1b[31mred\n\U0010eeff") in argvs
    cut = [body for body in bodies if isinstance(body, ProcessExec) and body.truncated]
    assert len(cut) == 1 and cut[0].argv and cut[0].argv[1].startswith("x" * 16_000)


def test_a_program_from_memory() -> None:
    script = (
        "import os; f = os.memfd_create('evil'); os.write(f, open('/bin/true', 'rb').read());"
        "os.execve(f'/proc/self/fd/{f}', ['harmless'], {})"
    )
    events = happened(EventRequest(LIFE), run(sys.executable, "-c", script))
    bodies = [event.body for event in events]
    assert any(isinstance(body, ProcessExec) and body.memfd and body.exe == "memfd:evil" for body in bodies)


def test_what_a_tiny_ring_loses_is_told_where_it_happened() -> None:
    stop, tally = threading.Event(), Tally()
    stream = open_host(None).events.watch(EventRequest(LIFE, buffer_bytes=4096), stop, tally)
    next(stream)
    run("sh", "-c", "for i in $(seq 100); do /bin/true; done")()  # nobody reads meanwhile
    bodies: list[Body] = []
    for event in stream:
        bodies.append(event.body)
        if len(bodies) == 5:
            run("/bin/true", "after")()
            stop.set()
    losses = [body for body in bodies if isinstance(body, Loss)]
    assert losses and sum(loss.events for loss in losses) == tally.lost > 100
    place = bodies.index(losses[0])
    assert any(isinstance(body, ProcessExec) for body in bodies[:place])
    later = [body for body in bodies[place:] if isinstance(body, ProcessExec)]
    assert any(body.argv == ("/bin/true", "after") for body in later)


def test_sockets_have_their_owners() -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname());"
        "a, _ = s.accept(); c.close(); a.close(); s.close()\n"
        "try: socket.create_connection(('127.0.0.1', 1))\nexcept OSError: pass"
    )
    events = happened(EventRequest(LIFE | {"socket"}), run(sys.executable, "-c", script))
    owner = next(
        event.key for event in events if isinstance(event.body, ProcessExec) and script in (event.body.argv or ())
    )
    told = [event.body for event in events if event.key == owner and isinstance(event.body, SocketEvent)]
    assert {body.what for body in told} == {"listen", "connect", "accept", "close"}
    assert [body.remote.port for body in told if body.failed and body.remote] == [1]
    (accepted,) = (body for body in told if body.what == "accept")
    (connected,) = (body for body in told if body.what == "connect" and not body.failed)
    assert (accepted.local, accepted.remote) == (connected.remote, connected.local)


LISTENER = (
    "import socket, sys\ns = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
    "print(s.getsockname()[1], flush=True)\nc = s.accept()[0]\nc.close()\nsys.stdin.read()"
)


@contextmanager
def neighbours() -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Two processes that listen on the same port of two addresses."""
    listeners: dict[str, subprocess.Popen[str]] = {}
    port = "0"
    try:
        for address in ("127.0.0.1", "127.0.0.2"):
            command = [sys.executable, "-c", LISTENER, address, port]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            listeners[address] = child
            assert child.stdout is not None
            port = child.stdout.readline().strip()
        yield listeners
    finally:
        for child in listeners.values():
            child.communicate()


@pytest.mark.parametrize("earlier", [False, True])
def test_listeners_on_one_port_are_not_confused(earlier: bool) -> None:
    with ExitStack() as stack:
        listeners = stack.enter_context(neighbours()) if earlier else {}
        with watching(EventRequest(frozenset({"socket"}))) as finish:
            listeners = listeners or stack.enter_context(neighbours())
            assert listeners["127.0.0.2"].args[-1] != "0"  # type: ignore[index]
            port = int(listeners["127.0.0.2"].args[-1])  # type: ignore[index]
            for address in listeners:
                with socket.create_connection((address, port)) as client:
                    assert client.recv(1) == b""
            events = finish()
    bodies = [(event.key, event.body) for event in events if isinstance(event.body, SocketEvent)]
    accepted = {
        body.local.address: key.pid if key else None
        for key, body in bodies
        if body.what == "accept" and body.local.port == port
    }
    assert accepted == {address: child.pid for address, child in listeners.items()}


def test_a_connection_to_itself_was_accepted_by_nobody() -> None:
    with socket.socket() as alone:
        alone.bind(("127.0.0.1", 0))
        place = alone.getsockname()
        events = happened(EventRequest(frozenset({"socket"})), lambda: alone.connect(place))
    bodies = [(event.key, event.body) for event in events if isinstance(event.body, SocketEvent)]
    told = [(key and key.pid, body.what) for key, body in bodies if body.local.port == place[1]]
    assert told == [(os.getpid(), "connect")]


def test_what_was_accepted_by_an_earlier_listener_ends_with_its_port_and_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def talk() -> None:
            client = socket.create_connection(("127.0.0.1", port))
            server = listener.accept()[0]
            client.close()
            server.close()

        events = happened(EventRequest(frozenset({"socket"})), talk)
    told = [(event.key, event.body) for event in events if isinstance(event.body, SocketEvent)]
    ends = [(key, body) for key, body in told if body.local.port == port]
    assert [body.what for _, body in ends] == ["accept", "close"]
    assert {key.pid if key else None for key, _ in ends} == {os.getpid()}


def test_users_capabilities_and_tracers() -> None:
    request = EventRequest(LIFE | {"credentials", "ptrace"}, capabilities=True)
    attach = (
        "import ctypes, os, signal\npid = os.fork()\nif pid == 0: signal.pause()\n"
        "assert ctypes.CDLL(None).ptrace(16, pid, None, None) == 0\nos.kill(pid, 9)"
    )
    changed = "import os; os.setuid(65534); os.getpid()"
    acts = run(sys.executable, "-c", attach), run(sys.executable, "-c", changed)
    events = happened(request, lambda: [act() for act in acts])
    changes = [event.body for event in events if isinstance(event.body, CredentialChange)]
    assert any(body.what == "uid" and body.after == "65534" for body in changes)
    assert any(body.what == "capabilities" and body.after == "" and body.before for body in changes)
    assert any(isinstance(event.body, PtraceAttach) for event in events)


CALLS = {"x86_64": (60, 56), "aarch64": (93, 220)}
"""Numbers of exit and clone."""
THREADS = (
    "import ctypes, os, sys, threading\nlibc = ctypes.CDLL(None)\nleave, clone = map(int, sys.argv[2:4])\n"
    "def last():\n libc.prctl(15, b'a thread', 0, 0, 0)\n"
    " while open(f'/proc/{os.getpid()}/stat').read().rpartition(')')[2].split()[0] != 'Z': pass\n"
    " libc.syscall(leave, 5)\n"
    "def program():\n os.execv('/bin/true', ['true', 'by a thread'])\n"
    "def sibling():\n if libc.syscall(clone, 0x8000, 0, 0, 0, 0) == 0: os.execv('/bin/true', ['true', 'sibling'])\n"
    "if sys.argv[1] == 'sibling': sibling(); sys.exit()\n"
    "threading.Thread(target=last if sys.argv[1] == 'last' else program).start()\n"
    "libc.syscall(leave, 7) if sys.argv[1] == 'last' else libc.pause()"
)


def threads(what: str) -> list[str]:
    """A command whose threads end or begin programs in ways that are not usual."""
    numbers = CALLS.get(os.uname().machine)
    if numbers is None:
        pytest.skip("the numbers of this machine's system calls are not known")
    return [sys.executable, "-c", THREADS, what, *map(str, numbers)]


@pytest.mark.parametrize("method", ["ring-buffer", "proc-connector"])
def test_a_process_ends_with_its_last_thread_and_under_its_own_name(method: str) -> None:
    with watching(EventRequest(LIFE, method=method)) as finish:
        child = subprocess.Popen(threads("last"))
        code = child.wait()
        events = finish()
    exits = [event for event in of_kind(events, ProcessExit) if event.key and event.key.pid == child.pid]
    (body,) = (event.body for event in exits)
    assert isinstance(body, ProcessExit) and body.code == code and "python" in body.name


@pytest.mark.parametrize("method", ["ring-buffer", "proc-connector"])
def test_a_program_that_a_thread_begins_is_no_end(method: str) -> None:
    with watching(EventRequest(LIFE, method=method)) as finish:
        child = subprocess.Popen(threads("program"))
        assert child.wait() == 0
        events = finish()
    kinds = [
        type(event.body)
        for event in events
        if child.pid in (event.key.pid if event.key else None, getattr(event.body, "pid", None))
    ]
    assert kinds == [ProcessStart, ProcessExec, ProcessExec, ProcessExit]


def test_who_hides_behind_its_parent_is_still_the_one_who_started_it() -> None:
    with watching(EventRequest(LIFE)) as finish:
        child = subprocess.Popen(threads("sibling"))
        child.wait()
        os.waitpid(-1, 0)  # the kernel made it a child of ours
        events = finish()
    started = [event.body for event in of_kind(events, ProcessExec)]
    (sibling,) = (body for body in started if isinstance(body, ProcessExec) and body.argv == ("true", "sibling"))
    assert sibling.parent is not None and sibling.parent.pid == child.pid


def test_the_connector_sees_programs_with_the_privileges_that_a_command_keeps() -> None:
    command = [sys.executable, "-m", "hostscope", "watch", "--method", "proc-connector", "--format", "ndjson"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    try:
        watcher.stdout.readline()
        with subprocess.Popen(["/bin/sleep", "30"]) as sleeper:
            lines = map(json.loads, watcher.stdout)
            exes = (
                line["event"]["body"]["exe"]
                for line in lines
                if line["event"]["body"]["type"] == "exec" and line["event"]["key"]
                and line["event"]["key"]["pid"] == sleeper.pid
            )  # fmt: skip
            assert next(exes).endswith("/sleep")
            sleeper.kill()
    finally:
        watcher.kill()
        watcher.communicate()


def test_the_connector_is_not_believed_to_listen_where_the_kernel_ignores_it() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-U", "-r", "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces cannot be made here")
    command = [unshare, "-U", "-r", sys.executable, "-m", "hostscope", "watch", "--method", "proc-connector"]
    found = subprocess.run([*command, "--duration", "1"], check=False, capture_output=True, text=True, timeout=60)
    assert found.returncode == 6 and "user namespace" in found.stderr


def test_messages_that_the_kernel_did_not_send_are_no_events() -> None:
    with (
        ProcConnector(frozenset({What.UID})) as connector,
        socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR) as forger,
    ):
        port = connector.port
        body = struct.pack("=IIQIIII", What.UID, 0, 1, 4_000_000, 4_000_000, 0, 0)
        head = struct.pack("=IHHII", 36 + len(body), 3, 0, 0, port)
        forger.sendto(head + struct.pack("=IIIIHH", 1, 1, 0, 0, len(body), 0) + body, (port, 0))
        assert not [message for message in connector.read() if getattr(message, "data", (0,))[0] == 4_000_000]


def test_each_event_bears_the_name_of_what_told_it() -> None:
    act = run(sys.executable, "-c", "import os; os.setuid(65534)")
    events = happened(EventRequest(LIFE | {"credentials"}), act)
    told = {type(event.body): event.source for event in events}
    assert told[ProcessExec] == "ring-buffer" and told[CredentialChange] == "proc-connector"


def test_who_changed_its_user_and_was_gone_at_once_is_known() -> None:
    script = (
        "import os\nfor n in range(100):\n pid = os.fork()\n"
        " if pid == 0: os.setuid(4242); os._exit(0)\n os.waitpid(pid, 0)"
    )
    events = happened(EventRequest(frozenset({"credentials"})), run(sys.executable, "-c", script))
    told = [event for event in of_kind(events, CredentialChange) if event.body.after == "4242"]  # type: ignore[union-attr]
    assert len({event.key for event in told if event.key}) == 100
    assert all("python" in event.body.name for event in told)  # type: ignore[union-attr]


def test_what_the_connector_does_not_tell_of_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise Denied("no programs", "needs root")

    monkeypatch.setattr(Events, "_open_ring", denied)
    stop, tally = threading.Event(), Tally()
    stop.set()
    list(open_host(None).events.watch(EventRequest(frozenset({"start", "socket"})), stop, tally))
    assert tally.method == "proc-connector" and tally.hidden and "needs root" in (tally.method_reason or "")
    assert any(note.startswith("socket cannot be watched") for note in tally.notes)


@pytest.fixture
def container() -> Iterator[Path]:
    """The group of a container, empty."""
    mount = next((mount for mount in map(Path, UNIFIED) if (mount / "cgroup.procs").exists()), None)
    if mount is None or mount.stat().st_ino != ROOT_GROUP:
        pytest.skip("the unified hierarchy cannot be seen from its root on")
    group = mount / "docker" / secrets.token_hex(32)
    try:
        group.mkdir(parents=True)
    except OSError as failed:
        pytest.skip(f"groups cannot be made here: {failed}")
    yield group
    group.rmdir()
    with suppress(OSError):
        group.parent.rmdir()


def test_what_is_moved_into_a_container_leaves_the_others_outside(container: Path) -> None:
    move = f"echo $$ > {container}/cgroup.procs; echo moved; exec /bin/cat"
    stop, told = threading.Event(), dict[tuple[str, ...] | None, str | None]()
    stream = open_host(None).events.watch(EventRequest(LIFE), stop, Tally())
    next(stream)
    with subprocess.Popen(["sh", "-c", move], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        assert inside.stdin is not None and inside.stdout is not None
        inside.stdout.readline()  # what it did outside is told of from here on
        for body in (event.body for event in stream if isinstance(event.body, ProcessExec)):
            told[body.argv] = body.container
            if body.argv == ("/bin/cat",):
                run("/bin/true", "outside")()
            if body.argv == ("/bin/true", "outside"):
                stop.set()
        inside.stdin.close()
    assert told["sh", "-c", move] is None and told["/bin/true", "outside"] is None
    assert told["/bin/cat",] == container.name


def test_the_process_connector_alone() -> None:
    events = happened(EventRequest(LIFE, method="proc-connector"), run("/bin/sleep", "0.05"))
    codes = [event.body.code for event in events if isinstance(event.body, ProcessExit)]
    assert 0 in codes and len(of_kind(events, ProcessStart)) >= 1


def test_without_privileges_it_is_said_what_is_missing() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable]
    for more in (("--method", "ring-buffer"), ("--kinds", "socket")):
        command = [*as_nobody, "-m", "hostscope.cli.main", "watch", *more, "--duration", "1"]
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if "hostscope:" not in found.stderr:
            pytest.skip(f"the interpreter cannot be run as nobody: {found.stderr[-80:]}")
        assert found.returncode == 4 and "CAP_BPF" in found.stderr
