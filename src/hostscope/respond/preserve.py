"""Dumps of the processes that are meant, into files that are named after them."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from msgspec.structs import replace

from hostscope.audit import AuditTrail, default_path, this_process
from hostscope.collectors.targets import find
from hostscope.dumps.formats import SUFFIXES, image_for
from hostscope.dumps.output import unwritable
from hostscope.dumps.selection import without_memory
from hostscope.errors import UsageError
from hostscope.model.answer import Answer
from hostscope.model.dump import Dump, DumpRequest
from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.control import open_control
from hostscope.platforms.tally import Tally
from hostscope.private import Override, permitted, refuse_planted
from hostscope.respond.dump import FIELDS, Task, dump_all, observer

_UNFIT = re.compile(r"[^A-Za-z0-9_.+-]")
OVERRIDE = ("dac_override",)
"""As Linux calls it; the platform leaves out what it does not have."""


def dump(
    host: Host, targets: Sequence[str], request: DumpRequest, output: str | None, force: bool = False
) -> Answer[Dump]:
    """Preserves the memory of processes; a row for each file.

    Args:
        targets: pids, names, ``:PORT`` or keys; none means every process but ours and the kernel's threads.
        output: a file for one process, or a directory (made, mode 0700, when there are several); default: here.

    Raises:
        UsageError, Gone, Denied, Mismatch: with the first row; of one process only, what keeps it from being dumped.
    """
    tally = Tally()
    return Answer(_rows(host, targets, request, output, force, tally), tally.coverage)


def _rows(
    host: Host, targets: Sequence[str], request: DumpRequest, output: str | None, force: bool, tally: Tally
) -> Iterator[Dump]:
    tally.method = "live memory"
    processes = list(_meant(host, targets)) if targets else list(_everything(host, tally))
    tally.seen += len(processes)

    def override() -> AbstractContextManager[None]:
        return host.privileges.using(OVERRIDE, "write a dump to its file")

    tasks = _tasks(processes, replace(request, image=image_for(host.name, request.image)), output, override)
    trail = AuditTrail(default_path(), replace(this_process(), login_uid=observer(host).login_user))

    def record(action: str, process: Process, outcome: str) -> None:
        note = trail.try_append(action, what=f"{process.key} {process.name}", why=request.why, outcome=outcome)
        if note:
            tally.note(note)

    for row in dump_all(host, open_control(host.name), tasks, request, override, force, record):
        _count(tally, row)
        yield row


def _count(tally: Tally, row: Dump) -> None:
    tally.rows += 1
    tally.count_gaps(row.gaps)
    if row.file is None:
        reasons = {gap.reason for gap in row.gaps}
        tally.denied += Reason.DENIED in reasons
        tally.vanished += Reason.GONE in reasons
        tally.failed += not reasons & {Reason.DENIED, Reason.GONE}
    elif row.threads:
        effect = "stopped threads for their registers; their manifests say for how long"
        if effect not in tally.effects:
            tally.effects.append(effect)


def _meant(host: Host, targets: Iterable[str]) -> Iterator[Process]:
    """Each process once, in the order in which they were named."""
    seen = set()
    for target in targets:
        for process in find(host, target, ProcessRequest(fields=FIELDS)):
            if process.key not in seen:
                seen.add(process.key)
                yield process


def _everything(host: Host, tally: Tally) -> Iterator[Process]:
    """What has memory, but for ourselves."""
    ours = os.getpid()
    for process in host.processes.sweep(ProcessRequest(fields=FIELDS), Tally()):
        if process.key.pid == ours or without_memory(process):
            tally.skipped += 1
        else:
            yield process
    tally.note("left out: hostscope itself, zombies, and threads of the kernel, which have no memory of their own")
    tally.seen += tally.skipped


def _tasks(processes: list[Process], request: DumpRequest, output: str | None, override: Override) -> list[Task]:
    if len(processes) == 1 and output and not os.path.isdir(output):
        return [(processes[0], output)]
    folder = output or "."
    try:
        permitted(lambda: os.makedirs(folder, 0o700, exist_ok=True), override)
        refuse_planted(folder)
    except FileExistsError:
        raise UsageError(f"{folder} is a file", "several dumps need a directory") from None
    except OSError as failed:
        raise unwritable(folder, failed) from None
    return [(process, os.path.join(folder, file_name(process, request))) for process in processes]


def file_name(process: Process, request: DumpRequest) -> str:
    """``1234-5678900-nginx.core``, or ``.dmp``: pid, start and name, so that two dumps of a run never meet."""
    name = _UNFIT.sub("_", process.name)[:32] or "_"
    packed = ".zst" * (request.compression == "zstd")
    return f"{process.key.pid}-{process.key.start}-{name}.{SUFFIXES[request.image]}{packed}"
