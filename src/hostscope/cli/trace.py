"""`hostscope trace`: the system calls of processes, or of a command."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click
from msgspec.structs import replace

from hostscope.cli.endings import ending
from hostscope.cli.options import COMMON, Choices, options
from hostscope.cli.output import Sink, open_output
from hostscope.cli.refresh import stopping
from hostscope.cli.show import say, strict_code
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.coverage import Coverage
from hostscope.model.event import CoverageChange, Event, SystemCall
from hostscope.model.syscall import TraceRequest
from hostscope.render.call_columns import CALLS
from hostscope.render.coverage import render_coverage
from hostscope.render.documents import encode_coverage, encode_json
from hostscope.render.events import render_event, render_moment
from hostscope.render.sanitise import sanitise
from hostscope.render.select import Selection
from hostscope.render.syscall_summary import CallSummary, render_summary
from hostscope.render.syscalls import render_call
from hostscope.session import open_session
from hostscope.session.local import LocalSession

FORMATS = ("table", "ndjson", "strace")
COMMAND_AT = "hostscope.command"

EPILOG = """\b
Groups: memory process file network all. Without --calls: mprotect, mmap and
munmap; on Windows memory and process, which are VirtualAlloc,
VirtualProtect, WriteProcessMemory and CreateRemoteThread with their Ex and
Nt forms. Marked are w-to-x (memory that could be written becomes
executable; maybe-w-to-x where nobody could look, as another thread was
changing the map), executable-anonymous and writable-executable. --filter
takes arguments by their names, and call, result, error, pid, tid, duration,
remarks.

\b
As root calls are seen in the kernel (--method ebpf), which does not stop
the process; else by ptrace, which does. On Windows nothing sees calls
without stopping the process: --method debugger does that, --method regions
compares what is mapped and which threads there are, every so often, without
attaching. With a command, its exit code is ours, and calls are shown on
standard error.

\b
Examples:
  hostscope trace 4711 --filter '"PROT_EXEC" in prot'
  hostscope trace nginx --calls network,openat --durations --duration 10
  hostscope trace --summary --calls all -- ls -l"""


class _WithCommand(click.Command):
    """What stands behind ``--`` is a command, and not ours to parse."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[COMMAND_AT] = tuple(args[at + 1 :])
            if not ctx.meta[COMMAND_AT]:
                raise click.UsageError("no command stands behind --", ctx)
            args = args[:at]
        return super().parse_args(ctx, args)


@click.command("trace", cls=_WithCommand, epilog=EPILOG)
@click.argument("targets", nargs=-1, metavar="[TARGET]... [-- COMMAND]")
@click.option("--calls", metavar="A,B", help="Calls and groups; see below for the usual ones.")
@click.option("--no-children", is_flag=True, help="Do not follow processes that the traced ones start.")
@click.option("--durations", is_flag=True, help="How long each call took.")
@click.option("-c", "--summary", is_flag=True, help="Only count, as strace -c does.")
@click.option("--format", type=click.Choice(FORMATS), default="table", help="Form of the output.")
@click.option("--method", metavar="NAME", help="ebpf or ptrace on Linux; debugger or regions on Windows.")
@options("output", "filter", "limit", "duration", "reveal", *COMMON)
@click.pass_context
def command(
    context: click.Context,
    /,
    targets: tuple[str, ...],
    calls: str | None,
    no_children: bool,
    durations: bool,
    summary: bool,
    **given: Any,
) -> int:
    """Show the system calls of processes with all their threads and children, or of a command."""
    program: tuple[str, ...] = context.meta.get(COMMAND_AT, ())
    if bool(program) == bool(targets):
        raise UsageError("name processes, or a command behind --", "see: hostscope trace --help")
    choices = Choices(targets=targets, **(given | {"watch": True}))
    chosen = tuple(name.strip() for name in (calls or "").split(",") if name.strip())
    selection = Selection[Event, Event](choices.filter(CALLS), limit=choices.limit)
    with (
        open_session(choices.replay, reveal=choices.reveal, lower=True) as session,
        stopping(choices.duration) as stop,
        ending(stop, but=("SIGHUP",) if program else ()) as ended,  # a command ends with its terminal: not waited for
    ):
        keys = tuple(sorted(session.keys(targets))) if targets else ()
        request = TraceRequest(keys, chosen, not no_children, durations or summary, choices.method)
        found = session.trace(request, stop, program)
        with _output(session, choices, program) as sink:
            write = _summarise if summary else _write
            write(sink, _selected(found.answer, selection, stop.set), choices)
            coverage = _covered(found.answer, selection)
            if choices.format == "ndjson":
                sink.write(encode_coverage(coverage))
                sink.file.flush()
        if not choices.quiet and choices.format != "ndjson":
            say(render_coverage(coverage, "calls"))
        code = strict_code(coverage) if choices.strict else 0
        return found.outcome.code if found.outcome.code is not None else code or ended.code


def _output(session: LocalSession, choices: Choices, program: tuple[str, ...]) -> AbstractContextManager[Sink]:
    """Standard output is the command's own, if there is one."""
    if program and choices.output is None:
        return nullcontext(Sink(sys.stderr.buffer, sys.stderr.isatty(), sys.stderr.encoding or "utf-8"))
    return open_output(choices.output, session.overriding)


def _selected(answer: Answer[Event], selection: Selection[Event, Event], stop: Callable[[], None]) -> Iterator[Event]:
    """Calls that are selected, the first so many; losses are always shown."""
    for event in answer:
        if isinstance(event.body, SystemCall):
            yield from selection.select((event,), _itself)
        else:
            yield event
        if selection.shown == selection.limit:
            stop()


def _itself(event: Event) -> Event:
    return event


def _covered(answer: Answer[Event], selection: Selection[Event, Event]) -> Coverage:
    """A limit that was reached ended the trace."""
    coverage = selection.coverage(answer.coverage)
    return replace(coverage, limited=coverage.limited or selection.shown == selection.limit)


def _write(sink: Sink, events: Iterator[Event], choices: Choices) -> None:
    line = _LINES[choices.format]
    live = choices.output in (None, "-")  # a file appears at the end, as a whole
    for event in events:
        sink.write(line(event))
        if live:
            sink.file.flush()


def _summarise(sink: Sink, events: Iterator[Event], choices: Choices) -> None:
    summary = CallSummary()
    for event in events:
        if isinstance(event.body, SystemCall):
            summary.add(event.body)
    if choices.format == "ndjson":
        for total in summary.totals():
            sink.write(encode_json({"type": "total", "total": total}) + b"\n")
    else:
        sink.write_all(render_summary(summary))
    sink.file.flush()


def _row(event: Event) -> str:
    body = event.body
    if isinstance(body, SystemCall):
        return sanitise(f"{render_moment(event.at_ns)} {body.tid:>7}  {render_call(body)}") + "\n"
    if isinstance(body, CoverageChange):
        return ""
    return render_event(event)


def _as_strace(event: Event) -> str:
    body = event.body
    if isinstance(body, SystemCall):
        return sanitise(f"{body.tid} {render_call(body, remarks=False)}") + "\n"
    return "" if isinstance(body, CoverageChange) else render_event(event)


def _object(event: Event) -> bytes:
    return encode_json({"type": "event", "event": event}) + b"\n"


_LINES: dict[str, Callable[[Event], str | bytes]] = {"table": _row, "ndjson": _object, "strace": _as_strace}
