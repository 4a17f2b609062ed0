"""What live commands open with, and what they keep: which privileges the look-ups need that go on afterwards.

Tracing sessions and raw sockets go by membership in a group, not by a privilege; so it is SeDebugPrivilege alone, for
opening other users' processes, that most commands keep.
"""

from hostscope.platforms.live import Live

LIST_PROCESSES = ("SeDebugPrivilege",)
TRACE_KERNEL = ("SeSystemProfilePrivilege",)
"""For the kernel's own tracing session; sessions of providers take none."""


_OPENED = {**dict.fromkeys(("etw", "capture", "polling", "raw-sockets"), LIST_PROCESSES), "file": ()}
"""What names processes goes on; the session that was opened needs nothing more."""

LIVE: dict[str, Live] = {
    "ps": Live(LIST_PROCESSES, {}),
    "net": Live(LIST_PROCESSES, {}),
    "interfaces": Live((), {}),
    "services": Live((), {}),
    "traffic": Live((*LIST_PROCESSES, *TRACE_KERNEL), _OPENED),
    "capture": Live(LIST_PROCESSES, {"unnamed": ()}),
    "dns": Live((*LIST_PROCESSES, *TRACE_KERNEL), _OPENED),
    "watch": Live((*LIST_PROCESSES, *TRACE_KERNEL), _OPENED),
}
"""By the word typed; the same commands as on Linux."""
