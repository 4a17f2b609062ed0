"""Events of real processes: nothing missed, or the loss told at its place."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
