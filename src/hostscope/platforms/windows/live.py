"""What live commands open with, and what they keep: which privileges the look-ups need that go on afterwards.

Tracing sessions and raw sockets go by membership in a group, not by a privilege; so it is SeDebugPrivilege alone, for
opening other users' processes, that most commands keep.
"""

from msgspec import Struct

LIST_PROCESSES = ("SeDebugPrivilege",)
TRACE_KERNEL = ("SeSystemProfilePrivilege",)
"""For the kernel's own tracing session; sessions of providers take none."""


class Live(Struct, frozen=True):
    """One live command."""

    opens: tuple[str, ...]
    keeps: dict[str, tuple[str, ...]]
    """By method; a method without a line keeps what opened it."""

    def kept(self, method: str | None) -> tuple[str, ...]:
        """What its look-ups need once it has opened `method`."""
        return self.keeps.get(method or "", self.opens)

    @property
    def most(self) -> tuple[str, ...]:
        """Everything that it may need at some time."""
        return tuple(dict.fromkeys([*self.opens, *(name for kept in self.keeps.values() for name in kept)]))


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
