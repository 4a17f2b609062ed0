"""The manifest beside a dump: what was read of each region, and what was not."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from hostscope.dumps.layout import Layout
from hostscope.dumps.reading import ReadPiece
from hostscope.dumps.selection import Chosen
from hostscope.errors import UsageError
from hostscope.model.dump import Dump, DumpedRegion, Manifest, Piece, Unread
from hostscope.model.gap import Reason

SUFFIX = ".json"
MOST_BYTES = 1 << 30


def dumped_regions(
    chosen: Sequence[Chosen],
    layout: Layout,
    pieces: Iterable[ReadPiece],
    cut_off: dict[int, list[Unread]],
    lost: tuple[Reason, str] | None,
) -> tuple[DumpedRegion, ...]:
    """One record for each region.

    Args:
        cut_off: what limits left out, by index of the region.
        lost: why pieces are missing, when the dump broke off.
    """
    of: dict[int, list[ReadPiece]] = {}
    for piece in pieces:
        of.setdefault(piece.plan.region, []).append(piece)
    return tuple(
        _region(one, layout.offsets[index], of.get(index, []), cut_off.get(index, []), lost)
        for index, one in enumerate(chosen)
    )


def _region(
    one: Chosen, offset: int | None, read: list[ReadPiece], cut_off: list[Unread], lost: tuple[Reason, str] | None
) -> DumpedRegion:
    if not one.included:
        return DumpedRegion(one.region, False, one.skipped)
    read.sort(key=lambda piece: piece.plan.start)
    pieces = tuple(piece.piece for piece in read)
    missing = [unread for piece in read for unread in piece.unread] + cut_off
    if lost:
        missing += _between(one.region.start, one.region.end, pieces, lost)
    missing.sort(key=lambda unread: unread.start)
    held = sum(piece.read_bytes for piece in pieces)
    return DumpedRegion(
        region=one.region,
        included=True,
        file_offset=offset,
        read_bytes=held,
        untouched_bytes=max(0, one.region.size_bytes - held - sum(unread.end - unread.start for unread in missing)),
        sha256=region_digest(pieces),
        pieces=pieces,
        unread=tuple(missing),
    )


def _between(start: int, end: int, pieces: Iterable[Piece], lost: tuple[Reason, str]) -> list[Unread]:
    """The parts of a region that no piece covers."""
    missing = []
    for piece in pieces:
        if piece.start > start:
            missing.append(Unread(start, piece.start, *lost))
        start = piece.end
    if start < end:
        missing.append(Unread(start, end, *lost))
    return missing


def region_digest(pieces: Iterable[Piece]) -> str | None:
    """Over the digests of the pieces, so that pieces can be hashed at the same time; None when one was not hashed."""
    digests = [piece.sha256 for piece in pieces]
    if any(digest is None for digest in digests):
        return None
    return sha256(b"".join(bytes.fromhex(digest or "") for digest in digests)).hexdigest()


def unread_bytes(regions: Iterable[DumpedRegion]) -> int:
    """Bytes that should be in the dump and are not."""
    return sum(unread.end - unread.start for region in regions for unread in region.unread)


def row_of(manifest: Manifest, path: str, elapsed_ns: int) -> Dump:
    """The row of a dump that is written."""
    included = [region for region in manifest.regions if region.included]
    return Dump(
        key=manifest.key,
        name=manifest.name,
        file=path,
        manifest=path + SUFFIX,
        regions=len(included),
        left_out=len(manifest.regions) - len(included),
        read_bytes=manifest.read_bytes,
        untouched_bytes=manifest.untouched_bytes,
        unread_bytes=unread_bytes(manifest.regions),
        threads=sum(not thread.unread for thread in manifest.threads),
        longest_stop_ns=max((thread.stopped_ns for thread in manifest.threads), default=0),
        elapsed_ns=elapsed_ns,
        complete=manifest.complete,
        outcome="done" if manifest.complete else "; ".join(manifest.incomplete),
        gaps=manifest.gaps,
    )


def encode_manifest(manifest: Manifest) -> bytes:
    """As JSON, a region a line."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def parse_manifest(raw: bytes) -> Manifest:
    """Raises UsageError: it is none."""
    try:
        found = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as failed:
        raise UsageError(f"not a manifest: {failed}") from None
    if not found.schema.startswith("hostscope.dump_manifest/1"):
        raise UsageError(f"a manifest of another kind: {found.schema[:80]}")
    return found
