"""Makes a recording: what a host answers, line by line."""

import gzip
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

import hostscope
from hostscope.errors import Error, UsageError
from hostscope.model.coverage import Coverage
from hostscope.model.host import HostInfo
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.socket import FAMILIES, SocketRequest
from hostscope.platforms.base import Host
from hostscope.platforms.replay.layout import (
    ABILITIES,
    CONTAINERS,
    COUNTERS,
    DIGEST,
    END_SCHEMA,
    FAILURE_SCHEMA,
    HELD,
    INFO,
    INTERFACE_COVERAGE,
    INTERFACES,
    OWNER,
    RECORDING_SCHEMA,
    SECURITY,
    SERVICES,
    SOCKET_COVERAGE,
    SOCKET_SWEEP,
    SWEEP,
    SWEEP_COVERAGE,
    Call,
    Header,
    Line,
)
from hostscope.platforms.replay.translate import failure
from hostscope.platforms.tally import Tally
from hostscope.private import close_to_others
from hostscope.render.mask import mask_process, mask_service

_encode = msgspec.json.Encoder().encode

WHOLE: tuple[tuple[Call[Any], Callable[[Host], Any]], ...] = (
    (INFO, lambda host: host.system.info()),
    (SECURITY, lambda host: host.security.state()),
    (COUNTERS, lambda host: host.counters.read()),
    (HELD, lambda host: host.privileges.held()),
    (ABILITIES, lambda host: host.privileges.abilities()),
    (CONTAINERS, lambda host: tuple(host.containers.containers())),
)
"""Every answer that takes no argument and holds no secrets."""


def record(host: Host, to: str | IO[bytes], request: ProcessRequest, reveal: bool = False) -> Coverage:
    """Writes processes and sockets, and what a host says of itself.

    A file, given by its path, appears whole or not at all; of what goes to an open one, its last line says that it
    is whole.

    All processes are recorded, whatever `request` limits or leaves out: evidence is cut when it is read. Digests and
    packages are recorded when `request` wants ``digest``. Secrets in arguments are masked unless `reveal`. The file
    is gzipped when its name ends in ``.gz``; only its owner may read it.

    Raises:
        UsageError: the path cannot be written.
        Unsupported, Denied: the host does not give its processes; nothing is written.
    """
    with _new_file(Path(to)) if isinstance(to, str) else nullcontext(to) as file:
        writer = _Writer(file)
        writer.header(host, request, masked=not reveal)
        for call, ask in WHOLE:
            writer.answer(call, partial(ask, host))
        units = host.services.services if reveal else (lambda: map(mask_service, host.services.services()))
        writer.answer(SERVICES, lambda: tuple(units()))
        coverage = writer.sweep(host, request, (lambda process: process) if reveal else mask_process)
        writer.sockets(host)
        writer.interfaces(host)
        writer.end()
    return coverage


class _Writer:
    """One recording in the making."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lines = 0

    def header(self, host: Host, request: ProcessRequest, masked: bool) -> None:
        fields = tuple(sorted(request.wanted))
        header = Header(RECORDING_SCHEMA, time.time_ns(), hostscope.__version__, masked, fields, _info(host))
        self._file.write(_encode(header) + b"\n")

    def answer(self, call: Call[Any], ask: Callable[[], Any], of: str | None = None) -> None:
        """One answer, or the error in its place."""
        try:
            body = ask()
        except Error as error:
            self._line(FAILURE_SCHEMA, call.name, failure(error), of)
        else:
            self._line(call.schema, call.name, body, of)

    def sweep(self, host: Host, request: ProcessRequest, mask: Callable[[Process], Process]) -> Coverage:
        """The processes, their coverage, and the digests of their executables."""
        tally, running = Tally(), []
        for process in host.processes.sweep(request, tally):
            self._line(SWEEP.schema, SWEEP.name, mask(process))
            tally.rows += 1
            tally.count_gaps(process.gaps)
            if process.exe is not None and "digest" in request.wanted:
                running.append((process.key, process.exe))
        coverage = tally.coverage(request.wanted)
        self._line(SWEEP_COVERAGE.schema, SWEEP_COVERAGE.name, coverage)
        for key, exe in running:
            self.answer(DIGEST, partial(host.files.digest, key, exe), str(key))
        for owned in sorted({exe.path for _, exe in running}):
            self.answer(OWNER, partial(host.packages.owner, owned), owned)
        return coverage

    def sockets(self, host: Host) -> None:
        """Every socket of every family, and their coverage; or why there are none."""
        tally = Tally()
        try:
            for socket in host.sockets.sweep(SocketRequest(families=FAMILIES), tally):
                self._line(SOCKET_SWEEP.schema, SOCKET_SWEEP.name, socket)
                tally.rows += 1
                tally.count_gaps(socket.gaps)
        except Error as error:
            self._line(FAILURE_SCHEMA, SOCKET_COVERAGE.name, failure(error))
        else:
            self._line(SOCKET_COVERAGE.schema, SOCKET_COVERAGE.name, tally.coverage())

    def interfaces(self, host: Host) -> None:
        """Every interface and their coverage; or why there are none."""
        tally = Tally()
        try:
            rows = tuple(host.interfaces.interfaces(tally))
        except Error as error:
            self._line(FAILURE_SCHEMA, INTERFACES.name, failure(error))
        else:
            tally.rows = len(rows)
            self._line(INTERFACES.schema, INTERFACES.name, rows)
            self._line(INTERFACE_COVERAGE.schema, INTERFACE_COVERAGE.name, tally.coverage())

    def end(self) -> None:
        self._line(END_SCHEMA, "end", self._lines)

    def _line(self, schema: str, call: str, body: object, of: str | None = None) -> None:
        self._file.write(_encode(Line(schema, call, msgspec.Raw(_encode(body)), of)) + b"\n")
        self._lines += 1


def _info(host: Host) -> HostInfo | None:
    try:
        return host.system.info()
    except Error:
        # The answer's own line says why.
        return None


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well, and leaves nothing otherwise."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file")
    try:
        # mkstemp makes it 0600.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as failed:
        raise _unwritable(path, failed) from failed
    try:
        with open(handle, "wb") as file:
            close_to_others(temporary)
            yield from _compressed(file, path)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException as failed:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        # `Denied` and `NativeError` of the host are OSErrors too, and stay what they are.
        if isinstance(failed, OSError) and not isinstance(failed, Error):
            raise _unwritable(path, failed) from failed
        raise


def _compressed(file: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6) as packed:
        yield packed  # type: ignore[misc]


def _unwritable(path: Path, failed: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {failed.strerror or failed}")
