"""Which operating system this is. The only file that reads `sys.platform`."""

import sys
from typing import TYPE_CHECKING

from hostscope.errors import Unsupported

if TYPE_CHECKING:
    from hostscope.platforms.base import Host
    from hostscope.platforms.base_program import Console


def open_host(replay: str | None = None) -> "Host":
    """This host to look at, or the one in a recording.

    Raises:
        UsageError: the recording cannot be read.
        Unsupported: hostscope does not know this operating system.
    """
    keep_files_private()
    if replay is not None:
        from hostscope.platforms.replay import host as recorded

        return recorded.open_host(replay)
    if sys.platform == "linux":
        from hostscope.platforms.linux import host as linux

        return linux.open_host()
    if sys.platform == "win32":
        from hostscope.platforms.windows import host as windows

        return windows.open_host()
    if sys.platform == "darwin":
        from hostscope.platforms.macos import host as macos

        return macos.open_host()
    raise Unsupported(f"hostscope does not run on {sys.platform}", "Linux, Windows and macOS are known")


def open_console() -> "Console":
    """The console that this program was started on, whichever host it looks at."""
    if sys.platform == "win32":
        from hostscope.platforms.windows import console as windows

        return windows.Console()
    if sys.platform == "darwin":
        from hostscope.platforms.macos import console as macos

        return macos.Console()
    from hostscope.platforms.linux import console as linux

    return linux.Console()


def keep_files_private() -> None:
    """Has what hostscope writes closed to others also where mode 0600 does not do it."""
    if sys.platform == "win32":
        from hostscope.platforms.windows import private_files as windows

        windows.begin()
