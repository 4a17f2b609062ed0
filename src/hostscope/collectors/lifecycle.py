"""What changed about processes between two looks. Pure: two lists in, changes out."""

from collections.abc import Iterable, Iterator

from hostscope.model.event import ProcessChange
from hostscope.model.process import Process

COMPARED = (
    "ppid", "name", "kernel", "exe", "argv", "cwd", "root", "owner", "ids", "groups", "session", "security",
    "container", "service", "digest",
)  # fmt: skip
"""Fields whose change says something; times, sizes and counts always differ."""


def changes(before: Iterable[Process], after: Iterable[Process]) -> Iterator[ProcessChange]:
    """What started, stopped, changed or took another's pid, in ascending pid order.

    Two processes of one pid are one change, ``reused``: the first stopped and the second started in between.
    """
    old = {process.key.pid: process for process in before}
    new = {process.key.pid: process for process in after}
    for pid in sorted(old.keys() | new.keys()):
        was, now = old.get(pid), new.get(pid)
        if was is None or now is None or not was.key.same(now.key):
            yield ProcessChange(was, now)
        elif fields := differing(was, now):
            yield ProcessChange(was, now, fields)


def differing(before: Process, after: Process) -> tuple[str, ...]:
    """Names of the fields that differ; one that could not be read on either side does not.

    Nor do names of kernel threads: they tell what such a thread works on at the moment.
    """
    left_out = {gap.field.partition(".")[0] for process in (before, after) for gap in process.gaps}
    if before.kernel and after.kernel:
        left_out.add("name")
    return tuple(name for name in COMPARED if name not in left_out and getattr(before, name) != getattr(after, name))
