"""Who vouches for files and for what processes run."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from hostscope.binaries.hands import start
from hostscope.binaries.ima import judge_seal
from hostscope.binaries.trust import Trust
from hostscope.binaries.verdict import ADDITIVE, conclude, judge
from hostscope.collectors.bundles import beside_program, is_bundle, judge_bundle
from hostscope.collectors.digests import NEEDS, is_host_path
from hostscope.collectors.errors import attempt, gap_for, reason_of
from hostscope.collectors.open_file import FileContent, State, open_content
from hostscope.collectors.targets import find
from hostscope.errors import Denied, Error, Gone, Mismatch, Unsupported, UsageError
from hostscope.model.answer import Answer
from hostscope.model.gap import Gap, Reason
from hostscope.model.package import FileOwner
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.signature import Flaw, Signature, SignedPart, status_of
from hostscope.model.text import decode, encode
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally
from hostscope.private import READ_FILES, permitted

SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago is not remembered, as for digests: a second change may not show."""
MOST_REMEMBERED = 4096
_Place = tuple[State, int | None, str, bool]
"""A file's state, when it changed, the path it was asked by, and whether that is a path of this host."""
RECORDING = "replay"
MOST_CATALOG_BYTES = 64 << 20
READ_BYTES = 1 << 20
NOT_ASKED = Gap("parts.package", Reason.UNSUPPORTED, "packages own paths, and its path names another file here")
NOT_CHECKED = "revocation is not checked: lists of revoked certificates are on the network, which is never asked"


class VerifyRequest(Struct, frozen=True):
    """What to believe, and what besides the files to look at."""

    roots: tuple[bytes, ...] = ()
    """Certificates (PEM or DER) that are trusted as Apple's and Microsoft's roots are."""
    catalogs: tuple[str, ...] = ()
    """Windows' catalogue files."""
    at_ns: int | None = None
    """The moment that signatures without a time stamp are judged at; None: now."""


def verify(host: Host, targets: Sequence[str], request: VerifyRequest) -> Answer[Signature]:
    """A row for each target: a file, a bundle's folder, or a process by pid, key or ``:PORT``.

    Raises:
        UsageError: a root or catalogue cannot be used.
        UsageError, Gone, Denied, Mismatch, Unavailable: why a single target cannot be judged; with the first row.
    """
    tally = Tally()
    signatures = Signatures(host, read_trust(request), read_catalogs(request, partial(_reading, host)))
    return Answer(_rows(signatures, host, targets, tally), tally.coverage)


def _rows(signatures: "Signatures", host: Host, targets: Sequence[str], tally: Tally) -> Iterator[Signature]:
    tally.method = "files"
    tally.note(NOT_CHECKED)
    for target in targets:
        tally.seen += 1
        try:
            found = list(_one(signatures, host, target))
        except Error as failed:
            if len(targets) == 1:
                raise
            _count(tally, target, failed)
            continue
        for verdict in found:
            tally.rows += 1
            tally.count_gaps(verdict.gaps)
            yield verdict


def _count(tally: Tally, target: str, failed: Error) -> None:
    """One of several targets could not be judged."""
    if isinstance(failed, (Gone, Mismatch)):
        tally.vanished += 1
    elif isinstance(failed, Denied):
        tally.denied += 1
    else:
        tally.failed += 1
    tally.note(failed.message if target in failed.message else f"{target}: {failed.message}")
    tally.count_gaps((Gap("status", reason_of(failed), failed.message),))


def _one(signatures: "Signatures", host: Host, target: str) -> Iterator[Signature]:
    if not is_process(target):
        yield permitted(partial(signatures.of_path, target), partial(_reading, host, target))
        return
    for process in find(host, target, ProcessRequest(fields=NEEDS)):
        yield signatures.of_process(process)


def _reading(host: Host, path: str) -> AbstractContextManager[None]:
    """Brings the right to read files in spite of their permissions into effect, if we have it."""
    return host.privileges.using(READ_FILES, f"read {path}")


def is_process(target: str) -> bool:
    """Whether a target is a pid, a key or a port; everything else is a file (``./123`` for one that is called so)."""
    pid, at, start = target.partition("@")
    return target.startswith(":") or (pid.isdigit() and (not at or start.replace("#", "").isdigit()))


def read_trust(request: VerifyRequest) -> Trust:
    """Raises `UsageError` when a root is no certificate."""
    from datetime import UTC, datetime

    from hostscope.binaries.certificates import load_roots

    try:
        roots = tuple(root for raw in request.roots for root in load_roots(raw))
    except ValueError as failed:
        raise UsageError("a root is no certificate", "give one or several, in PEM or DER") from failed
    return Trust(roots, None if request.at_ns is None else datetime.fromtimestamp(request.at_ns / 1e9, UTC))


def read_catalogs(request: VerifyRequest, reading: Callable[[str], AbstractContextManager[None]]) -> dict[str, bytes]:
    """Catalogues by path. Raises `UsageError` for what is none, `Denied`."""
    found = {path: permitted(partial(_read, path), partial(reading, path)) for path in request.catalogs}
    for path, raw in found.items():
        _check(path, raw)
    return found


def _check(path: str, raw: bytes) -> None:
    from hostscope.binaries.authenticode import check_catalog

    try:
        check_catalog(raw)
    except ValueError as failed:
        raise UsageError(f"{path} is no catalogue", "give one of Windows' .cat files") from failed


def _read(path: str) -> bytes:
    with open_content(path) as content:
        if content.size > MOST_CATALOG_BYTES:
            raise UsageError(f"{path} is too large for a catalogue")
        return content.read(0, content.size)


class Signatures:
    """Judges files, and remembers each verdict while the file stays as it is. Not for use by several threads.

    Verdicts are kept in memory, and for one answer: they depend on whom we trust and on the day, a stored one could be
    forged, and on Windows so can the time of a change, by who may write a file's attributes.
    """

    def __init__(self, host: Host, trust: Trust | None = None, catalogs: Mapping[str, bytes] | None = None) -> None:
        self._host = host
        self._trust = trust or Trust()
        self._catalogs = catalogs or {}
        self._known: dict[_Place, Signature] = {}
        start()  # before a sweep raises privileges, which threads would inherit

    def of_path(self, path: str) -> Signature:
        """The verdict on a file, or on a bundle's folder.

        Raises:
            UsageError: there is none. Denied, Unavailable
        """
        if is_bundle(path):
            return judge_bundle(path, self._trust)
        with open_content(path) as content:
            return self._judged(content, path, host_path=True)

    def of_host(self, path: str) -> Signature:
        """The verdict on a file by the path that the host itself names it by; raises as `of_path`.

        Raises:
            Unsupported: in a recording: a file that is called so here is another one.
        """
        if self._host.name == RECORDING:
            raise Unsupported("files are not in a recording")
        return self.of_path(path)

    def of_process(self, process: Process) -> Signature:
        """The verdict on the image that a process runs, deleted or replaced as its file may be.

        Raises:
            Gone, Denied, Mismatch, Unsupported, Unavailable
        """
        exe = process.exe
        path = exe.path if exe else f"process {process.key.pid}"
        here = exe is not None and not exe.memfd and not exe.deleted and is_host_path(process)
        with self._host.memory.executable(process.key) as file:
            verdict = self._judged(FileContent(file.fileno()), path, here)
        unasked = () if here or verdict.format not in ADDITIVE else (NOT_ASKED,)
        return replace(verdict, key=process.key, gaps=(*verdict.gaps, *unasked))

    def fill(self, process: Process) -> Process:
        """The process with its signature, or with a gap."""
        if process.exe is None:
            return replace(process, gaps=(*process.gaps, *_inherited(process)))
        gaps: list[Gap] = []
        verdict = attempt("signature", gaps, lambda: self.of_process(process))
        return replace(process, signature=verdict, gaps=(*process.gaps, *gaps))

    def remembers(self, path: str) -> bool:
        """Whether the file as it is now would be answered from memory."""
        with open_content(path) as content:
            return (content.state, self._changed_at(content), path, True) in self._known

    def _judged(self, content: FileContent, path: str, host_path: bool) -> Signature:
        changed_at = self._changed_at(content)
        place = (content.state, changed_at, path, host_path)
        if place in self._known:
            return self._known[place]
        verdict = self._judge(content, path, host_path)
        content.check()
        stayed = changed_at is not None and changed_at == self._changed_at(content)
        if stayed and time.time_ns() - (changed_at or 0) >= SETTLED_NS:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[place] = verdict
        return verdict

    def _changed_at(self, content: FileContent) -> int | None:
        """None: nothing would show that the file was changed and its times set back, so it is judged each time."""
        try:
            with open(content.fd, "rb", closefd=False) as file:
                return self._host.files.changed_at_ns(file)
        except Error:
            return None

    def _judge(self, content: FileContent, path: str, host_path: bool) -> Signature:
        beside = beside_program(path) if host_path else None
        gaps: list[Gap] = []
        verdict = judge(path, content, self._trust, self._catalogs, beside)
        if verdict.status == "unsigned" and (installed := self._installed(content, gaps)):
            verdict = judge(path, content, self._trust, {**self._catalogs, **installed}, beside)
        if verdict.format not in ADDITIVE:
            return replace(verdict, gaps=(*verdict.gaps, *gaps))
        parts = [*verdict.parts, *self._sealed(content, gaps)]
        if host_path:
            parts += self._packaged(content, path, gaps)
        return conclude(
            path,
            verdict.format,
            content.size,
            tuple(parts),
            self._trust,
            verdict.flaws,
            hardening=verdict.hardening,
            gaps=(*verdict.gaps, *gaps),
        )

    def _installed(self, content: FileContent, gaps: list[Gap]) -> dict[str, bytes]:
        """The host's own catalogues that list the file, by path."""

        def ask() -> tuple[str, ...]:
            with open(content.fd, "rb", closefd=False) as file:
                return self._host.files.catalogs(file)

        paths = attempt("parts.catalog", gaps, ask) or ()
        found = {path: attempt("parts.catalog", gaps, partial(_read, path)) for path in paths}
        return {path: raw for path, raw in found.items() if raw is not None}

    def _sealed(self, content: FileContent, gaps: list[Gap]) -> Iterator[SignedPart]:
        """What the file system keeps beside it."""
        try:
            with open(content.fd, "rb", closefd=False) as file:
                seals = self._host.files.seals(file)
        except Error as failed:
            gaps.append(gap_for("parts.seals", failed))
            return
        for seal in seals:
            yield judge_seal(seal, lambda algorithm: _hash(content, algorithm), self._trust.extra_roots)

    def _packaged(self, content: FileContent, path: str, gaps: list[Gap]) -> Iterator[SignedPart]:
        """What the host's package database says of it."""
        real = decode(os.path.realpath(encode(path)))
        owner = attempt("parts.package", gaps, lambda: self._host.packages.owner(real))
        if owner is not None:
            yield packaged_part(owner, content)


def packaged_part(owner: FileOwner, content: FileContent) -> SignedPart:
    """Whether a file is what its package brought. MD5 (dpkg) tells damage, not whoever makes collisions."""
    name = f"{owner.package} {owner.version}" if owner.version else owner.package
    if owner.digest is None or owner.digest_algorithm is None:
        flaw = Flaw("package", f"{owner.manager} has no digest of it", "noted")
        return SignedPart("package", "unknown", "package-digest", signer=name, flaws=(flaw,))
    flaws: tuple[Flaw, ...] = ()
    if _hash(content, owner.digest_algorithm).hex() != owner.digest:
        flaws = (Flaw("package", f"it is not what {name} brought ({owner.manager}, {owner.digest_algorithm})"),)
    return SignedPart(
        "package",
        status_of(flaws),
        "package-digest",
        signer=name,
        digests=(owner.digest_algorithm,),
        code_hash=owner.digest,
        flaws=flaws,
    )


def _hash(content: FileContent, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for at in range(0, content.size, READ_BYTES):
        digest.update(content.read(at, READ_BYTES))
    return digest.digest()


def _inherited(process: Process) -> tuple[Gap, ...]:
    """Without the executable there is no verdict, for the same reason."""
    return tuple(Gap("signature", gap.reason, gap.detail) for gap in process.gaps if gap.field == "exe")
