"""`hostscope capture`: packets into pcapng files."""

import sys
import threading
from time import gmtime, strftime
from typing import Any

import click

from hostscope import log
from hostscope.cli.endings import ending
from hostscope.cli.options import POSITIVE, SECONDS, options
from hostscope.cli.refresh import stopping
from hostscope.cli.show import say, strict_code
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.capture import CAPTURE_SCHEMA, CaptureOutput, CaptureRequest, CaptureSummary
from hostscope.render.capture_page import render_progress, render_summary
from hostscope.render.coverage import render_coverage
from hostscope.render.documents import encode_json, render_json
from hostscope.session import open_session

STANDARD_OUTPUT = "-"
EXAMPLES = """\b
Examples:
  hostscope capture --interface eth0 --bpf 'tcp port 443' --duration 60
  hostscope capture --output - | tshark -r -
  hostscope capture --last 60 --output incident.pcapng
    # kill -USR1 writes the last minute"""


@click.command("capture", epilog=EXAMPLES)
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="Capture from it; may be repeated. 'any' is all of them: in one form, or on macOS with the kernel's own word "
    "for the process of each packet (PKTAP). Default: each that is up.",
)
@click.option("--namespace", metavar="PID|NAME", help="Capture in the network namespace of a process, or of that name.")
@click.option("--bpf", metavar="EXPR", help="Filter for the kernel, libpcap's syntax: 'tcp port 80'.")
@click.option(
    "--snap-length",
    type=click.IntRange(1, 262_144),
    default=262_144,
    metavar="BYTES",
    help="Keep so much of each packet.",
)
@click.option("--promiscuous", is_flag=True, help="Show the interfaces' hardware frames for others, too.")
@click.option("--output", metavar="FILE", help="Where to; '-' is standard output. Default: hostscope-TIME.pcapng here.")
@click.option("--duration", type=SECONDS, metavar="S", help="Stop after so many seconds.")
@click.option("--count", type=POSITIVE, metavar="N", help="Stop after so many packets.")
@click.option("--rotate-bytes", type=click.IntRange(min=4096), metavar="N", help="Begin another file at this size.")
@click.option("--rotate-seconds", type=SECONDS, metavar="S", help="Begin another file after so long.")
@click.option("--keep", type=POSITIVE, metavar="N", help="Of several files, keep the newest N.")
@click.option(
    "--last", type=SECONDS, metavar="S", help="Keep so many seconds in memory; write them at SIGUSR1 and in the end."
)
@click.option(
    "--memory-bytes",
    type=click.IntRange(min=1 << 20),
    default=256 << 20,
    metavar="N",
    help="The most memory for --last.",
)
@click.option(
    "--ring-bytes",
    type=click.IntRange(min=1 << 20),
    default=64 << 20,
    metavar="N",
    help="The kernel's buffer, for all interfaces.",
)
@click.option("--no-processes", is_flag=True, help="Do not say which process is behind each packet.")
@options("page_format", "strict", "reveal", "quiet", "verbose")
def command(**given: Any) -> int:
    """Capture packets into a pcapng file that names the process behind each of them."""
    log.configure(given["verbose"])
    request, output = _request(given), _output(given)
    told = threading.Event() if output.last_ns else None
    with (
        open_session(reveal=given["reveal"], lower=True) as session,
        stopping(given["duration"]) as stop,
        ending(stop, told) as ended,
    ):
        session.limit_to("capture", writes=output.path != STANDARD_OUTPUT)
        answer = session.capture(request, output, stop, told)
        summary = _follow(answer, given)
        _finish(answer, summary, given)
        return ended.code or (strict_code(answer.coverage) if given["strict"] else 0)


def _request(given: dict[str, Any]) -> CaptureRequest:
    return CaptureRequest(
        interfaces=tuple(given["interfaces"]),
        bpf=given["bpf"],
        snap_bytes=given["snap_length"],
        ring_bytes=given["ring_bytes"],
        promiscuous=given["promiscuous"],
        namespace=given["namespace"],
    )


def _output(given: dict[str, Any]) -> CaptureOutput:
    """Where packets go.

    Raises:
        UsageError: options contradict each other, or standard output is a terminal.
    """
    path = given["output"] or f"hostscope-{strftime('%Y%m%dT%H%M%SZ', gmtime())}.pcapng"
    several = given["rotate_bytes"] or given["rotate_seconds"] or given["last"]
    if path == STANDARD_OUTPUT and several:
        raise UsageError("standard output is one file", "give --output FILE for --rotate-… and --last")
    if path == STANDARD_OUTPUT and sys.stdout.isatty():
        raise UsageError("packets are not for a terminal", "give --output FILE, or a pipe")
    if path == STANDARD_OUTPUT and given["format"] == "json":
        raise UsageError("standard output cannot take packets and a summary", "give --output FILE")
    if given["keep"] and not several:
        raise UsageError("--keep is about several files", "add --rotate-bytes or --rotate-seconds")
    return CaptureOutput(
        path=path,
        rotate_bytes=given["rotate_bytes"],
        rotate_ns=_ns(given["rotate_seconds"]),
        keep=given["keep"],
        last_ns=_ns(given["last"]),
        memory_bytes=given["memory_bytes"],
        max_packets=given["count"],
        owners=not given["no_processes"],
    )


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)


def _follow(answer: Answer[CaptureSummary], given: dict[str, Any]) -> CaptureSummary:
    """Shows how it goes on a terminal, in one line; what it came to in the end."""
    shown = sys.stderr.isatty() and not given["quiet"] and not given["verbose"]
    summary = None
    for summary in answer:
        if shown:
            _draw(render_progress(summary))
    if shown:
        _draw("")
    assert summary is not None
    return summary


def _draw(line: str) -> None:
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


def _finish(answer: Answer[CaptureSummary], summary: CaptureSummary, given: dict[str, Any]) -> None:
    """The totals, to people beside the output or as one document."""
    if given["format"] == "json":
        document = render_json(CAPTURE_SCHEMA, [encode_json(summary)], lambda: answer.coverage)
        sys.stdout.buffer.write(b"".join(document))
    elif not given["quiet"]:
        say(f"{render_summary(summary)}\n{render_coverage(answer.coverage, 'packets')}")
