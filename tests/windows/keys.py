"""The keys of processes that tests know by pid."""

from hostscope.model.key import ProcessKey
from hostscope.platforms.windows.clock import read_boot
from hostscope.platforms.windows.process_list import read_processes


def key_of(pid: int) -> ProcessKey:
    """Of the process that has this pid now."""
    listed = next(one for one in read_processes() if one.pid == pid)
    assert listed.created
    return read_boot().key(pid, listed.created)
