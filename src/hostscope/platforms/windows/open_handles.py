"""Handles of one process with the types and names of their objects, without ever waiting for somebody else's I/O."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from hostscope.model.detail import OpenFile
from hostscope.model.gap import Gap, Reason
from hostscope.platforms.windows.native import handles, ntdll, objects
from hostscope.platforms.windows.parse_objects import HandleEntry, parse_handles, parse_types

MOST = 200_000
PATIENCE_S = 0.25
"""How long one name is waited for."""
BUDGET_S = 10.0
"""How long all names are waited for."""
MOST_STUCK = 4
"""Threads that are left behind, each in a call that does not return, before names of files are no more asked for."""
READ, WRITE, APPEND = 1, 2, 4
"""FILE_READ_DATA, FILE_WRITE_DATA, FILE_APPEND_DATA."""


def read_handles(pid: int, process: int | None) -> tuple[tuple[OpenFile, ...], list[Gap]]:
    """Every handle of a process by its value, and what is missing of them.

    Args:
        process: a handle with PROCESS_DUP_HANDLE; without it handles have types but no names.

    Raises:
        OSError, ValueError: there is no table of handles.

    Source: NtQuerySystemInformation(SystemExtendedHandleInformation), NtQueryObject, DuplicateHandle.
    Cost: the table of the whole host; then three calls a handle.
    """
    raw, _ = ntdll.query_system(ntdll.SystemExtendedHandleInformation, 1 << 21)
    found = sorted(parse_handles(raw, pid))
    gaps = [Gap("open_files", Reason.TRUNCATED, f"{len(found)} in all, the first {MOST} read")][: len(found) > MOST]
    names = Names(process)
    files = tuple(_file(entry, *names.of(entry)) for entry in found[:MOST])
    return files, gaps + names.gaps()


def _file(entry: HandleEntry, kind: str | None, name: str) -> OpenFile:
    return OpenFile(
        fd=entry.value,
        kind=kind.lower().replace(" ", "-") if kind else f"type {entry.type_index}",
        path=name,
        mode=_mode(entry.access) if kind == "File" else None,
        position=None,
        inode=None,
        access=entry.access,
    )


def _mode(access: int) -> str | None:
    read, write, append = access & READ, access & (WRITE | APPEND), access & (WRITE | APPEND) == APPEND
    return ("r" if read else "") + ("w" if write else "") + ("a" if append else "") or None


class Names:
    """Types and names of objects, asked for through duplicates of their handles."""

    def __init__(self, process: int | None, patience_s: float = PATIENCE_S) -> None:
        self._process = process
        self._patience_s = patience_s
        self._types: dict[int, str] = {}
        self._table: dict[int, str] | None = None
        self._worker: _Worker | None = None
        self._stuck = self._unasked = self._refused = 0
        self._until = time.monotonic() + BUDGET_S

    def of(self, entry: HandleEntry) -> tuple[str | None, str]:
        """Type and name; no name where there is none, or where it cannot be had (counted in `gaps`)."""
        ours = self._duplicate(entry.value)
        if ours is None:
            return self._listed_type(entry.type_index), ""
        kind = self._type(entry.type_index, ours)
        if kind == "File":
            return kind, self._patiently(objects.object_name, ours)
        try:
            return kind, _ASK.get(kind or "", objects.object_name)(ours)
        except (OSError, ValueError):
            self._refused += 1
            return kind, ""
        finally:
            handles.close(ours)

    def _duplicate(self, handle: int) -> int | None:
        if self._process is None:
            return None
        try:
            return objects.duplicate(self._process, handle)
        except OSError:
            self._refused += 1
            return None

    def _type(self, index: int, ours: int) -> str | None:
        """By asking one object of each type; the table of types is for what may not be duplicated."""
        if index not in self._types:
            try:
                self._types[index] = objects.object_type(ours)
            except (OSError, ValueError):
                return self._listed_type(index)
        return self._types[index]

    def _listed_type(self, index: int) -> str | None:
        if self._table is None:
            try:
                self._table = parse_types(*objects.query_types())
            except (OSError, ValueError):
                self._table = {}
        return self._types.get(index) or self._table.get(index)

    def _patiently(self, ask: Callable[[int], str], ours: int) -> str:
        """From a thread that is left behind, with the duplicate, when the answer does not come."""
        if self._stuck >= MOST_STUCK or time.monotonic() > self._until:
            handles.close(ours)
            self._unasked += 1
            return ""
        self._worker = self._worker or _Worker()
        answer = self._worker.ask(ask, ours, self._patience_s)
        if answer is None:
            self._worker, self._stuck = None, self._stuck + 1
            self._unasked += 1
            return ""
        if isinstance(answer, Exception):
            self._refused += 1
            return ""
        return answer

    def gaps(self) -> list[Gap]:
        """What is missing; and the worker ends."""
        if self._worker is not None:
            self._worker.end()
        found = []
        if self._process is None:
            found.append(Gap("open_files.path", Reason.DENIED, "its handles may not be duplicated"))
        if self._refused:
            found.append(Gap("open_files.path", Reason.DENIED, f"{self._refused} objects did not tell their names"))
        if self._unasked:
            text = f"names of {self._unasked} files did not come: somebody waits in a call on them"
            found.append(Gap("open_files.path", Reason.UNAVAILABLE, text))
        return found


class _Worker:
    """A thread that asks for one name after the other, and can be left behind."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[int], str], int] | None] = SimpleQueue()
        self._answers: SimpleQueue[str | Exception] = SimpleQueue()
        Thread(target=self._run, name="names of files", daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            ask, handle = job
            self._answers.put(self._asked(ask, handle))

    def _asked(self, ask: Callable[[int], str], handle: int) -> str | Exception:
        """The handle is closed before anybody has the answer, and may think that all is over."""
        try:
            return ask(handle)
        except (OSError, ValueError) as failed:
            return failed
        finally:
            handles.close(handle)

    def ask(self, ask: Callable[[int], str], handle: int, patience_s: float) -> str | Exception | None:
        """The answer; None when it did not come: then this worker is of no use any more."""
        self._jobs.put((ask, handle))
        try:
            return self._answers.get(timeout=patience_s)
        except Empty:
            self.end()
            return None

    def end(self) -> None:
        """It ends after the job that it is at."""
        self._jobs.put(None)


def _process(handle: int) -> str:
    return f"process {objects.process_id(handle)}"


def _thread(handle: int) -> str:
    tid, pid = objects.thread_id(handle)
    return f"thread {tid} of process {pid}"


_ASK: dict[str, Callable[[int], str]] = {"Process": _process, "Thread": _thread}
"""What stands for a name of objects that have none."""
