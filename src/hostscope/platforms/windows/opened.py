"""One listed process, opened as far as that is allowed."""

from types import TracebackType

from hostscope.platforms.windows import translate
from hostscope.platforms.windows.images import SYSTEM
from hostscope.platforms.windows.native import handles
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.library import SystemRefused, failed
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.peb import Block

LOOK = handles.PROCESS_QUERY_LIMITED_INFORMATION
"""What even protected processes allow."""


class Opened:
    """A handle that means the listed process and no other, or the reason why there is none. Close it."""

    def __init__(self, listed: Listed, access: int) -> None:
        """Opens with `access`, or just to look where that is refused.

        Raises:
            OSError: 87: it has ended since it was listed, and perhaps another has its pid.
        """
        self.refused: OSError | None = None
        self.created = listed.created
        self._block: Block | None = None
        self.handle = self._open(listed.pid, access)
        if self.handle is None and access != LOOK:
            self.handle = self._open(listed.pid, LOOK)
        if self.handle is not None:
            self._verify(listed)

    def _open(self, pid: int, access: int) -> int | None:
        handle: int | None = handles.kernel32.OpenProcess(access, False, pid)
        if handle:
            return handle
        refused = failed("OpenProcess")
        if refused.winerror == translate.ERROR_INVALID_PARAMETER:
            raise refused
        self.refused = refused
        return None

    def _verify(self, listed: Listed) -> None:
        """Compares creation times; where they cannot be had, nothing is read through the handle."""
        try:
            created, ended, _, _ = native.times(self.need())
        except OSError as refused:
            self.close()
            self.refused = refused
            return
        other = listed.created not in (None, created) and listed.pid != SYSTEM
        if other or (ended and listed.threads):
            self.close()
            raise SystemRefused("OpenProcess", translate.ERROR_INVALID_PARAMETER)
        self.created = created

    def need(self) -> int:
        """The handle. Raises OSError: as opening it did."""
        if self.handle is None:
            raise self.refused or SystemRefused("OpenProcess", translate.ERROR_INVALID_PARAMETER)
        return self.handle

    def block(self) -> Block:
        """Its environment block, found once. Raises OSError, ValueError."""
        if self._block is None:
            self._block = Block(self.need())
        return self._block

    def close(self) -> None:
        """Closes the handle."""
        if self.handle is not None:
            handles.close(self.handle)
            self.handle = None

    def __enter__(self) -> "Opened":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
