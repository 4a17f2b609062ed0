"""What a dump tells, as a page."""

from collections.abc import Iterator

from hostscope.model.dump import Anomaly, DumpAnalysis, MeasuredRegion
from hostscope.render.page import describe, facts, grid, section
from hostscope.render.table import Style
from hostscope.render.units import render_bytes

MOST = 40
"""Rows of one section."""
_ORDER = ("critical", "high", "medium", "low", "info")
_VERIFIED = {True: "the bytes have the digests of the manifest", False: "NO: bytes differ from the manifest's digests"}


def render_analysis(found: DumpAnalysis, style: Style) -> Iterator[str]:
    """Section by section, the telling ones first."""
    yield from section(found.file, facts(_head(found)), style)
    yield from section("Anomalies", grid(_ANOMALY, map(_anomaly, _worst_first(found.anomalies)), MOST), style)
    yield from section("Matches", grid(_MATCH, _matches(found), MOST), style)
    yield from section("Threads", grid(_THREAD, _threads(found), MOST), style)
    yield from section("Modules", grid(_MODULE, _modules(found), MOST), style)
    yield from section("Regions of more than 64 KiB, most random first", grid(_REGION, _regions(found), MOST), style)
    yield from section("Indicators (by their shape)", grid(_INDICATOR, _indicators(found), MOST), style)
    yield from section("Strings", grid(_STRING, _strings(found), MOST), style)
    yield from section("Missing", [f"{gap.field}: {describe(gap)}" for gap in found.gaps], style)


def _head(found: DumpAnalysis) -> Iterator[tuple[str, str | None]]:
    yield "process", f"{found.pid if found.pid is not None else '?'} {found.name or ''}".strip()
    yield "arguments", found.arguments
    yield "image", f"{found.image}, {found.architecture}, {render_bytes(found.size_bytes)}"
    yield "present", render_bytes(sum(region.present_bytes for region in found.regions))
    yield "verified", _VERIFIED.get(found.verified) if found.verified is not None else None
    for note in found.notes:
        yield "note", note


_ANOMALY = ("SEVERITY", "KIND", "ADDRESS", "SIZE", "PATH", "HEURISTIC", "FACTS")
_MATCH = ("RULE", "PATTERN", "ADDRESS", "LENGTH", "PERM", "PATH")
_THREAD = ("TID", "RUNS AT", "STACK", "SIGNAL", "MODULE")
_MODULE = ("START", "END", "CODE", "BUILD ID", "PATH")
_REGION = ("START", "SIZE", "PRESENT", "PERM", "ENTROPY", "PATH")
_INDICATOR = ("KIND", "COUNT", "FIRST AT", "VALUE")
_STRING = ("ADDRESS", "ENCODING", "TEXT")


def _worst_first(anomalies: tuple[Anomaly, ...]) -> list[Anomaly]:
    return sorted(anomalies, key=lambda one: (_ORDER.index(one.severity), one.start))


def _anomaly(one: Anomaly) -> tuple[str, ...]:
    size = render_bytes(one.end - one.start)
    return (
        one.severity,
        one.kind,
        f"{one.start:#x}",
        size,
        one.path or "-",
        "yes" if one.heuristic else "no",
        one.detail,
    )


def _matches(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    for one in found.matches:
        address = "-" if one.address is None else f"{one.address:#x}"
        yield one.rule, one.pattern or "-", address, str(one.length_bytes), one.permissions or "-", one.path or "-"


def _threads(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    for one in found.threads:
        yield str(one.tid), _hex(one.instruction), _hex(one.stack), str(one.signal), one.module or "-"


def _modules(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    for one in found.modules:
        yield _hex(one.start), _hex(one.end), "yes" if one.executable else "no", (one.build_id or "-")[:16], one.path


def _regions(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    large = [one for one in found.regions if one.entropy is not None and one.present_bytes >= 1 << 16]
    for one in sorted(large, key=lambda one: -(one.entropy or 0)):
        yield _region(one)


def _region(one: MeasuredRegion) -> tuple[str, ...]:
    sizes = render_bytes(one.end - one.start), render_bytes(one.present_bytes)
    return _hex(one.start), *sizes, one.permissions, f"{one.entropy:.2f}", one.path or "-"


def _indicators(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    for one in found.indicators:
        yield one.kind, str(one.count), _hex(one.address), one.value


def _strings(found: DumpAnalysis) -> Iterator[tuple[str, ...]]:
    for one in found.strings:
        yield _hex(one.address), one.encoding, one.text


def _hex(address: int | None) -> str:
    return "-" if address is None else f"{address:#x}"
