"""Preserving the memory of processes: files that say what they hold, and what they do not.

Reading does not stop a process; registers stop each of its threads for a moment, freezing all of them for the time of
the reading. Both are the control's, which is why dumps are made here.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import replace

from hostscope import __version__, log
from hostscope.audit import this_process
from hostscope.collectors.errors import gap_for, reason_of
from hostscope.dumps.anomalies import region_anomalies
from hostscope.dumps.core_notes import CoreProcess, build_notes
from hostscope.dumps.formats import MACHO, MINIDUMP, OF_SYSTEM, has_registers, image_for, loaded_modules
from hostscope.dumps.image import Written, write_plain, write_zstd
from hostscope.dumps.layout import MACHINES, Layout, core_layout, raw_layout
from hostscope.dumps.loaded_image import Read
from hostscope.dumps.macho_layout import CPU_TYPES, macho_layout
from hostscope.dumps.manifest import SUFFIX, dumped_regions, encode_manifest, row_of, unread_bytes
from hostscope.dumps.minidump_layout import DumpedProcess, minidump_layout, windows_version
from hostscope.dumps.output import NewFile, check_free, check_space, new_file
from hostscope.dumps.pieces import PIECE_BYTES, Budget, PiecePlan, cut, not_asked
from hostscope.dumps.reading import Crew, open_crew
from hostscope.dumps.selection import Chosen, is_reservation, reading_order, select
from hostscope.errors import Denied, Error, Gone, Unsupported
from hostscope.model.dump import MANIFEST_SCHEMA, SYSTEM, Dump, DumpRequest, Manifest, Observer, StoppedThread, Unread
from hostscope.model.gap import Gap
from hostscope.model.memory import Region, ThreadState
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.platforms.base_memory import AddressSpace
from hostscope.private import Override
from hostscope.respond.system_dump import SystemDumper

FIELDS = frozenset({"state", "exe", "argv", "owner", "session", "schedule", "threads"})
"""What the notes of a core tell of its process."""
SEVERAL = 4
"""Processes whose dumps are prepared at the same time; reading is the crew's."""
Task = tuple[Process, str]
"""A process, and the path of its dump."""
Trail = Callable[[str, Process, str], None]
"""Writes a line into the audit trail: action, process, outcome."""


class Stopped(Struct, frozen=True):
    """Threads with their registers, or why there are none."""

    threads: tuple[ThreadState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    snapshot: bool = False
    """They and the memory are of a copy that the system made."""
    note: str | None = None


class Planned(Struct, frozen=True):
    """What is going to be read."""

    chosen: tuple[Chosen, ...]
    pieces: tuple[PiecePlan, ...]
    cut_off: dict[int, list[Unread]]
    empty: frozenset[int] = frozenset()
    """Indexes of regions that take no room in the file: reservations that were never used, of terabytes often."""

    @property
    def size_bytes(self) -> int:
        """To be read."""
        return sum(piece.size_bytes for piece in self.pieces)


class Dumper:
    """Makes the dumps of one run: one crew of threads, one limit of speed and memory."""

    def __init__(
        self, host: Host, control: Control, request: DumpRequest, crew: Crew, override: Override, force: bool
    ) -> None:
        self._host = host
        self._control = control
        self._request = request
        self._crew = crew
        self._override = override
        self._force = force
        self._observer = observer(host)
        self._image = image_for(host.name, request.image)

    def dump(self, process: Process, path: str) -> Dump:
        """One dump, and its manifest beside it.

        Raises:
            Gone, Denied, Mismatch, Unavailable, UsageError: and then there is no file, unless a part is to be kept.
        """
        began, began_at = time.monotonic_ns(), time.time_ns()
        check_free(path, self._force)
        check_free(path + SUFFIX, self._force)
        with ExitStack() as closing:
            stopped, space, regions = self._seen(process, closing)
            planned = self._plan(space, regions)
            layout = self._layout(process, space, planned, stopped)
            if self._request.compression == "none":
                check_space(path, planned.size_bytes + len(layout.head))
            reserving = self._host.files.reserve
            image = closing.enter_context(new_file(path, self._override, self._force, reserving))
            written = self._written(image, layout, planned, space)
            notes = () if self._request.freeze else self._changes(process, regions)
            notes += (stopped.note,) if stopped.note else ()
            closing_ns = time.monotonic_ns()
            manifest = self._manifest(process, path, (began_at, closing_ns), space, stopped, planned, layout, written)
            manifest = _noted(manifest, notes)
            self._finish(image, path, manifest, layout, written)
        return row_of(manifest, path, time.monotonic_ns() - began)

    def _seen(self, process: Process, closing: ExitStack) -> tuple[Stopped, AddressSpace, tuple[Region, ...]]:
        """Threads, memory and its map: with `freeze` of one moment, by a copy where the system makes such."""
        why = None
        if self._request.freeze:
            try:
                copy = closing.enter_context(self._control.snapshot(process.key))
                return Stopped(copy.threads, snapshot=True), copy.space, copy.regions
            except Unsupported as failed:
                why = failed.message
        space = closing.enter_context(self._host.memory.open(process.key))
        stopped = self._stopped(process, closing)
        if why and stopped.threads and self._host.name in OF_SYSTEM:
            stopped = replace(stopped, note=f"no snapshot, threads were suspended instead: {why}")
        # What a region holds is asked only where it is needed: that keeps the process from changing its map.
        return stopped, space, self._host.memory.regions(process.key, self._request.policy == "private")

    def _stopped(self, process: Process, closing: ExitStack) -> Stopped:
        """Freezes first, so that everything that follows is of one moment."""
        if self._request.freeze:
            return Stopped(closing.enter_context(self._control.freeze(process.key)))
        if not self._request.registers:
            return Stopped()
        try:
            return Stopped(self._control.registers(process.key))
        except (Denied, Unsupported) as failed:
            return Stopped(gaps=(gap_for("registers", failed),))

    def _plan(self, space: AddressSpace, regions: tuple[Region, ...]) -> Planned:
        request = self._request
        suspicious = {anomaly.start for anomaly in region_anomalies(regions)} if "suspicious" in request.policy else ()
        chosen = select(regions, request, suspicious)
        budget = Budget(request.max_bytes, request.max_region_bytes)
        pieces: list[PiecePlan] = []
        cut_off: dict[int, list[Unread]] = {}
        empty: set[int] = set()
        for index in reading_order(chosen):
            region = chosen[index].region
            runs, beyond = budget.take(region.start, region.end, space.resident(region))
            if is_reservation(region) and not runs and not beyond:
                empty.add(index)
                continue
            pieces.extend(cut(index, region.start, region.end, runs))
            cut_off[index] = beyond or list(not_asked(region, runs))
        return Planned(chosen, tuple(pieces), cut_off, frozenset(empty))

    def _layout(self, process: Process, space: AddressSpace, planned: Planned, stopped: Stopped) -> Layout:
        regions = [one.region for one in planned.chosen]
        included = [one.included and index not in planned.empty for index, one in enumerate(planned.chosen)]
        if self._image == "raw":
            return raw_layout(regions, included)
        if self._image == MINIDUMP:
            modules = tuple(loaded_modules(regions, process.exe.path if process.exe else None, reader_of(space)))
            about = minidump_process(process, self._observer, self._host.system.info().cpus)
            return minidump_layout(regions, included, stopped.threads, modules, about)
        architecture = self._observer.architecture
        if self._image == MACHO and architecture in CPU_TYPES:
            return macho_layout(regions, included, stopped.threads, architecture)
        if architecture not in MACHINES:
            raise Unsupported(f"no core format for {architecture}", "write the regions alone: --image raw")
        notes = build_notes(core_process(process, space, architecture), stopped.threads, regions)
        return core_layout(regions, included, notes, architecture)

    def _written(self, image: NewFile, layout: Layout, planned: Planned, space: AddressSpace) -> Written:
        starts = [one.region.start for one in planned.chosen]
        if self._request.compression == "zstd":
            window = max(1, min(2 * self._crew.threads, self._request.memory_bytes // (2 * PIECE_BYTES)))
            written = write_zstd(image, layout, starts, planned.pieces, space, self._crew, window)
        else:
            written = write_plain(image, layout, starts, planned.pieces, space, self._crew)
        space.check()
        return written

    def _changes(self, process: Process, before: tuple[Region, ...]) -> tuple[str, ...]:
        """What became of the map while it was read."""
        try:
            after = self._host.memory.regions(process.key, False)
        except Error:
            return ("the process ended while its dump was being finished",)
        old, new = ({(region.start, region.end) for region in regions} for regions in (before, after))
        if old == new:
            return ()
        return (
            f"the map changed while it was read: {len(new - old)} regions appeared or changed, and are not in the dump "
            f"as they are now; {len(old - new)} went away or changed",
        )

    def _manifest(
        self,
        process: Process,
        path: str,
        times: tuple[int, int],
        space: AddressSpace,
        stopped: Stopped,
        planned: Planned,
        layout: Layout,
        written: Written,
    ) -> Manifest:
        request = self._request
        lost = (reason_of(written.failure), written.failure.message) if written.failure else None
        regions = dumped_regions(planned.chosen, layout, written.pieces, planned.cut_off, lost)
        threads = tuple(_thread(thread, times[1]) for thread in stopped.threads)
        missing = tuple(_missing(unread_bytes(regions), written, stopped, self._observer.architecture, self._image))
        return Manifest(
            schema=MANIFEST_SCHEMA,
            key=process.key,
            name=process.name,
            exe=process.exe.path if process.exe else None,
            observer=self._observer,
            why=request.why,
            began_at_ns=times[0],
            ended_at_ns=time.time_ns(),
            file=os.path.basename(path),
            file_bytes=written.size_bytes,
            image=self._image,
            compression=request.compression,
            policy=request.policy,
            method=space.method,
            consistency="snapshot" if stopped.snapshot else _consistency(request, threads),
            registers=any(not thread.unread for thread in threads),
            complete=not missing,
            incomplete=missing,
            read_bytes=sum(region.read_bytes for region in regions),
            untouched_bytes=sum(region.untouched_bytes for region in regions),
            regions=regions,
            threads=threads,
            gaps=stopped.gaps,
            effects=tuple(_effects(request, threads)),
        )

    def _finish(self, image: NewFile, path: str, manifest: Manifest, layout: Layout, written: Written) -> None:
        """Gives both files their names, or raises what ended the dump."""
        if written.failure and not self._request.keep_partial:
            raise written.failure
        with new_file(path + SUFFIX, self._override, self._force) as beside:
            beside.write_at(encode_manifest(manifest), 0)
            image.finish(layout.size_bytes if self._request.compression == "none" else None)
            try:
                beside.finish()
            except BaseException:  # never one of them alone
                image.take_back()
                raise


def dump_all(
    host: Host,
    control: Control,
    tasks: Sequence[Task],
    request: DumpRequest,
    override: Override,
    force: bool,
    trail: Trail,
) -> Iterator[Dump]:
    """The dumps of several processes, at the same time and under one budget, in the order of `tasks`.

    A process that cannot be dumped is a row that says why. With one task only, that is raised instead.

    Raises:
        UsageError: what is asked for cannot be had together.
    """
    with open_crew(request.threads, request.rate_bytes, request.hash != "none", host.memory.give_way) as crew:
        dump_one: Callable[[Process, str], Dump] = Dumper(host, control, request, crew, override, force).dump
        if request.image == SYSTEM:
            dump_one = SystemDumper(host, control, request, observer(host), override, force).dump

        def one(task: Task) -> Dump:
            process, path = task
            trail("dump.begin", process, f"begun: {path}")
            try:
                made = dump_one(process, path)
            except Error as failed:
                trail("dump.end", process, f"failed: {failed.message}")
                if len(tasks) == 1:
                    raise
                log.info("dump_failed", error=type(failed).__name__)
                return Dump(
                    process.key, process.name, None, None, outcome=failed.message, gaps=(gap_for("memory", failed),)
                )
            trail("dump.end", process, made.outcome)
            return made

        if len(tasks) == 1:
            yield one(tasks[0])
            return
        with ThreadPoolExecutor(min(SEVERAL, len(tasks)), "dumper") as several:
            try:
                yield from several.map(one, tasks)
            except BaseException:
                crew.hands.abandon()
                several.shutdown(wait=True, cancel_futures=True)
                raise


def observer(host: Host) -> Observer:
    """Who dumps, and where."""
    info, we = host.system.info(), this_process()
    try:
        ourselves = host.processes.read(os.getpid(), ProcessRequest(fields=frozenset({"security"}))).linux
    except Error:
        ourselves = None
    return Observer(
        hostname=info.hostname,
        system=info.system,
        kernel=info.kernel,
        architecture=info.architecture,
        user_id=None if we.uid is None else str(we.uid),
        login_user=ourselves.login_uid if ourselves else None,
        terminal=we.tty,
        tool=f"hostscope {__version__}",
    )


def core_process(process: Process, space: AddressSpace, architecture: str) -> CoreProcess:
    """What a core's notes say of the process; 0 where it could not be read, as the kernel's own cores have it."""
    ids, session = process.ids, process.session
    return CoreProcess(
        pid=process.key.pid,
        parent=process.ppid or 0,
        group=(session.group if session else None) or 0,
        session=(session.session if session else None) or 0,
        user=int(ids.user.id) if ids else 0,
        group_user=int(ids.group.id) if ids else 0,
        name=process.name,
        state=process.state or "",
        nice=(process.schedule.nice if process.schedule else None) or 0,
        arguments=process.argv or (),
        architecture=architecture,
        auxiliary_vector=space.auxiliary_vector,
    )


def minidump_process(process: Process, observer: Observer, processors: int) -> DumpedProcess:
    """What a minidump says of the process."""
    started, now = process.started_at_ns or 0, time.time_ns()
    return DumpedProcess(
        pid=process.key.pid,
        created_s=started // 1_000_000_000,
        architecture=observer.architecture,
        version=windows_version(observer.kernel),
        processors=processors,
        at_s=now // 1_000_000_000,
        comment=f"{observer.tool}: what could not be read are zeros here; the manifest beside this file lists it",
    )


def reader_of(space: AddressSpace) -> Read:
    """Reads a few bytes; none where there are none."""

    def read(address: int, size: int) -> bytes:
        try:
            return space.read_bytes(address, size)
        except (Gone, Denied):
            return b""

    return read


def _thread(thread: ThreadState, now_ns: int) -> StoppedThread:
    stopped = thread.stopped_ns or (now_ns - thread.asked_mono_ns if thread.asked_mono_ns else 0)
    return StoppedThread(thread.tid, thread.name, stopped, thread.unread)


def _consistency(request: DumpRequest, threads: Sequence[StoppedThread]) -> str:
    if not request.freeze or not any(thread.stopped_ns for thread in threads):
        return "running"
    return "frozen" if all(thread.stopped_ns for thread in threads) else "partly-frozen"


def _missing(unread: int, written: Written, stopped: Stopped, architecture: str, image: str) -> Iterator[str]:
    if written.failure:
        yield f"it broke off: {written.failure.message}"
    if unread:
        yield f"{unread} bytes could not be read or were cut off; see `unread` of the regions"
    for gap in stopped.gaps:
        yield f"{gap.field}: {gap.detail or gap.reason}"
    lacking = [thread for thread in stopped.threads if not has_registers(thread, architecture, image)]
    if lacking:
        why = next((thread.unread for thread in lacking if thread.unread), "32-bit")
        yield f"{len(lacking)} of {len(stopped.threads)} threads have no registers in the file: {why}"


def _effects(request: DumpRequest, threads: Sequence[StoppedThread]) -> Iterator[str]:
    still = [thread.stopped_ns for thread in threads if thread.stopped_ns]
    of = f"{len(still)} threads" if len(still) == len(threads) else f"{len(still)} of {len(threads)} threads"
    if request.freeze and threads:
        yield f"{of} stood still while memory was read"
    elif threads:
        yield f"{of} stood still for their registers in turn, {max(still, default=0) / 1e6:.1f} ms at most"


def _noted(manifest: Manifest, notes: tuple[str, ...]) -> Manifest:
    return replace(manifest, notes=notes) if notes else manifest
