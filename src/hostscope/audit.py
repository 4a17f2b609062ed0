"""The audit trail: one JSON object a line, each carrying the hash of the one before.

What it proves: a line that was changed, removed from the middle, inserted or reordered no longer fits, and `verify`
names the first one that does not. Lines cut off the *end* leave a shorter chain that is whole, so a mark beside the
trail (its name and ``.head``) holds the number and hash of the last line. Rotate by renaming: the mark stays, and the
next file goes on where the old one ended. What it cannot prove: whoever may write both files can compute a new chain
and a new mark from any point on. Ship the last hash elsewhere (or the lines, as they are written) where that matters.

Imports only what every one-shot command has loaded anyway; the hash library is loaded with the first line written.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hostscope.chain import (
    GENESIS,
    LINE_LIMIT,
    SCHEMA,
    TORN,
    Check,
    Entry,
    Fault,
    Tail,
    Who,
    after,
    check,
    clean,
    compared,
    continued,
    digest,
    hash_of,
    line_of,
    parse_line,
)
from hostscope.errors import Denied, Error, Unavailable
from hostscope.private import Override, close_to_others, permitted

__all__ = ["AuditTrail", "Check", "Entry", "Fault", "Who", "default_path", "this_process"]

LOCK_WAIT_S = 10.0
OF_ROOT = Path("/var/log/hostscope/audit.jsonl")
MARK_SUFFIX = ".head"
USUAL_LINES = 4096
"""Bytes that hold several lines, as they usually are."""
_LOCKED_BYTE = 0x7FFFFFF0


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """HOSTSCOPE_AUDIT; else for root /var/log/hostscope/audit.jsonl, for others one in their state directory.

    On Windows, which has no root, it is in everybody's own %LOCALAPPDATA% (of services: their account's), where others
    may not look; in %ProgramData% they may.

    A user without a home directory (any number, in a container) is given root's, which then says that it is closed.
    """
    if environ.get("HOSTSCOPE_AUDIT"):
        return Path(environ["HOSTSCOPE_AUDIT"])
    if _uid() is None and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "hostscope" / "audit.jsonl"
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

        Cost: open, flock, read and write of the trail and of its mark, and fsync when durable (0.2 ms on the
            development machine's ext4, several on spinning disks, far more on a disk in trouble).
        """
        facts = {"what": what, "why": why, "before": before, "after": after, "outcome": outcome}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._held_mark() as mark, self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
                entry = self._extend(fd, action, {name: clean(text) for name, text in facts.items()})
                if durable:
                    os.fsync(fd)
                if mark is not None:
                    _write_mark(mark, entry)
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
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        return None if usable else f"audit trail {self.path}: cannot be made in {there}"

    def verify(self) -> Fault | None:
        """The first line that does not fit or is missing; None when all do, and for an empty trail.

        Raises:
            Unavailable, Denied: there is no trail, or it cannot be read.
        """
        found = self.check()
        if found.fault:
            return found.fault
        if found.first_seq:
            return Fault(1, f"number {found.first_seq} where 0 was due")
        return Fault(found.lines, found.missing[0]) if found.missing else None

    def check(self, raised: Override = nullcontext) -> Check:
        """Reads the trail from its beginning to its end, and compares the end with the mark.

        The beginning may be that of a file which goes on where another ended. `raised` brings the right to read it in
        spite of its permissions into effect.

        Raises:
            Unavailable, Denied: there is no trail, or it cannot be read.

        Cost: 20 us for a line.
        """
        mark = self._read_mark(raised, self._owner(raised))  # first: lines that are added meanwhile are behind it
        try:
            with permitted(lambda: self.path.open("rb"), raised) as trail:
                found = check(str(self.path), _lines(trail))
        except OSError as failed:
            raise self._unreadable(failed) from failed
        return compared(found, mark)

    def entries(self, unreadable: Callable[[bytes], object] = bytes, raised: Override = nullcontext) -> Iterator[Entry]:
        """The lines that can be read, in order, whether they fit or not; `unreadable` is told of the others.

        Raises:
            Unavailable, Denied: there is no trail, or it cannot be read; with the first line.
        """
        try:
            with permitted(lambda: self.path.open("rb"), raised) as trail:
                for line in _lines(trail):
                    try:
                        entry = msgspec.json.decode(line, type=Entry)
                    except (msgspec.MsgspecError, UnicodeError, RecursionError):
                        unreadable(line)
                    else:
                        yield entry
        except OSError as failed:
            raise self._unreadable(failed) from failed

    @property
    def _mark_path(self) -> Path:
        return self.path.with_name(self.path.name + MARK_SUFFIX)

    @contextmanager
    def _held_mark(self) -> Iterator[int | None]:
        """The mark, locked by us: it stays where it is when the trail is renamed. None when it cannot be used."""
        with ExitStack() as stack:
            mark = None
            with suppress(OSError, Unavailable):
                mark = stack.enter_context(self._opened(os.O_RDWR | os.O_CREAT, self._mark_path))
            yield mark

    def _owner(self, raised: Override) -> int | None:
        """Whose trail it is."""
        try:
            return None if _uid() is None else permitted(lambda: os.stat(self.path), raised).st_uid
        except OSError:
            return _uid()

    def _read_mark(self, raised: Override = nullcontext, owner: int | None = None) -> tuple[int, str] | None:
        """Number and hash of the last line; None without a mark, or with one that makes no sense or is not `owner`'s.

        Args:
            owner: ourselves by default.
        """
        try:
            raw = permitted(lambda: self._raw_mark(owner), raised)
        except (OSError, Unavailable):
            return None
        seq, _, marked = raw.decode("ascii", "replace").strip().partition(" ")
        return (int(seq), marked) if seq.isascii() and seq.isdigit() and len(marked) == len(GENESIS) else None

    def _raw_mark(self, owner: int | None) -> bytes:
        with self._opened(os.O_RDONLY, self._mark_path, locked=False, owner=owner) as fd:
            return os.read(fd, 256)

    @contextmanager
    def _opened(
        self, flags: int, path: Path | None = None, locked: bool = True, owner: int | None = None
    ) -> Iterator[int]:
        if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path or self.path):  # where opening cannot refuse links
            raise self._unavailable("a symbolic link")
        for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT"):
            flags |= getattr(os, name, 0)
        new = flags & os.O_CREAT and not os.path.lexists(path or self.path)
        fd = os.open(path or self.path, flags, 0o600)
        try:
            if new:
                close_to_others(str(path or self.path))
            self._check_file(fd, _uid() if owner is None else owner)
            if locked:
                self._lock(fd)
            yield fd
        finally:
            os.close(fd)  # the lock goes with it

    def _check_file(self, fd: int, owner: int | None) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._unavailable("not a regular file")
        if owner is not None and status.st_uid != owner:
            raise self._unavailable(f"belongs to uid {status.st_uid}")
        if owner is not None and status.st_mode & 0o077:
            raise self._unavailable(f"others may open it (mode {status.st_mode & 0o777:o}); chmod 600")

    def _lock(self, fd: int) -> None:
        """Never waits for long: any process of the same user could hold the lock for good."""
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise self._unavailable(f"locked by another process for {LOCK_WAIT_S:.0f} s")
            time.sleep(0.005)

    def _extend(self, fd: int, action: str, facts: dict[str, str | None]) -> Entry:
        tail = continued(_read_tail(fd), self._read_mark())
        lines = b"\n" if tail.unfinished else b""
        if tail.repair:
            repaired = self._entry(tail, tail.repair[0], {"what": tail.repair[1]})
            lines += line_of(repaired)
            tail = Tail(repaired.seq + 1, repaired.hash)
        entry = self._entry(tail, action, facts)
        _write_all(fd, lines + line_of(entry))
        return entry

    def _entry(self, tail: Tail, action: str, facts: dict[str, str | None]) -> Entry:
        who = self._who or this_process()
        entry = Entry(
            schema=SCHEMA,
            seq=tail.next_seq,
            at_ns=time.time_ns(),
            who=who,
            action=clean(action) or "",
            what=facts.get("what"),
            why=facts.get("why"),
            before=facts.get("before"),
            after=facts.get("after"),
            outcome=facts.get("outcome") or "done",
            previous=tail.hash,
            hash="",
        )
        return msgspec.structs.replace(entry, hash=hash_of(msgspec.to_builtins(entry)))

    def _unreadable(self, failed: OSError) -> Error:
        if isinstance(failed, FileNotFoundError):
            hint = "nothing was recorded there yet; FILE, or HOSTSCOPE_AUDIT, names another"
            return Unavailable(f"there is no audit trail {self.path}", hint)
        told = f"cannot read audit trail {self.path}: {failed.strerror or failed}"
        if isinstance(failed, PermissionError):
            return Denied(told, "it is for its owner, and for root or an administrator")
        return Unavailable(told)

    def _unavailable(self, problem: str) -> Unavailable:
        return Unavailable(f"audit trail {self.path}: {problem}", "set HOSTSCOPE_AUDIT to a file that you can write")


def _lines(trail: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: trail.readline(LINE_LIMIT + 1), b"")


def _uid() -> int | None:
    ask = getattr(os, "geteuid", None)
    return ask() if ask else None


def _terminal() -> str | None:
    """The terminal of standard input, wherever there is such a thing."""
    ask = getattr(os, "ttyname", None)
    with suppress(OSError):
        return str(ask(0)) if ask else None
    return None


def _write_mark(fd: int, entry: Entry) -> None:
    """Which line is the last. Not waited for: after a power cut the mark may be a few lines behind."""
    with suppress(OSError):
        os.write(fd, b"%020d %s\n" % (entry.seq, entry.hash.encode()))  # of one length always


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
        # Locks hold back readers there: we lock a byte far behind what anybody reads.
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as busy:  # Windows says EACCES, Wine nothing
            raise BlockingIOError(errno.EACCES, "locked") from busy
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_tail(fd: int) -> Tail:
    """Reads the last lines only, however long the trail is: a few, and more where those are longer than usual."""
    size = os.fstat(fd).st_size
    raw = b""
    for limit in (USUAL_LINES, 2 * LINE_LIMIT):
        if raw.count(b"\n") < 2:  # one before the last whole line, one at its end
            os.lseek(fd, max(0, size - limit), os.SEEK_SET)
            raw = os.read(fd, limit)
    *finished, torn = raw.split(b"\n")
    tail = after(finished[-1]) if finished else Tail(0, GENESIS)
    if not torn:
        return tail
    if not isinstance(parse_line(torn), str):  # all but its newline
        return msgspec.structs.replace(after(torn), unfinished=True)
    return Tail(tail.next_seq, tail.hash, tail.repair or (TORN, digest(torn)), unfinished=True)
