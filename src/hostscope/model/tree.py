"""Processes by descent."""

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.process import Process


class TreeRow(Struct, frozen=True, gc=False):
    """One line of a process tree, depth first."""

    process: Process
    last: tuple[bool, ...] = ()
    """From the root down, whether each step is the last child of its parent; empty for a root."""

    @property
    def depth(self) -> int:
        """0 for a root."""
        return len(self.last)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Of the process."""
        return self.process.gaps
