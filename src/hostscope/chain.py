"""The chain of the audit trail: its lines, their hashes, and what does not fit. Pure: bytes in, records out."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from hostscope.model.text import decode

SCHEMA = "hostscope.audit/1"
VERIFICATION_SCHEMA = "hostscope.audit_verification/1"
GENESIS = "0" * 64
"""What the first line names as the one before."""
TEXT_LIMIT = 2048
"""Characters kept of one text; a longer one ends in an ellipsis."""
LINE_LIMIT = 128 * 1024
"""Bytes of the longest line: seven texts of which every character is escaped."""
TORN = "audit.torn"
"""Action of the line that follows one which was never finished (power loss, full disk); `what` is its digest."""
BROKEN = "audit.broken"
"""Action of the line that follows one which does not fit; it explains, but `verify` still names that line."""
CUT = "audit.cut"
"""Action of the line that follows a cut: the mark named a later line as the last one; `what` is that."""
CHANGED = "audit.changed"
"""Action of the line that follows one which fits, but is not the one that the mark names as the last."""
_LONE = re.compile("[\ud800-\udfff]+")


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


class Check(Struct, frozen=True):
    """What reading one trail from its beginning to its end found."""

    path: str
    lines: int
    first_seq: int | None
    """None for an empty trail."""
    first_previous: str | None
    """What the first line names as the one before; `GENESIS` for the first of all."""
    last_seq: int | None
    last_hash: str | None
    fault: Fault | None
    """The first line that does not fit; nothing behind it was looked at."""
    missing: tuple[str, ...] = ()
    """Lines that must have been there: cut off the end, or never finished."""
    marked: bool = False
    """Whether a mark told which line is the last; without one, lines that were cut off the end go unnoticed."""


class Verification(Struct, frozen=True):
    """What was found in one trail, which may be several files, oldest first."""

    files: tuple[Check, ...]
    missing: tuple[str, ...]
    """Lines that must have been there: before the first file, between two, or named by a file itself."""

    @property
    def fault(self) -> tuple[str, Fault] | None:
        """The first line that does not fit, and its file."""
        return next(((file.path, file.fault) for file in self.files if file.fault), None)


class Tail(Struct, frozen=True):
    """Where the chain stands: the number and hash that the next line goes on from."""

    next_seq: int
    hash: str
    repair: tuple[str, str] | None = None
    """Action and `what` of the line that has to come first."""
    unfinished: bool = False
    """The file does not end in a newline."""


def clean(text: str | None) -> str | None:
    """Bounded, and free of lone surrogates (Python's mark for undecodable arguments), which JSON cannot hold.

    What the system said is decoded already, and stays as it is.
    """
    if text is None:
        return None
    sound = text if text.isascii() else _LONE.sub(lambda found: decode(_raw(found[0])), text)
    return sound if len(sound) <= TEXT_LIMIT else sound[: TEXT_LIMIT - 1] + "…"


def _raw(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # Windows' arguments are loose UTF-16
        return text.encode("utf-8", "surrogatepass")


def hash_of(fields: dict[str, Any]) -> str:
    """Of everything but `hash` itself, fields of later versions included."""
    import hashlib

    rest = {name: value for name, value in fields.items() if name != "hash"}
    return hashlib.sha256(canonical(rest)).hexdigest()


def digest(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()


def canonical(fields: dict[str, Any] | Entry) -> bytes:
    return msgspec.json.encode(fields, order="sorted")


def line_of(entry: Entry) -> bytes:
    return canonical(entry) + b"\n"


def after(line: bytes) -> Tail:
    fields = parse_line(line)
    if isinstance(fields, str):
        return Tail(0, GENESIS, (BROKEN, f"{digest(line)}: {fields}"))
    return Tail(fields["seq"] + 1, fields["hash"])


def parse_line(line: bytes) -> dict[str, Any] | str:
    """The line's fields, or what is wrong with it on its own."""
    try:
        fields = msgspec.json.decode(line)
        msgspec.convert(fields, Entry)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as failed:
        return f"not an audit line: {failed}"
    if canonical(fields) != line:  # a second field of one name, say, which the hash would not cover
        return "not written as audit lines are"
    return fields if hash_of(fields) == fields["hash"] else "hash does not match its content"


def continued(tail: Tail, mark: tuple[int, str] | None) -> Tail:
    """Where the chain stands by its file and its mark: what the mark knows and the file lacks gets a line that says so.

    An empty file goes on from the mark: the one before was renamed, or its lines are gone, which `verify` tells apart.
    """
    if mark is None:
        return tail
    seq, marked = mark
    if tail.next_seq == 0 and tail.hash == GENESIS and not tail.unfinished and tail.repair is None:
        return Tail(seq + 1, marked)
    if tail.repair is None and seq >= tail.next_seq:
        return msgspec.structs.replace(tail, repair=(CUT, f"line {seq} {marked} was the last"))
    if tail.repair is None and seq == tail.next_seq - 1 and marked != tail.hash:
        return msgspec.structs.replace(tail, repair=(CHANGED, f"line {seq} was {marked}"))
    return tail


class _Walk:
    """One reading of a trail, line by line, from whatever line the file begins with."""

    def __init__(self) -> None:
        self.number = 0
        self.first: dict[str, Any] | None = None
        self.tail = Tail(0, GENESIS)
        self.torn: tuple[Fault, str, bool] | None = None
        """A line that is no audit line, its digest, and whether it has its newline; the next line may explain it."""
        self.missing: list[str] = []

    def step(self, line: bytes) -> Fault | None:
        """Takes the next line; the fault that ends the reading."""
        self.number += 1
        fields = parse_line(line.removesuffix(b"\n"))
        if self.torn and not _explains(fields, self.torn[1]):
            return self.torn[0]
        self.torn = None
        if isinstance(fields, str):
            self.torn = Fault(self.number, fields), digest(line.removesuffix(b"\n")), line.endswith(b"\n")
            return None
        if not line.endswith(b"\n"):
            self.missing.append("the last line was never finished")
        return self._chained(fields)

    def _chained(self, fields: dict[str, Any]) -> Fault | None:
        if self.first is None:
            self.first, self.tail = fields, Tail(fields["seq"], fields["previous"])
        if problem := _misfit(fields, self.tail):
            return Fault(self.number, problem)
        self.tail = Tail(fields["seq"] + 1, fields["hash"])
        if fields["action"] == CHANGED:
            return Fault(self.number - 1, f"is not the line that was written: {fields['what']}")
        if fields["action"] == CUT:
            self.missing.append(f"lines are missing before line {self.number}: {fields['what']}")
        return None

    def end(self) -> Fault | None:
        """The fault of a last line that nothing explains; one without its newline was never finished."""
        if self.torn and self.torn[2]:
            return self.torn[0]
        if self.torn:
            self.missing.append(f"the last line was never finished: {self.torn[0].problem}")
        return None


def check(path: str, lines: Iterable[bytes]) -> Check:
    """Reads a trail to its end, or to the first line that does not fit."""
    walk = _Walk()
    fault = next((found for line in lines if (found := walk.step(line))), None) or walk.end()
    first, tail = walk.first, walk.tail
    return Check(
        path,
        walk.number,
        first["seq"] if first else None,
        first["previous"] if first else None,
        tail.next_seq - 1 if first else None,
        tail.hash if first else None,
        fault,
        tuple(walk.missing),
    )


def compared(found: Check, mark: tuple[int, str] | None) -> Check:
    """With what the mark knows of the end. A mark may be behind (a crash), and a renamed trail has none."""
    found = msgspec.structs.replace(found, marked=mark is not None)
    if mark is None or found.fault or found.last_seq is None:
        empty = mark is not None and found.last_seq is None and not found.fault
        lost = (f"all lines are missing: {mark[0]} was the last",) if empty and mark else ()
        return msgspec.structs.replace(found, missing=(*found.missing, *lost))
    seq, marked = mark
    if seq > found.last_seq:
        lost = (
            f"{seq - found.last_seq} lines are missing at the end: {seq} was the last, here it is {found.last_seq}",
        )
        return msgspec.structs.replace(found, missing=(*found.missing, *lost))
    if seq == found.last_seq and marked != found.last_hash:
        return msgspec.structs.replace(found, fault=Fault(found.lines, "is not the line that was written last"))
    return found


def linked(files: tuple[Check, ...]) -> Verification:
    """Files of one trail, oldest first: whether each goes on where the one before ended."""
    missing: list[str] = []
    due: tuple[int, str] = (0, GENESIS)
    for file in files:
        missing += [f"{file.path}: {words}" for words in file.missing]
        if file.first_seq is None or file.first_previous is None:
            continue
        if (file.first_seq, file.first_previous) != due:
            missing.append(
                f"{file.path} begins with line {file.first_seq}, where {due[0]} was due: give the older files too"
            )
        if file.last_seq is not None and file.last_hash is not None:
            due = (file.last_seq + 1, file.last_hash)
    return Verification(files, tuple(missing))


def _explains(fields: dict[str, Any] | str, torn: str) -> bool:
    """Whether a line says that the one before it was torn."""
    return not isinstance(fields, str) and fields["action"] == TORN and fields["what"] == torn


def _misfit(fields: dict[str, Any], tail: Tail) -> str | None:
    if fields["seq"] != tail.next_seq:
        return f"number {fields['seq']} where {tail.next_seq} was due"
    if fields["previous"] != tail.hash:
        return "does not follow from the line before"
    return None
