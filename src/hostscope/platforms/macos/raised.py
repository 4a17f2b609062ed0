"""Root for one step, where we have it and it is not in effect."""

from contextlib import AbstractContextManager, nullcontext

from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos import privileges as own

ROOT = ("root",)


def raised(privileges: Privileges | None, why: str) -> AbstractContextManager[None]:
    """Raises root for the block, written to the audit trail; nothing happens without privileges to raise."""
    return privileges.using(ROOT, why) if privileges else nullcontext()


def keep_root(privileges: Privileges | None, why: str) -> None:
    """A live command does not give root up for good, because its end needs it; in effect it is in blocks only."""
    if isinstance(privileges, own.Privileges):
        privileges.keep(why)
