"""What is preserved of a process before anything is done to it."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

from msgspec import Struct
from msgspec.structs import replace

from hostscope.collectors.inspection import inspect
from hostscope.errors import Error
from hostscope.model.dump import Dump, DumpRequest
from hostscope.model.inspection import PROCESS_SCHEMA, ProcessInspection
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.response import Preserved
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.private import close_to_others, refuse_planted
from hostscope.render.documents import encode_json
from hostscope.respond.guard import Subject

Treat = Callable[[ProcessInspection], ProcessInspection]
Recorder = Callable[[str, str], None]
"""Writes a line to the audit trail: what, outcome."""
RECORD, IMAGE = "process.json", "memory"


class Evidence(Struct, frozen=True):
    """Files that were written, what is missing, and what is to be said of the rest."""

    files: tuple[Preserved, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Preserving:
    """A folder for each process, with its record and its memory.

    ``process.json`` is what ``hostscope inspect --format json`` writes: the process, its ancestors, open files,
    sockets, maps, threads, environment. ``memory.core`` and its manifest are what ``hostscope dump`` writes; registers
    stop each thread for a moment. Files are 0600 and never replace another.
    """

    def __init__(self, host: Host, control: Control, folder: str, reason: str | None, treat: Treat, record: Recorder):
        self._host, self._control = host, control
        self._folder = folder
        self._reason = reason
        self._treat = treat
        self._record = record
        self._files: list[Preserved] = []
        self._failures: list[str] = []
        self._notes: list[str] = []

    def preserve(self, subjects: Iterable[Subject]) -> Evidence:
        """Records first, then memory, of all; a zombie holds nothing any more, and is left out."""
        tasks = list(filter(None, (self._one(subject) for subject in subjects if not subject.identity.ended)))
        for row in self._dumps(tasks):
            self._dumped(row)
        return Evidence(tuple(self._files), tuple(self._failures), tuple(self._notes))

    def _one(self, subject: Subject) -> tuple[Process, str] | None:
        """Writes the record; the task of dumping the memory beside it."""
        key = subject.process.key
        try:
            found = self._treat(inspect(self._host, str(key)))
            raw = encode_json({"schema": PROCESS_SCHEMA, "inspection": found}) + b"\n"
            path = os.path.join(self._folder, f"{key.pid}-{key.start}-{_stamp()}")
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            refuse_planted(self._folder)
            os.makedirs(path, mode=0o700, exist_ok=True)
            self._files.append(replace(write_new(os.path.join(path, RECORD), raw), of=key))
            process = self._host.processes.read(key.pid, ProcessRequest(fields=_dump_fields()))
        except (Error, OSError) as failed:
            self._failures.append(f"process {key}: {_words(failed)}")
            return None
        return replace(process, key=key), os.path.join(path, f"{IMAGE}.{_suffix(self._host.name)}")

    def _dumps(self, tasks: Sequence[tuple[Process, str]]) -> Iterator[Dump]:
        from hostscope.respond.dump import dump_all  # brings NumPy and the dump formats along

        def trail(action: str, process: Process, outcome: str) -> None:
            self._record(f"{action} {process.key}", outcome)

        request = DumpRequest(why=self._reason)
        try:
            if tasks:
                yield from dump_all(self._host, self._control, tasks, request, nullcontext, False, trail)
        except (Error, OSError) as failed:
            self._failures.append(f"memory of process {tasks[0][0].key}: {_words(failed)}")

    def _dumped(self, row: Dump) -> None:
        if row.file is None or row.manifest is None:
            self._failures.append(f"memory of process {row.key}: {row.outcome}")
            return
        manifest = hash_file(row.manifest)
        self._files += [Preserved(row.file, None, os.stat(row.file).st_size, row.key), replace(manifest, of=row.key)]
        if not row.complete:
            self._notes.append(f"memory of process {row.key}: {row.outcome}; {row.unread_bytes} bytes unread")


def _suffix(system: str) -> str:
    from hostscope.dumps.formats import SUFFIXES, image_for

    return SUFFIXES[image_for(system, "core")]


def _dump_fields() -> frozenset[str]:
    from hostscope.respond.dump import FIELDS

    return FIELDS


def _words(failed: Exception) -> str:
    if isinstance(failed, OSError) and not isinstance(failed, Error):
        return f"{failed.strerror}: {failed.filename}" if failed.filename else str(failed.strerror)
    return str(failed)


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def write_new(path: str, raw: bytes) -> Preserved:
    """A file that was not there before, on the disk.

    Raises:
        OSError
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        close_to_others(path)
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    return Preserved(path, hashlib.sha256(raw).hexdigest(), len(raw))


def hash_file(path: str) -> Preserved:
    """A file as it is. Raises OSError."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Preserved(path, digest, os.stat(path).st_size)
