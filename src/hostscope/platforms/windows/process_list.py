"""Every process by one call of the kernel, without opening any."""

from hostscope.errors import Unavailable
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import ntdll
from hostscope.platforms.windows.parse_processes import Listed, parse_processes

_FIRST_BYTES = 1 << 19
"""Enough for some 400 processes."""


def read_processes() -> list[Listed]:
    """Every process with its threads, in ascending pid order.

    Source: NtQuerySystemInformation(SystemProcessInformation).

    Cost: two calls at most, unless hundreds of processes start between them.

    Raises:
        Denied, NativeError: the kernel refused.
        Unavailable: it answered nonsense.
    """
    try:
        raw, address = ntdll.query_system(ntdll.SystemProcessInformation, _FIRST_BYTES)
        return sorted(parse_processes(raw, address), key=_pid)
    except OSError as failed:
        raise translate.error("NtQuerySystemInformation", failed) from failed
    except ValueError as nonsense:
        raise Unavailable(f"NtQuerySystemInformation: {nonsense}") from nonsense


def _pid(listed: Listed) -> int:
    return listed.pid
