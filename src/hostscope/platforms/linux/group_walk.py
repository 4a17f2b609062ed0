"""Every control group below one, however deep: who may make groups (a container, a user) could nest them for ever.

Python's own os.walk recurses before 3.12, and ends in a RecursionError there.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator


def walk_groups(top: bytes, failed: Callable[[OSError], object] = lambda failed: None) -> Iterator[bytes]:
    """Folders of groups, level by level, so that nobody's depths come before another's containers.

    Args:
        failed: told why a folder's groups could not be listed; one that was removed meanwhile is among these.

    Cost: four system calls a group.
    """
    left = deque([top])
    while left:
        folder = left.popleft()
        yield folder
        try:
            with os.scandir(folder) as entries:
                left.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            failed(error)
