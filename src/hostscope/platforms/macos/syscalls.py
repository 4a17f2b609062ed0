"""System calls of processes: macOS tells nobody of them while System Integrity Protection is on."""

import threading
from collections.abc import Iterator

from hostscope.errors import Unsupported
from hostscope.model.event import Event
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.macos.native import sip
from hostscope.platforms.tally import Tally

REASON = (
    "only DTrace sees them: `dtruss` in a system whose System Integrity Protection allows it (csrutil enable --without "
    "dtrace, from the recovery system)"
)


class Syscalls:
    """Implements `hostscope.platforms.base.Syscalls`."""

    def watch(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        """Says why there are none.

        Raises:
            Unsupported: with what System Integrity Protection says about DTrace here.
        """
        raise Unsupported(f"system calls cannot be watched: {_obstacle()}", REASON)


def _obstacle() -> str:
    try:
        allowed = sip.active_config() & sip.CSR_ALLOW_UNRESTRICTED_DTRACE
    except OSError:
        return "System Integrity Protection restricts DTrace, and hostscope does not use it"
    if allowed:
        return "DTrace is allowed here, but hostscope does not use it"
    return "System Integrity Protection restricts DTrace to processes that it does not protect"
