"""Files of ours: closed to everybody but their owner, the system and administrators, who could take them anyway."""

from hostscope import log
from hostscope.platforms.windows.native.access_lists import set_access_list
from hostscope.private import closed_by

OWNER_ONLY = "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)"
"""Full access for owner rights, LocalSystem and Administrators; protected from what the folder passes down."""


def begin() -> None:
    """From now on, every file that hostscope writes is closed to others."""
    closed_by(_close)


def _close(path: str) -> None:
    """A medium without access lists (FAT, exFAT), or whose lists others keep (shares), gets the file all the same."""
    try:
        set_access_list(path, OWNER_ONLY)
    except OSError as refused:
        log.warning("file_open_to_others", path=path, error=refused.strerror)
