"""How lines of the audit trail are shown, and what checking it found."""

from collections.abc import Iterator

from hostscope.chain import SCHEMA, Entry, Verification
from hostscope.render.column import Column
from hostscope.render.layout import Layout
from hostscope.render.sanitise import sanitise

AUDIT = Layout(
    "lines",
    SCHEMA,
    Entry,
    (
        Column("seq", "SEQ", "int", "seq", None, "number of the line", lambda e: e.seq),
        Column("at", "AT", "instant", "at_ns", None, "when, UTC", lambda e: e.at_ns),
        Column("user", "UID", "int", "who.uid", None, "who acted", lambda e: e.who.uid),
        Column("login", "LOGIN", "int", "who.login_uid", None, "who had logged in", lambda e: e.who.login_uid),
        Column("pid", "PID", "int", "who.pid", None, "process that wrote it", lambda e: e.who.pid),
        Column("terminal", "TTY", "text", "who.tty", None, "terminal", lambda e: e.who.tty),
        Column("action", "ACTION", "text", "action", None, "what was done", lambda e: e.action),
        Column("before", "BEFORE", "text", "before", None, "state before", lambda e: e.before),
        Column("after", "AFTER", "text", "after", None, "state after", lambda e: e.after),
        Column("outcome", "OUTCOME", "text", "outcome", None, "what came of it", lambda e: e.outcome),
        Column("why", "WHY", "text", "why", None, "reason given", lambda e: e.why),
        Column("what", "WHAT", "text", "what", None, "to whom", lambda e: e.what),
        Column("hash", "HASH", "text", "hash", None, "hash of the line", lambda e: e.hash),
    ),
    ("seq", "at", "user", "action", "outcome", "why", "what"),
)


def render_verification(found: Verification) -> Iterator[str]:
    """Lines for people."""
    for file in found.files:
        if file.fault:
            yield sanitise(f"{file.path}: line {file.fault.line} {file.fault.problem}") + "\n"
        elif file.last_seq is None:
            yield sanitise(f"{file.path}: empty") + "\n"
        else:
            last = f"the last has number {file.last_seq} and hash {file.last_hash}"
            yield sanitise(f"{file.path}: {file.lines} lines fit; {last}") + "\n"
    if found.files and not found.files[-1].marked:
        yield sanitise(f"{found.files[-1].path}: no mark beside it tells whether lines are missing at its end") + "\n"
    for words in found.missing:
        yield sanitise(f"missing: {words}") + "\n"
