"""Events on their way out: secrets masked, and nothing in them that a terminal would obey."""

from hostscope.model.event import (
    Body,
    CredentialChange,
    Event,
    Loss,
    ModuleLoad,
    ProcessChange,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    PtraceAttach,
    ServiceChange,
    SocketEvent,
    SystemCall,
)
from hostscope.model.service import ServiceState
from hostscope.model.socket import Endpoint
from hostscope.model.syscall import Argument
from hostscope.render.events import render_event
from hostscope.session.event_exits import let_out
from hostscope.session.exits import Exit
from tests.fake import host, key, process

SECRET = ("curl", "--password=hunter2")


def event(body: Body) -> Event:
    return Event("s", "test", 0, 1_700_000_000_000_000_000, 0, key(42), body)


def test_secrets_are_masked_wherever_arguments_are() -> None:
    leaving = Exit(host(process(1)), reveal=False)
    call = SystemCall("unlink", (Argument("pathname", 1, '"/tmp/x?password=hunter2"'),), 0, None, 42)
    changed = ProcessChange(process(1, argv=SECRET), process(1, argv=SECRET), ("name",))
    unit = ServiceState("run-u1.service", "systemd", description=" ".join(SECRET))
    service = ServiceChange(unit, unit)
    for body in (ProcessExec("curl", "/usr/bin/curl", SECRET, uid=0), changed, service, call):
        assert "hunter2" not in repr(let_out(leaving, event(body)))
        assert "hunter2" in repr(body)


def test_what_holds_no_secret_is_the_same_object() -> None:
    leaving = Exit(host(process(1)), reveal=False)
    for body in (ProcessExec("ls", "/bin/ls", ("ls",)), ProcessExit("ls", 0, None), Loss(1, "full")):
        given = event(body)
        assert let_out(leaving, given) is given


def test_every_body_is_one_harmless_line() -> None:
    evil = "\x1b[31mred\n\u202e"
    here = Endpoint("127.0.0.1", 80)
    bodies: tuple[Body, ...] = (
        ProcessStart(evil, key(1), (evil,), 0, evil),
        ProcessExec(evil, evil, (evil, "x"), memfd=True, deleted=True, truncated=True),
        ProcessExec(evil, None, None, pid=3),
        ProcessExit(evil, None, 9, True, 5, 5, 5),
        ProcessExit(evil, None, 200),
        CredentialChange(evil, "uid", None, "0"),
        PtraceAttach(evil, None, 42),
        ModuleLoad(evil, evil),
        SocketEvent(evil, "connect", "tcp", here, here, failed=True),
        SystemCall(evil, (Argument("a", 1, evil),), -2, "ENOENT", 1, 5, ("w-to-x",)),
        ProcessChange(process(1, argv=(evil,)), process(1, name=evil), ("name", "argv")),
        ProcessChange(None, process(1, argv=(evil,))),
        Loss(3, evil),
    )
    for body in bodies:
        line = render_event(event(body))
        assert line.endswith("\n") and line[:-1].isprintable(), body
