"""YARA rules over the memory and executables of running processes."""

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from msgspec.structs import replace

from hostscope import log
from hostscope.collectors.errors import reason_of
from hostscope.collectors.targets import find
from hostscope.dumps.matching import cut_parts, file_matches, region_matches
from hostscope.dumps.patience import STALLED, Hands, Steps, answer_of, open_hands
from hostscope.dumps.pieces import not_asked
from hostscope.dumps.positional import read_at
from hostscope.dumps.reading import BUFFER_BYTES, MOST_STALLS, NO_ANSWER, NO_PAGE, NOT_ASKED, PAGE_BYTES
from hostscope.dumps.rules import Rules, compile_rules
from hostscope.dumps.selection import obstacle, without_memory
from hostscope.errors import Denied, Error, Gone, Mismatch, Unavailable
from hostscope.model.answer import Answer
from hostscope.model.dump import RuleMatch
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_memory import AddressSpace
from hostscope.platforms.tally import Tally
from hostscope.private import READ_FILES

FIELDS = frozenset({"exe", "state", "threads"})
_LARGE_BYTES = 256 << 20
"""Executables that are really as large are rare."""


def scan(
    host: Host, targets: Sequence[str], rules: str, memory: bool = True, executable: bool = True
) -> Answer[RuleMatch]:
    """What rules find in processes; a row for each match.

    Args:
        targets: pids, names, ``:PORT`` or keys; none means every process but ours and the kernel's threads.
        rules: a file, or a directory of ``.yar`` and ``.yara`` files.

    Raises:
        RuleError: a rule is wrong: ``path:line:column``.
        UsageError, Gone, Denied, Mismatch: with the first row.
    """
    tally = Tally()
    raised = partial(host.privileges.using, READ_FILES, f"read {rules}")
    scanner = Scanner(host, compile_rules(rules, raised), tally, memory, executable)
    return Answer(scanner.rows(targets), tally.coverage)


class Scanner:
    """One set of rules over one host."""

    def __init__(self, host: Host, rules: Rules, tally: Tally, memory: bool, executable: bool) -> None:
        self._host = host
        self._rules = rules
        self._tally = tally
        self._memory = memory
        self._executable = executable
        self._files: dict[tuple[int, int], list[RuleMatch]] = {}

    def rows(self, targets: Sequence[str]) -> Iterator[RuleMatch]:
        """The matches of all processes that are meant."""
        self._tally.method = "yara-x"
        meant = self._meant(targets)
        for process in meant.values() if targets else self._everything():
            for match in self._process(process, alone=len(meant) == 1):
                self._tally.rows += 1
                yield match

    def _meant(self, targets: Sequence[str]) -> dict[ProcessKey, Process]:
        """Each once, in the order in which they were named."""
        found = (process for target in targets for process in find(self._host, target, ProcessRequest(fields=FIELDS)))
        return {process.key: process for process in found}

    def _everything(self) -> Iterator[Process]:
        for process in self._host.processes.sweep(ProcessRequest(fields=FIELDS), Tally()):
            if process.key.pid == os.getpid() or without_memory(process):
                self._tally.skipped += 1
            else:
                yield process
        self._tally.note("left out: hostscope itself (the rules match in its own memory), zombies, kernel threads")

    def _process(self, process: Process, alone: bool) -> Iterator[RuleMatch]:
        self._tally.seen += 1
        try:
            if self._memory:
                yield from self._in_memory(process)
            if self._executable:
                yield from self._in_file(process)
        except (Gone, Mismatch) as failed:
            if alone:
                raise
            self._tally.vanished += 1
            log.debug("scan_vanished", error=type(failed).__name__)
        except Error as failed:
            if alone:
                raise
            denied = isinstance(failed, Denied)
            self._tally.denied += denied
            self._tally.failed += not denied
            self._tally.count_gaps((Gap("memory", reason_of(failed), failed.message),))

    def _in_memory(self, process: Process) -> Iterator[RuleMatch]:
        key = process.key
        regions = self._host.memory.regions(key, False)
        stalls = 0
        with self._host.memory.open(key) as space, open_hands(1, self._host.memory.give_way) as reader:
            for region in regions:
                if stalls >= MOST_STALLS:
                    self._tally.count_gaps((Gap("memory", Reason.UNAVAILABLE, NOT_ASKED),))
                    break
                if obstacle(region) is None:
                    coming = _Coming(reader, space, region)
                    try:
                        yield from region_matches(self._rules, region, coming.parts(), key.pid, process.name, key)
                    except Unavailable as failed:
                        coming.missing.add(failed.message)
                    stalls += coming.stalled
                    self._tally.count_gaps(Gap("memory", Reason.UNAVAILABLE, why) for why in sorted(coming.missing))
            space.check()

    def _in_file(self, process: Process) -> Iterator[RuleMatch]:
        """Each file is scanned once, however many processes run it."""
        path = process.exe.path if process.exe else "?"
        with self._host.memory.executable(process.key) as file:
            found = os.fstat(file.fileno())
            place = (found.st_dev, found.st_ino)
            if place not in self._files:
                held = cut_parts(_held(file.fileno(), found.st_size))
                parts = ((at, read_at(file.fileno(), size, at)) for at, size in held)
                self._files[place] = list(self._told(file_matches(self._rules, path, parts)))
        for match in self._files[place]:
            yield replace(match, path=path, pid=process.key.pid, key=process.key, name=process.name)

    def _told(self, matches: Iterator[RuleMatch]) -> Iterator[RuleMatch]:
        """The same; when the scanner gives up, that is counted."""
        try:
            yield from matches
        except Unavailable as failed:
            self._tally.count_gaps((Gap("executable", Reason.UNAVAILABLE, failed.message),))


def _held(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file holds something; of a large one without its holes: a petabyte of nothing is made in a moment."""
    to_data, to_hole = getattr(os, "SEEK_DATA", None), getattr(os, "SEEK_HOLE", None)  # Windows has neither
    if size <= _LARGE_BYTES or to_data is None or to_hole is None:
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, to_data)
        except OSError as failed:
            if failed.errno != errno.ENXIO:  # nothing more
                raise
            return
        end = os.lseek(file, start, to_hole)
        yield start, min(end, size)


class _Coming:
    """The parts of a region; the next one is read while one is scanned.

    The scanner keeps Python's lock while it works, so reading has to begin before it.
    """

    def __init__(self, reader: Hands, space: AddressSpace, region: Region) -> None:
        self._reader = reader
        self._space = space
        self._region = region
        self.stalled = False
        """Whether a part did not answer; those after it are not asked for."""
        self.missing: set[str] = set()
        """Why some of it could not be scanned."""

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Addresses and bytes. Raises as `AddressSpace.read`."""
        before: Future[Any] | None = None
        for address, size in cut_parts(self._ranges()):
            ready = self._ready(before)
            if self.stalled:
                return
            before = self._begun(address, size)
            yield from ready
        yield from self._ready(before)

    def _ranges(self) -> Iterable[tuple[int, int]]:
        ranges = self._space.resident(self._region)
        if not self._region.served_by:
            return ranges
        held = list(ranges)
        self.missing.update(unread.detail or "" for unread in not_asked(self._region, held))
        return held

    def _begun(self, address: int, size: int) -> "Future[Any]":
        begun = threading.Event()
        future = self._reader.submit(self._steps(address, size, begun))
        begun.wait()
        return future

    def _steps(self, address: int, size: int, begun: threading.Event) -> Steps:
        """Reads a part; in several pieces when pages in it cannot be read: what lies behind those is scanned, too."""

        def read() -> bytes:
            begun.set()
            return self._space.read_bytes(address, size)

        pieces: list[tuple[int, bytes]] = []
        end = address + size
        while address < end:
            content = yield read
            if content is STALLED:
                self.stalled = True
                self.missing.add(NO_ANSWER)
                break
            if content:
                pieces.append((address, content))
            address += len(content)
            if len(content) < size:
                self.missing.add(NO_PAGE)
                address = min(address - address % PAGE_BYTES + PAGE_BYTES, end)
            size = min(BUFFER_BYTES, end - address)
        return pieces

    def _ready(self, coming: "Future[Any] | None") -> list[tuple[int, bytes]]:
        """What was read of the part that was begun; nothing when there was none."""
        return [] if coming is None else answer_of(coming)
