"""Events, one line each."""

from collections.abc import Callable
from functools import lru_cache
from signal import Signals
from time import gmtime, strftime
from typing import Any

from hostscope.model.event import (
    CoverageChange,
    CredentialChange,
    Event,
    ImageLoad,
    Loss,
    MemoryChange,
    ModuleLoad,
    ProcessChange,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    PtraceAttach,
    SecurityChange,
    ServiceChange,
    SocketEvent,
    SystemCall,
    ThreadChange,
)
from hostscope.model.service import ServiceState
from hostscope.render.coverage import render_coverage
from hostscope.render.sanitise import sanitise
from hostscope.render.syscalls import render_call
from hostscope.render.units import render_bytes, render_duration, render_instant

_NEAREST = 4
"""Ancestors that are shown."""


def render_event(event: Event) -> str:
    """When, what, and how it changed, on one line."""
    at = render_instant if isinstance(event.body, ServiceChange) else render_moment
    return sanitise(f"{at(event.at_ns)}  {_body(event)}") + "\n"


def render_moment(at_ns: int) -> str:
    """``2026-03-01T12:00:00.123Z``."""
    return f"{_second(at_ns // 1_000_000_000)}.{at_ns // 1_000_000 % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(at_s))


def _body(event: Event) -> str:
    return _BODIES[type(event.body)](event, event.body)


def _line(event: Event, word: str, name: str, rest: str, pid: int | None = None) -> str:
    number = event.key.pid if event.key else "?" if pid is None else pid
    return f"{word:<11} {number:>7} {name or '?'}  {rest}".rstrip()


def _service(event: Event, body: ServiceChange) -> str:
    unit = body.after or body.before
    return f"{unit.name if unit else '?'}  {_state(body.before)} -> {_state(body.after)}"


def _state(service: ServiceState | None) -> str:
    if service is None:
        return "not loaded"
    return f"{service.state or '?'} ({service.substate})" if service.substate else service.state or "?"


def _change(event: Event, body: ProcessChange) -> str:
    process = body.after or body.before
    rest = ", ".join(f"{field}: {_short(body.before, field)} -> {_short(body.after, field)}" for field in body.fields)
    if body.what == "reused" and body.before:
        rest = f"its pid was {body.before.name}'s ({body.before.key})"
    elif body.what == "started" and process and process.argv:
        rest = " ".join(process.argv)
    return _line(event, body.what, process.name if process else "", rest)


def _short(process: Any, field: str) -> str:
    value = getattr(process, field)
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(getattr(value, "path", None) or getattr(value, "name", None) or getattr(value, "id", None) or value)


def _start(event: Event, body: ProcessStart) -> str:
    return _line(event, "start", body.name, _where(body.ancestry, body.uid, body.container), body.pid)


def _exec(event: Event, body: ProcessExec) -> str:
    marks = [word for word, holds in (("memfd", body.memfd), ("deleted", body.deleted)) if holds]
    marks += ["arguments cut"] if body.truncated else []
    told = f" [{', '.join(marks)}]" if marks else ""
    argv = "(arguments unknown)" if body.argv is None else " ".join(body.argv)
    where = _where(body.ancestry, body.uid, body.container)
    return _line(event, "exec", body.exe or body.name, f"{argv}{told}  {where}", body.pid)


def _where(ancestry: tuple[str, ...], uid: int | None, container: str | None) -> str:
    above = "".join(f" < {name}" for name in ancestry[:_NEAREST])
    parts = [above.strip(), "" if uid is None else f"uid {uid}", f"container {container[:12]}" if container else ""]
    return "  ".join(part for part in parts if part)


def _exit(event: Event, body: ProcessExit) -> str:
    parts = [_code(body.code) if body.signal is None else _signal(body.signal)]
    parts += ["core dumped"] if body.core_dumped else []
    parts += [f"ran {render_duration(body.run_ns)}"] if body.run_ns is not None else []
    parts += [f"cpu {render_duration(body.cpu_ns)}"] if body.cpu_ns is not None else []
    parts += [f"peak {render_bytes(body.peak_resident_bytes)}"] if body.peak_resident_bytes is not None else []
    return _line(event, "exit", body.name, ", ".join(parts), body.pid)


def _code(code: int | None) -> str:
    """Statuses of Windows, such as an access violation, are known by their hexadecimal numbers."""
    return f"code {code & 0xFFFFFFFF:#010x}" if code is not None and code < -0xFFFF else f"code {code}"


def _signal(number: int) -> str:
    try:
        return f"signal {Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def _credentials(event: Event, body: CredentialChange) -> str:
    before = "?" if body.before is None else body.before or "none"
    return _line(event, body.what, body.name, f"{before} -> {body.after or 'none'}", body.pid)


def _ptrace(event: Event, body: PtraceAttach) -> str:
    verb = "traces" if body.attached else "is not traced any more:"
    return _line(event, "ptrace", body.name if body.attached else "-", f"{verb} {body.target or body.target_pid}")


def _module(event: Event, body: ModuleLoad) -> str:
    return _line(event, "module", body.name, body.module)


def _socket(event: Event, body: SocketEvent) -> str:
    far = f" {'<-' if body.what == 'accept' else '->'} {body.remote}" if body.remote else ""
    return _line(event, body.what, body.name, f"{body.protocol} {body.local}{far}{' failed' if body.failed else ''}")


def _call(event: Event, body: SystemCall) -> str:
    return _line(event, "call", render_call(body), "", body.tid)


def _image(event: Event, body: ImageLoad) -> str:
    return _line(event, "image" if body.loaded else "unimage", body.name, f"{body.base:#x} {body.path}")


def _thread(event: Event, body: ThreadChange) -> str:
    start = "" if body.start_address is None else f" at {body.start_address:#x} ({body.module or 'no module known'})"
    by = "" if body.creator_pid is None or "remote" not in body.flags else f" made by {body.creator_pid}"
    word = "thread" if body.started else "thread-end"
    return _line(event, word, body.name, f"{body.tid}{start}{by}{_remarks(body.flags)}")


def _memory(event: Event, body: MemoryChange) -> str:
    where = f"{body.start:#x}-{body.end:#x} {body.kind or ''} {body.path or ''}".rstrip()
    change = " -> ".join(permissions or "-" for permissions in (body.before, body.after))
    return _line(event, body.what, body.name, f"{where}  {change}{_remarks(body.flags)}")


def _security(event: Event, body: SecurityChange) -> str:
    before, after = ("(not set)" if value is None else value for value in (body.before, body.after))
    return f"{'security':<11} {body.key}\\{body.value}: {before} -> {after}"


def _remarks(flags: tuple[str, ...]) -> str:
    return f"  [{', '.join(flags)}]" if flags else ""


def _loss(event: Event, body: Loss) -> str:
    return f"{'LOST':<11} {body.events} events: {body.reason}"


def _coverage(event: Event, body: CoverageChange) -> str:
    coverage = body.coverage
    reason = f"; not better, because {coverage.method_reason}" if coverage.method_reason else ""
    hidden = f"; incomplete: {coverage.hidden}" if coverage.hidden else ""
    if not coverage.effects and coverage.rows and coverage.elapsed_ns:  # at the end, not when it begins
        return render_coverage(coverage, "events").replace("\n", "; ")
    return f"{'watching':<11} by {coverage.method}{reason}{hidden}"


_BODIES: dict[type, Callable[[Event, Any], str]] = {
    ServiceChange: _service,
    ProcessChange: _change,
    ProcessStart: _start,
    ProcessExec: _exec,
    ProcessExit: _exit,
    CredentialChange: _credentials,
    PtraceAttach: _ptrace,
    ModuleLoad: _module,
    SocketEvent: _socket,
    SystemCall: _call,
    Loss: _loss,
    CoverageChange: _coverage,
    ImageLoad: _image,
    ThreadChange: _thread,
    MemoryChange: _memory,
    SecurityChange: _security,
}
