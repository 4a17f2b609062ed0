"""Looking at this host through hostscope."""

from functools import cache

import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.model.coverage import Coverage
from hostscope.model.process import Process
from hostscope.model.request import FULL, ProcessRequest
from hostscope.platforms.base import Host
from hostscope.platforms.tally import Tally


@cache
def host() -> Host:
    """This host."""
    from hostscope.platforms.linux.host import open_host

    return open_host()


def sweep(method: str, fields: frozenset[str] = FULL) -> tuple[list[Process], Coverage]:
    """All processes by one method; the test that asks is skipped where the method cannot be used."""
    tally = Tally()
    try:
        rows = list(host().processes.sweep(ProcessRequest(fields=fields, method=method), tally))
    except (Unsupported, Denied) as unusable:
        pytest.skip(f"method {method}: {unusable}")
    coverage = tally.coverage(fields)
    assert coverage.method == method
    return rows, coverage


class Look:
    """Sees one process at a time, by one method."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(self, pid: int, fields: frozenset[str] = FULL) -> Process:
        """The row of a process that is known to live.

        Raises:
            LookupError: the sweep has no row, or several, for it.
        """
        found = [row for row in sweep(self.method, fields)[0] if row.pid == pid]
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows for process {pid}")
        return found[0]
