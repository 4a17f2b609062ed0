"""What the system says about files: whether others may read one, whether it is a link."""

import os
import re
import stat
from pathlib import Path

import pytest

EVERYBODY = {"WD", "BU", "AU", "AN", "BG", "IU"}
"""Everyone, Users, Authenticated Users, Anonymous, Guests, Interactive: as the definition language calls them."""
_MEMBER = re.compile(r";([^;()]+)\)")


def is_private(path: Path) -> bool:
    """Whether its mode is 0600 (a folder's 0700); on Windows, whether its access list has nobody but its owner in it.

    And the system and administrators. Of folders it says nothing there: they are as private as what they stand in.
    """
    mode = path.stat().st_mode
    if os.name == "posix":
        return stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600)
    from hostscope.platforms.windows.native.access_lists import read_access_list

    return stat.S_ISDIR(mode) or not set(_MEMBER.findall(read_access_list(str(path)))) & EVERYBODY


def link(place: Path, target: Path) -> Path:
    """A symbolic link; skips the test where there are none, or where (Wine) they cannot be told from their target."""
    try:
        place.symlink_to(target)
    except OSError as refused:
        pytest.skip(f"no symbolic links here: {refused.strerror}")
    if not place.is_symlink():
        pytest.skip("symbolic links look like what they lead to here (Wine)")
    return place
