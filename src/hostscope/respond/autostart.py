"""Live commands as services: registered, started, stopped and removed, each step in the audit trail."""

from collections.abc import Callable
from typing import TypeVar

from hostscope.audit import AuditTrail, default_path
from hostscope.errors import Error, UsageError
from hostscope.model.service import ServiceStep
from hostscope.platforms.base import Host
from hostscope.platforms.control import open_autostart

LIVE = frozenset({"capture", "dns", "net", "ps", "services", "trace", "traffic", "watch"})
"""Commands that go on until they are told to end."""
Result = TypeVar("Result")


def install(host: Host, name: str, arguments: tuple[str, ...]) -> str:
    """Registers ``hostscope ARGUMENTS``; the command line that was registered.

    Raises:
        UsageError: it is no live command, or the name is taken.
        Denied, Unsupported, Unavailable
    """
    if not arguments or arguments[0] not in LIVE:
        raise UsageError("a service runs a live command", f"one of {', '.join(sorted(LIVE))}, after --")
    autostart = open_autostart(host.name)
    return _recorded("install", f"{name}: {' '.join(arguments)}", lambda: autostart.install(name, arguments))


def act(host: Host, name: str, step: ServiceStep) -> None:
    """Raises Gone, Refused, Denied, Unsupported, Unavailable."""
    autostart = open_autostart(host.name)
    _recorded(step, name, lambda: autostart.act(name, step))


def _recorded(action: str, what: str, act: Callable[[], Result]) -> Result:
    trail = AuditTrail(default_path())
    trail.append(f"act.service.{action}", what=what, outcome="begun")
    try:
        done = act()
    except Error as failed:
        trail.append(f"act.service.{action}", what=what, outcome=f"failed: {failed.message}")
        raise
    trail.append(f"act.service.{action}", what=what, outcome="done")
    return done
