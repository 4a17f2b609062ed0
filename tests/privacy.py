"""What the system says about files: whether others may read one, whether it is a link."""

import os
import stat
from pathlib import Path

import pytest


def is_private(path: Path) -> bool:
    """Whether its mode is 0600 (a folder's 0700). Where modes say nothing, the folder's access list decides: true."""
    mode = path.stat().st_mode
    return os.name != "posix" or stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600)


def link(place: Path, target: Path) -> Path:
    """A symbolic link; skips the test where there are none, or where (Wine) they cannot be told from their target."""
    try:
        place.symlink_to(target)
    except OSError as refused:
        pytest.skip(f"no symbolic links here: {refused.strerror}")
    if not place.is_symlink():
        pytest.skip("symbolic links look like what they lead to here (Wine)")
    return place
