"""Dumps that the system writes itself, with the same manifest as ours: read back, digested, and compared with the map.

Such a dump is made by a program that debuggers of the system know, at the price of its manners: the process stands
still for all of the time, and there are no policies, limits and speeds.
"""

import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256

from msgspec.structs import replace

from hostscope.dumps.core_file import CoreFile, Held
from hostscope.dumps.manifest import SUFFIX, encode_manifest, region_digest, row_of, unread_bytes
from hostscope.dumps.output import NewFile, check_free, check_space, new_file
from hostscope.dumps.pieces import PIECE_BYTES, between
from hostscope.errors import UsageError
from hostscope.model.dump import (
    MANIFEST_SCHEMA,
    SYSTEM,
    Dump,
    DumpedRegion,
    DumpedThread,
    DumpRequest,
    Manifest,
    Observer,
    Piece,
    StoppedThread,
    Unread,
)
from hostscope.model.gap import Reason
from hostscope.model.memory import Region
from hostscope.model.process import Process
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.private import Override

METHOD = "written by the system, every committed page"
_BUFFER_BYTES = 1 << 20
_NOT_WRITTEN = "the system left it out of its dump"


def check(request: DumpRequest) -> None:
    """Raises UsageError: the system's own dumps know nothing of what is asked for."""
    plain = DumpRequest(image=SYSTEM, hash=request.hash, threads=request.threads, why=request.why)
    if request != replace(plain, memory_bytes=request.memory_bytes):
        hint = "leave out --policy, --compress, --freeze, --no-registers, --keep-partial and limits, or --image"
        raise UsageError("a dump by the system holds everything, and stops the process", hint)


class SystemDumper:
    """Makes dumps of one run by the system."""

    def __init__(
        self, host: Host, control: Control, request: DumpRequest, observer: Observer, override: Override, force: bool
    ) -> None:
        """Raises UsageError."""
        check(request)
        self._host, self._control = host, control
        self._request, self._observer = request, observer
        self._override, self._force = override, force

    def dump(self, process: Process, path: str) -> Dump:
        """One dump, and its manifest beside it.

        Raises:
            Gone, Denied, Mismatch, Unavailable, Unsupported, UsageError: and then there is no file.
        """
        began, began_at = time.monotonic_ns(), time.time_ns()
        check_free(path, self._force)
        check_free(path + SUFFIX, self._force)
        regions = self._host.memory.regions(process.key, False)
        check_space(path, sum(region.size_bytes for region in regions if _should_be_there(region)))
        with ExitStack() as closing:
            image = closing.enter_context(new_file(path, self._override, self._force))
            asked = time.monotonic_ns()
            self._control.write_dump(process.key, image.fd)
            stopped_ns = time.monotonic_ns() - asked
            core = CoreFile(image.fd, path, None)
            manifest = self._manifest(process, core, regions, began_at, stopped_ns)
            self._finish(image, path, manifest)
        return row_of(manifest, path, time.monotonic_ns() - began)

    def _manifest(
        self, process: Process, core: CoreFile, before: tuple[Region, ...], began_at: int, stopped_ns: int
    ) -> Manifest:
        regions = tuple(self._regions(core, before))
        unread = unread_bytes(regions)
        threads = tuple(StoppedThread(thread.tid, "", stopped_ns, _unread(thread)) for thread in core.threads())
        missing = (f"{unread} bytes that the process has are not in it; see `unread` of the regions",) if unread else ()
        return Manifest(
            schema=MANIFEST_SCHEMA,
            key=process.key,
            name=process.name,
            exe=process.exe.path if process.exe else None,
            observer=self._observer,
            why=self._request.why,
            began_at_ns=began_at,
            ended_at_ns=time.time_ns(),
            file=os.path.basename(core.path),
            file_bytes=core.size_bytes,
            image=core.image,
            compression="none",
            policy="all",
            method=METHOD,
            consistency="frozen",
            registers=any(not thread.unread for thread in threads),
            complete=not missing,
            incomplete=missing,
            read_bytes=sum(region.read_bytes for region in regions),
            untouched_bytes=0,
            regions=regions,
            threads=threads,
            effects=(f"the system stopped {len(threads)} threads for {stopped_ns / 1e9:.1f} s while it wrote",),
        )

    def _regions(self, core: CoreFile, before: tuple[Region, ...]) -> list[DumpedRegion]:
        """What the file has, and what the process had besides, in the order of addresses."""
        spans = [(one.region.start, one.region.end) for one in core.held]
        lacking = (
            replace(region, start=start, end=end)
            for region in before
            if _should_be_there(region)
            for start, end in between(region.start, region.end, _within(spans, region))
        )
        found = [*(self._region(core, one) for one in core.held), *map(_lacking, lacking)]
        return sorted(found, key=lambda one: one.region.start)

    def _region(self, core: CoreFile, one: Held) -> DumpedRegion:
        if not one.ranges:
            skipped = "no memory that can be read" if not _should_be_there(one.region) else None
            return _lacking(one.region) if skipped is None else DumpedRegion(one.region, False, skipped)
        pieces = tuple(
            self._piece(core, start, min(start + PIECE_BYTES, last))
            for first, last in one.ranges
            for start in range(first, last, PIECE_BYTES)
        )
        held = sum(piece.read_bytes for piece in pieces)
        return DumpedRegion(one.region, True, None, one.file_offset, held, sha256=region_digest(pieces), pieces=pieces)

    def _piece(self, core: CoreFile, start: int, end: int) -> Piece:
        if self._request.hash == "none":
            return Piece(start, end, end - start, ((start, end),), None)
        digest = sha256()
        for at in range(start, end, _BUFFER_BYTES):
            digest.update(core.read(at, min(_BUFFER_BYTES, end - at)))
        return Piece(start, end, end - start, ((start, end),), digest.hexdigest())

    def _finish(self, image: NewFile, path: str, manifest: Manifest) -> None:
        with new_file(path + SUFFIX, self._override, self._force) as beside:
            beside.write_at(encode_manifest(manifest), 0)
            image.finish()
            try:
                beside.finish()
            except BaseException:  # never one of them alone
                image.take_back()
                raise


def _within(spans: list[tuple[int, int]], region: Region) -> Iterator[tuple[int, int]]:
    """What of a region lies in the spans, which are ascending and apart."""
    place = max(0, bisect_right(spans, (region.start, region.start)) - 1)
    while place < len(spans) and spans[place][0] < region.end:
        start, end = max(spans[place][0], region.start), min(spans[place][1], region.end)
        if start < end:
            yield start, end
        place += 1


def _should_be_there(region: Region) -> bool:
    return region.state == "committed" and not region.guard and region.permissions[:1] in "r?"


def _lacking(region: Region) -> DumpedRegion:
    return DumpedRegion(region, True, unread=(Unread(region.start, region.end, Reason.UNAVAILABLE, _NOT_WRITTEN),))


def _unread(thread: DumpedThread) -> str | None:
    return None if thread.instruction is not None else "the system wrote no registers of it"
