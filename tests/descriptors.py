"""What this process holds open."""

import os
from contextlib import suppress


def descriptors() -> set[str]:
    """Numbers and files of what is open, without what lists them.

    Compare with ``descriptors() <= before``: what earlier tests left may be closed meanwhile.
    """
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
    return found
