"""What a capture has written, for people."""

from collections.abc import Iterator

from hostscope.model.capture import CaptureSummary
from hostscope.render.sanitise import sanitise
from hostscope.render.units import render_bytes, render_elapsed


def render_progress(summary: CaptureSummary) -> str:
    """One line: ``12,345 packets, 3.4M, 0 dropped, 12.0 s``."""
    packets = summary.packets + summary.waiting
    dropped = _dropped([one.dropped for one in summary.counts])
    kept = f" ({summary.waiting:,} in memory)" if summary.waiting else ""
    return f"{packets:,} packets{kept}, {_size(summary)}, {dropped}, {render_elapsed(summary.elapsed_ns)}"


def render_summary(summary: CaptureSummary) -> str:
    """Totals, then a line for each interface and each file."""
    return "\n".join(sanitise(line) for line in _lines(summary))


def _lines(summary: CaptureSummary) -> Iterator[str]:
    named = f", {summary.named_packets:,} with a process" if summary.named_packets else ""
    yield f"{summary.packets:,} packets written{named}, {_size(summary)}"
    for one in summary.counts:
        share = f" ({one.dropped / one.received:.2%})" if one.dropped and one.received else ""
        yield f"  {one.interface}: {one.received:,} passed the filter, {_dropped([one.dropped])}{share}"
    if summary.forgotten:
        yield f"  {summary.forgotten:,} packets were forgotten early: --memory-bytes was too little for --last"
    for path in summary.files:
        yield f"  {path}"


def _dropped(counts: list[int | None]) -> str:
    if None in counts:
        return "drops are not counted here"
    return f"{sum(filter(None, counts)):,} dropped"


def _size(summary: CaptureSummary) -> str:
    """Of what was written; a bare number between others would be read as packets."""
    return render_bytes(summary.bytes) + (" bytes" if summary.bytes < 1024 else "")
