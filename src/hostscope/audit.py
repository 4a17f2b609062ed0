"""The audit trail: one JSON object a line, each carrying the hash of the one before.

What it proves: a line that was changed, removed from the middle, inserted or reordered no longer fits, and `verify`
names the first one that does not. What it cannot prove: lines cut off the *end* leave a shorter chain that is whole,
and whoever may write the file can compute a new chain from any point on. Ship the last hash elsewhere (or the lines,
as they are written) where that matters. A rotated trail begins again with `seq` 0, so rotate by renaming.

Imports only what every one-shot command has loaded anyway; the hash library is loaded with the first line written.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from hostscope.errors import Unavailable
from hostscope.model.text import decode

SCHEMA = "hostscope.audit/1"
GENESIS = "0" * 64
"""What the first line names as the one before."""
TEXT_LIMIT = 2048
"""Characters kept of one text; a longer one ends in an ellipsis."""
LINE_LIMIT = 128 * 1024
"""Bytes of the longest line: seven texts of which every character is escaped."""
LOCK_WAIT_S = 2.0
OF_ROOT = Path("/var/log/hostscope/audit.jsonl")
TORN = "audit.torn"
"""Action of the line that follows one which was never finished (power loss, full disk); `what` is its digest."""
BROKEN = "audit.broken"
"""Action of the line that follows one which does not fit; it explains, but `verify` still names that line."""


class Who(Struct, frozen=True):
    """Who acts."""

    uid: int | None
    login_uid: int | None
    """Who logged in, whatever su and sudo did since; None when unknown."""
    pid: int
    tty: str | None


class Entry(Struct, frozen=True):
    """One line."""

    schema: str
    seq: int
    """Counts up by one, from 0."""
    at_ns: int
    """UTC since the epoch, by this host's clock."""
    who: Who
    action: str
    """Such as ``privilege.raise``."""
    what: str | None
    why: str | None
    before: str | None
    after: str | None
    outcome: str
    """``done``, or ``failed: `` and what the system said."""
    previous: str
    """`hash` of the line before."""
    hash: str
    """SHA-256, hexadecimal, of the line without this field, as JSON with sorted keys and no spaces, in UTF-8."""


class Fault(Struct, frozen=True):
    """The first line that does not fit."""

    line: int
    """From 1."""
    problem: str


class _Tail(Struct, frozen=True):
    """Where the chain stands: the number and hash that the next line goes on from."""

    next_seq: int
    hash: str
    repair: tuple[str, str] | None = None
    """Action and `what` of the line that has to come first."""
    unfinished: bool = False
    """The file does not end in a newline."""


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """HOSTSCOPE_AUDIT; else for root /var/log/hostscope/audit.jsonl, for others one in their state directory.

    A user without a home directory (any number, in a container) is given root's, which then says that it is closed.
    """
    if environ.get("HOSTSCOPE_AUDIT"):
        return Path(environ["HOSTSCOPE_AUDIT"])
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if _uid() != 0 and state.is_absolute():  # the XDG specification has relative paths ignored
        return state / "hostscope" / "audit.jsonl"
    try:
        home = None if _uid() == 0 else Path.home()
    except RuntimeError:
        home = None
    return home / ".local" / "state" / "hostscope" / "audit.jsonl" if home else OF_ROOT


def this_process() -> Who:
    """Who, as far as every system tells; platforms add the login user."""
    return Who(uid=_uid(), login_uid=None, pid=os.getpid(), tty=_terminal())


class AuditTrail:
    """Appends lines to one file; many processes may share it.

    The file is made with mode 0600 and must stay its owner's alone: one that others own or may open is refused, and
    so is a symbolic link.
    """

    def __init__(self, path: Path, who: Who | None = None) -> None:
        self.path = path
        self._who = who

    def append(
        self,
        action: str,
        *,
        what: str | None = None,
        why: str | None = None,
        before: str | None = None,
        after: str | None = None,
        outcome: str = "done",
        durable: bool = True,
    ) -> Entry:
        """Writes one line, and returns when it is on the disk, or with `durable` off when the system has it.

        Raises:
            Unavailable: it could not be written; what was to be recorded is not.

        Cost: open, flock, one read of the last line, one write, and fsync when durable (0.2 ms on the development
            machine's ext4, several on spinning disks, far more on a disk in trouble).
        """
        facts = {"what": what, "why": why, "before": before, "after": after, "outcome": outcome}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
                entry = self._extend(fd, action, {name: _clean(text) for name, text in facts.items()})
                if durable:
                    os.fsync(fd)
                return entry
        except OSError as failed:
            raise self._unavailable(failed.strerror or str(failed)) from failed

    def try_append(self, action: str, **facts: Any) -> str | None:
        """`append` for looking, which works without a trail and does not wait for the disk.

        Returns:
            None, or the line for people (coverage notes) that says what was not recorded and why.
        """
        try:
            self.append(action, durable=False, **facts)
        except Unavailable as failed:
            return f"not recorded ({action}): {failed}"
        return None

    def obstacle(self) -> str | None:
        """Why the next line could not be written; None when it could. Makes nothing: a missing file is fine."""
        try:
            if os.path.lexists(self.path):
                with self._opened(os.O_RDWR):
                    return None
        except Unavailable as failed:
            return failed.message
        except OSError as failed:
            return f"audit trail {self.path}: {failed.strerror}"
        there = next(parent for parent in self.path.absolute().parents if parent.exists())
        return None if os.access(there, os.W_OK | os.X_OK) else f"audit trail {self.path}: cannot be made in {there}"

    def verify(self) -> Fault | None:
        """The first line that does not fit; None when all do, and for an empty trail.

        Cuts at the end go unnoticed (see the module's text).

        Raises:
            Unavailable: there is no trail, or it cannot be read.
        """
        try:
            with self.path.open("rb") as trail:
                return _first_fault(trail)
        except OSError as failed:
            raise self._unavailable(failed.strerror or str(failed)) from failed

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT"):
            flags |= getattr(os, name, 0)
        fd = os.open(self.path, flags, 0o600)
        try:
            self._check(fd)
            self._lock(fd)
            yield fd
        finally:
            os.close(fd)  # the lock goes with it

    def _check(self, fd: int) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._unavailable("not a regular file")
        if _uid() is not None and status.st_uid != _uid():
            raise self._unavailable(f"belongs to uid {status.st_uid}")
        if _uid() is not None and status.st_mode & 0o077:
            raise self._unavailable(f"others may open it (mode {status.st_mode & 0o777:o}); chmod 600")

    def _lock(self, fd: int) -> None:
        """Never waits for long: any process of the same user could hold the lock for good."""
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise self._unavailable(f"locked by another process for {LOCK_WAIT_S:.0f} s")
            time.sleep(0.005)

    def _extend(self, fd: int, action: str, facts: dict[str, str | None]) -> Entry:
        tail = _read_tail(fd)
        lines = b"\n" if tail.unfinished else b""
        if tail.repair:
            repaired = self._entry(tail, tail.repair[0], {"what": tail.repair[1]})
            lines += _line(repaired)
            tail = _Tail(repaired.seq + 1, repaired.hash)
        entry = self._entry(tail, action, facts)
        _write_all(fd, lines + _line(entry))
        return entry

    def _entry(self, tail: _Tail, action: str, facts: dict[str, str | None]) -> Entry:
        who = self._who or this_process()
        entry = Entry(
            schema=SCHEMA,
            seq=tail.next_seq,
            at_ns=time.time_ns(),
            who=who,
            action=_clean(action) or "",
            what=facts.get("what"),
            why=facts.get("why"),
            before=facts.get("before"),
            after=facts.get("after"),
            outcome=facts.get("outcome") or "done",
            previous=tail.hash,
            hash="",
        )
        return msgspec.structs.replace(entry, hash=_hash(msgspec.to_builtins(entry)))

    def _unavailable(self, problem: str) -> Unavailable:
        return Unavailable(f"audit trail {self.path}: {problem}", "set HOSTSCOPE_AUDIT to a file that you can write")


def _uid() -> int | None:
    ask = getattr(os, "geteuid", None)
    return ask() if ask else None


def _terminal() -> str | None:
    """The terminal of standard input, wherever there is such a thing."""
    ask = getattr(os, "ttyname", None)
    with suppress(OSError):
        return str(ask(0)) if ask else None
    return None


def _clean(text: str | None) -> str | None:
    """Bounded, and free of lone surrogates (Python's mark for undecodable arguments), which JSON cannot hold."""
    if text is None:
        return None
    sound = decode(text.encode("utf-8", "surrogateescape")) if not text.isascii() else text
    return sound if len(sound) <= TEXT_LIMIT else sound[: TEXT_LIMIT - 1] + "…"


def _hash(fields: dict[str, Any]) -> str:
    """Of everything but `hash` itself, fields of later versions included."""
    import hashlib

    rest = {name: value for name, value in fields.items() if name != "hash"}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def _digest(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()


def _canonical(fields: dict[str, Any] | Entry) -> bytes:
    return msgspec.json.encode(fields, order="sorted")


def _line(entry: Entry) -> bytes:
    return _canonical(entry) + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _try_lock(fd: int) -> bool:
    try:
        _lock_now(fd)
    except BlockingIOError:
        return False
    return True


def _lock_now(fd: int) -> None:
    # Found by what is there, not by the system's name; through import_module because type stubs hide the other one.
    try:
        fcntl: Any = import_module("fcntl")
    except ModuleNotFoundError:
        msvcrt: Any = import_module("msvcrt")
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError as busy:
            raise BlockingIOError(busy.errno, "locked") from busy
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_tail(fd: int) -> _Tail:
    """Reads the last lines only, however long the trail is."""
    size = os.fstat(fd).st_size
    os.lseek(fd, max(0, size - 2 * LINE_LIMIT), os.SEEK_SET)
    raw = os.read(fd, 2 * LINE_LIMIT)
    *finished, torn = raw.split(b"\n")
    tail = _after(finished[-1]) if finished else _Tail(0, GENESIS)
    if not torn:
        return tail
    if not isinstance(_parse_line(torn), str):  # all but its newline
        return msgspec.structs.replace(_after(torn), unfinished=True)
    return _Tail(tail.next_seq, tail.hash, tail.repair or (TORN, _digest(torn)), unfinished=True)


def _after(line: bytes) -> _Tail:
    fields = _parse_line(line)
    if isinstance(fields, str):
        return _Tail(0, GENESIS, (BROKEN, f"{_digest(line)}: {fields}"))
    return _Tail(fields["seq"] + 1, fields["hash"])


def _parse_line(line: bytes) -> dict[str, Any] | str:
    """The line's fields, or what is wrong with it on its own."""
    try:
        fields = msgspec.json.decode(line)
        msgspec.convert(fields, Entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as failed:
        return f"not an audit line: {failed}"
    if _canonical(fields) != line:  # a second field of one name, say, which the hash would not cover
        return "not written as audit lines are"
    return fields if _hash(fields) == fields["hash"] else "hash does not match its content"


def _first_fault(trail: BinaryIO) -> Fault | None:
    tail, torn = _Tail(0, GENESIS), None
    for number, line in enumerate(iter(lambda: trail.readline(LINE_LIMIT + 1), b""), 1):
        fields = _parse_line(line.removesuffix(b"\n"))
        if torn and not _explains(fields, torn[1]):
            return torn[0]
        torn = None
        if isinstance(fields, str):
            torn = Fault(number, fields), _digest(line.removesuffix(b"\n"))
            continue
        problem = _misfit(fields, tail) if line.endswith(b"\n") else "the last line was never finished"
        if problem:
            return Fault(number, problem)
        tail = _Tail(fields["seq"] + 1, fields["hash"])
    return torn[0] if torn else None


def _explains(fields: dict[str, Any] | str, digest: str) -> bool:
    """Whether a line says that the one before it was torn."""
    return not isinstance(fields, str) and fields["action"] == TORN and fields["what"] == digest


def _misfit(fields: dict[str, Any], tail: _Tail) -> str | None:
    if fields["seq"] != tail.next_seq:
        return f"number {fields['seq']} where {tail.next_seq} was due"
    if fields["previous"] != tail.hash:
        return "does not follow from the line before"
    return None
