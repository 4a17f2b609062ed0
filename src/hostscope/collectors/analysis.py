"""What a dump tells: modules, threads, text, indicators, anomalies, matches."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from itertools import islice

from msgspec import Struct

from hostscope.binaries.elf import Elf, build_id, parse_elf
from hostscope.dumps.anomalies import changed_code, image_anomalies, region_anomalies, thread_anomalies
from hostscope.dumps.core_file import CoreFile, Held, open_core
from hostscope.dumps.entropy import entropy
from hostscope.dumps.indicators import Indicators
from hostscope.dumps.masking import Masking
from hostscope.dumps.matching import cut_parts, region_matches
from hostscope.dumps.positional import READ_ONLY, read_at
from hostscope.dumps.rules import Rules, compile_rules
from hostscope.dumps.strings import find_strings
from hostscope.errors import Unavailable
from hostscope.model.dump import Anomaly, DumpAnalysis, FoundString, MeasuredRegion, Module, Piece, RuleMatch
from hostscope.model.gap import Gap, Reason
from hostscope.model.memory import Region
from hostscope.model.text import encode
from hostscope.private import Override
from hostscope.render.mask import mask_argv

SAMPLE_BYTES = 1 << 20
MOST_ANOMALIES = 10_000
MOST_ALTERED = 100
"""Pieces without their digest that are listed."""


class AnalysisRequest(Struct, frozen=True):
    """What to look for in a dump."""

    rules: str | None = None
    """A file or directory of YARA rules."""
    strings: int = 1000
    """How many to keep; all are searched for indicators."""
    shortest: int = 6
    """Characters of the shortest string."""
    text: bool = True
    """Whether to look for strings and indicators at all: the slow part."""
    compare: bool = True
    """Compare executable memory with the files of this host."""
    verify: bool = True
    """Compute the digests again that the manifest has."""


def analyze(path: str, request: AnalysisRequest, raised: Override = nullcontext) -> DumpAnalysis:
    """Everything that a dump tells. `raised`: see `hostscope.dumps.core_file.open_core`.

    Raises:
        UsageError: it cannot be read, or is no dump. RuleError
    """
    rules = compile_rules(request.rules, raised) if request.rules else None
    with open_core(path, raised) as core:
        return _analysis(core, request, rules)


def _analysis(core: CoreFile, request: AnalysisRequest, rules: Rules | None) -> DumpAnalysis:
    gaps: list[Gap] = []
    indicators = Indicators()
    strings = tuple(_strings(core, request, indicators)) if request.text else ()
    if indicators.full:
        gaps.append(Gap("indicators", Reason.TRUNCATED, "more different ones than are kept"))
    threads = tuple(core.threads())
    if not threads:
        gaps.append(Gap("threads", Reason.UNAVAILABLE, "the dump has no registers"))
    pid, name, arguments = core.process()
    verified, altered = _verified(core, gaps) if request.verify else (None, ())
    anomalies = (*altered, *_bounded(_anomalies(core, request), MOST_ANOMALIES, gaps))
    if core.cut_bytes:
        gaps.append(Gap("memory", Reason.TRUNCATED, _cut(core)))
    if core.manifest:
        gaps += [Gap("memory", Reason.UNAVAILABLE, missing) for missing in core.manifest.incomplete]
    return DumpAnalysis(
        file=core.path,
        image=core.image,
        architecture=core.architecture,
        pid=pid,
        name=name,
        arguments=" ".join(mask_argv(tuple(arguments.split(" ")))) if arguments else None,
        size_bytes=core.size_bytes,
        modules=tuple(_modules(core)),
        threads=threads,
        regions=tuple(_measured(core, one) for one in core.held),
        anomalies=anomalies,
        indicators=indicators.all(),
        strings=strings,
        matches=tuple(_matches(core, rules, gaps)) if rules else (),
        verified=verified,
        gaps=tuple(gaps),
        notes=_notes(core),
    )


def _bounded(anomalies: Iterable[Anomaly], most: int, gaps: list[Gap]) -> tuple[Anomaly, ...]:
    """The first ones; that there are more is a gap."""
    found = tuple(islice(anomalies, most + 1))
    if len(found) > most:
        gaps.append(Gap("anomalies", Reason.TRUNCATED, f"more than {most} ({found[-1].kind})"))
    return found[:most]


def _notes(core: CoreFile) -> tuple[str, ...]:
    cut = (_cut(core),) if core.cut_bytes else ()
    if core.manifest is None:
        return (*cut, "no manifest beside it: anonymous regions have no names, and what was left out is not known")
    return (*cut, f"manifest: {core.manifest.consistency}, policy {core.manifest.policy}", *core.manifest.incomplete)


def _cut(core: CoreFile) -> str:
    return f"the file ends early: {core.cut_bytes} bytes of regions are lost"


def _strings(core: CoreFile, request: AnalysisRequest, indicators: Indicators) -> Iterator[FoundString]:
    """The first ones that are kept, masked; indicators see all."""
    kept, masking = 0, Masking()
    for one in core.held:
        for start, end in core.present(one):
            for string in find_strings(core.read, start, end, request.shortest):
                indicators.see((string,))
                if kept < request.strings:
                    kept += 1
                    yield masking.mask(string)


def _anomalies(core: CoreFile, request: AnalysisRequest) -> Iterator[Anomaly]:
    regions = core.regions
    yield from region_anomalies(regions)
    yield from thread_anomalies(core.threads(), regions, core.read)
    if core.auxiliary_vector:
        exe = core.manifest.exe if core.manifest else None
        yield from image_anomalies(core.auxiliary_vector, regions, exe, core.read_present)
    if request.compare and core.manifest:  # which says by inode which files they were
        yield from changed_code(((one.region, core.present(one)) for one in core.held), core.read, read_file)


def read_file(region: Region, within: int) -> bytes | None:
    """A MiB of the file behind a region, as this host has it now; None when it has none of the same kind."""
    path = encode(region.path or "")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a device may act on it
            return None
        fd = os.open(path, READ_ONLY)
    except (OSError, ValueError):
        return None
    try:
        if os.fstat(fd).st_ino != region.inode:
            return None
        return read_at(fd, 1 << 20, region.offset + within)
    except (OSError, OverflowError):  # the offset is the dump's word
        return None
    finally:
        os.close(fd)


def _modules(core: CoreFile) -> Iterator[Module]:
    """Files in the order of addresses, each with all its regions."""
    spans: dict[str, list[Region]] = {}
    for region in core.regions:
        if region.has_file and region.path:
            spans.setdefault(region.path, []).append(region)
    for path, regions in spans.items():
        executable = any("x" in region.permissions for region in regions)
        yield Module(path, regions[0].start, regions[-1].end, executable, _build_id(core, regions[0]))


def _build_id(core: CoreFile, first: Region) -> str | None:
    """Of a module whose headers are in memory, as loaded: segments lie at their addresses, not at their offsets."""
    if first.offset:
        return None
    if found := core.build_id(first.start):
        return found

    def read(offset: int, size: int) -> bytes:
        return core.read(first.start + offset, min(size, 1 << 20))

    try:
        elf: Elf = parse_elf(read)
    except ValueError:
        return None
    return build_id(elf, read)


def _measured(core: CoreFile, one: Held) -> MeasuredRegion:
    ranges = list(core.present(one))
    sample: list[bytes] = []
    left = SAMPLE_BYTES
    for start, end in ranges:
        if left <= 0:
            break
        sample.append(core.read(start, min(end - start, left)))
        left -= len(sample[-1])
    region = one.region
    measured = entropy(b"".join(sample))
    present = sum(end - start for start, end in ranges)
    return MeasuredRegion(region.start, region.end, region.permissions, region.path, present, measured)


def _matches(core: CoreFile, rules: Rules, gaps: list[Gap]) -> Iterator[RuleMatch]:
    pid, name, _ = core.process()
    for one in core.held:
        try:
            parts = ((at, core.read(at, size)) for at, size in cut_parts(core.present(one)))
            yield from region_matches(rules, one.region, parts, pid, name)
        except Unavailable as failed:
            gaps.append(Gap("matches", Reason.UNAVAILABLE, f"{one.region.start:#x}: {failed.message}"))


def _verified(core: CoreFile, gaps: list[Gap]) -> tuple[bool | None, tuple[Anomaly, ...]]:
    """Whether every hashed piece has its digest, and those that have not; None without a manifest or digests."""
    if core.manifest is None:
        return None, ()
    hashed = [
        (region.region, piece)
        for region in core.manifest.regions
        for piece in region.pieces
        if piece.sha256 and piece.ranges
    ]
    wrong = (_altered(region, piece) for region, piece in hashed if _digest(core, piece) != piece.sha256)
    altered = _bounded(wrong, MOST_ALTERED, gaps)
    return not altered if hashed else None, altered


def _digest(core: CoreFile, piece: Piece) -> str:
    digest = sha256()
    for start, end in piece.ranges:
        for at in range(start, end, SAMPLE_BYTES):
            digest.update(core.read(at, min(SAMPLE_BYTES, end - at)))
    return digest.hexdigest()


def _altered(region: Region, piece: Piece) -> Anomaly:
    detail = "these bytes of the dump have not the digest of its manifest: one of them was changed, or is damaged"
    return Anomaly("altered-dump", "high", piece.start, piece.end, region.path, detail, heuristic=False)
