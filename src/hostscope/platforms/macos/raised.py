"""Root for one step, where we have it and it is not in effect."""

from contextlib import AbstractContextManager, nullcontext

from hostscope.platforms.base import Privileges

ROOT = ("root",)


def raised(privileges: Privileges | None, why: str) -> AbstractContextManager[None]:
    """Raises root for the block, written to the audit trail; nothing happens without privileges to raise."""
    return privileges.using(ROOT, why) if privileges else nullcontext()
