"""Columns of dumps, and of what rules find in memory."""

from hostscope.model import dump
from hostscope.model.dump import Dump, RuleMatch
from hostscope.render.column import Column
from hostscope.render.layout import Layout

DUMPS = Layout(
    "dumps",
    dump.DUMP_SCHEMA,
    Dump,
    (
        Column("pid", "PID", "int", "key", None, "process id", lambda d: d.key.pid),
        Column("name", "NAME", "text", "name", None, "short name", lambda d: d.name),
        Column("file", "FILE", "text", "file", None, "the dump; its manifest has .json added", lambda d: d.file),
        Column("read", "READ", "bytes", "read_bytes", None, "bytes read", lambda d: d.read_bytes),
        Column("untouched", "UNTOUCHED", "bytes", "untouched_bytes", None, "pages that were never used",
               lambda d: d.untouched_bytes),
        Column("unread", "UNREAD", "bytes", "unread_bytes", None, "bytes that should be there and are not",
               lambda d: d.unread_bytes),
        Column("regions", "REGIONS", "int", "regions", None, "regions in the file", lambda d: d.regions),
        Column("left_out", "LEFT OUT", "int", "left_out", None, "regions that are only listed", lambda d: d.left_out),
        Column("threads", "THREADS", "int", "threads", None, "threads with registers", lambda d: d.threads),
        Column("stopped", "STOPPED", "duration", "longest_stop_ns", None, "longest time a thread stood still",
               lambda d: d.longest_stop_ns),
        Column("took", "TOOK", "duration", "elapsed_ns", None, "time it took", lambda d: d.elapsed_ns),
        Column("complete", "COMPLETE", "bool", "complete", None, "whether all that was asked for is there",
               lambda d: d.complete),
        Column("manifest", "MANIFEST", "text", "manifest", None, "what says what the dump holds", lambda d: d.manifest),
        Column("outcome", "OUTCOME", "text", "outcome", None, "done, or what is missing", lambda d: d.outcome),
    ),
    ("pid", "name", "read", "untouched", "unread", "regions", "threads", "stopped", "took", "file", "outcome"),
)  # fmt: skip

MATCHES = Layout(
    "matches",
    dump.MATCH_SCHEMA,
    RuleMatch,
    (
        Column("rule", "RULE", "text", "rule", None, "name of the rule", lambda m: m.rule),
        Column("pid", "PID", "int", "pid", None, "process id", lambda m: m.pid),
        Column("name", "NAME", "text", "name", None, "short name of the process", lambda m: m.name),
        Column("place", "PLACE", "text", "place", None, "memory or executable", lambda m: m.place),
        Column("address", "ADDRESS", "text", "address", None, "where in memory",
               lambda m: None if m.address is None else f"{m.address:#x}"),
        Column("offset", "OFFSET", "text", "offset", None, "from the beginning of the region or file",
               lambda m: None if m.offset is None else f"{m.offset:#x}"),
        Column("length", "LENGTH", "int", "length_bytes", None, "bytes", lambda m: m.length_bytes),
        Column("pattern", "PATTERN", "text", "pattern", None, "which pattern", lambda m: m.pattern),
        Column("permissions", "PERM", "text", "permissions", None, "of the region", lambda m: m.permissions),
        Column("path", "PATH", "text", "path", None, "of the region or file", lambda m: m.path),
        Column("namespace", "NAMESPACE", "text", "namespace", None, "file of the rule", lambda m: m.namespace),
        Column("tags", "TAGS", "list", "tags", None, "of the rule", lambda m: m.tags),
        Column("more", "MORE", "int", "more", None, "matches of the pattern that are not listed", lambda m: m.more),
    ),
    ("rule", "pid", "name", "place", "address", "length", "pattern", "permissions", "path"),
)  # fmt: skip
