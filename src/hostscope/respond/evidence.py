"""What is preserved of a process before anything is done to it."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from hostscope.collectors.inspection import inspect
from hostscope.errors import Error
from hostscope.model.inspection import PROCESS_SCHEMA, ProcessInspection
from hostscope.model.response import Preserved
from hostscope.platforms.base import Control, Host
from hostscope.render.documents import encode_json
from hostscope.respond.guard import Subject

Treat = Callable[[ProcessInspection], ProcessInspection]
NO_DUMP = "evidence holds records (process, ancestry, open files, sockets, maps, threads), no memory"


class Evidence(Struct, frozen=True):
    """Files that were written, and what is missing."""

    files: tuple[Preserved, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()


def preserve(host: Host, control: Control, subjects: Iterable[Subject], folder: str, treat: Treat) -> Evidence:
    """A folder for each process in `folder`, which is made (mode 0700) when it is not there.

    Each holds ``process.json``, as ``hostscope inspect --format json`` writes it: the process, its ancestors, open
    files, sockets, maps, threads, environment. Files are 0600, never replace another, and are on the disk when this
    returns.

    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as failed:
        return Evidence((), (f"cannot make {folder}: {failed.strerror}",))
    files, failures = [], []
    for subject in subjects:
        if subject.identity.ended:
            continue  # a zombie holds nothing any more
        try:
            files.append(_record(host, subject, folder, treat))
        except (Error, OSError) as failed:
            failures.append(f"process {subject.process.key}: {failed}")
    return Evidence(tuple(files), tuple(failures), (NO_DUMP,))


def _record(host: Host, subject: Subject, folder: str, treat: Treat) -> Preserved:
    key = subject.process.key
    found = treat(inspect(host, str(key)))
    raw = encode_json({"schema": PROCESS_SCHEMA, "inspection": found}) + b"\n"
    path = os.path.join(folder, f"{key.pid}-{key.start}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return write_new(os.path.join(path, "process.json"), raw, subject)


def write_new(path: str, raw: bytes, subject: Subject) -> Preserved:
    """A file that was not there before, on the disk.

    Raises:
        OSError
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    return Preserved(path, hashlib.sha256(raw).hexdigest(), len(raw), subject.process.key)
