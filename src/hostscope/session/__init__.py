"""The one way in: every face asks a `Session`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hostscope import log
from hostscope.render.moment import at
from hostscope.session.local import LocalSession

if TYPE_CHECKING:
    from hostscope.session.base import Session

__all__ = ["LocalSession", "Session", "open_session"]


def __getattr__(name: str) -> Any:
    # Imported on first use: it is what faces are written against, and no command needs it to run.
    if name == "Session":
        from hostscope.session.base import Session

        return Session
    raise AttributeError(name)


@contextmanager
def open_session(replay: str | None = None, reveal: bool = False, lower: bool = False) -> Iterator[LocalSession]:
    """A session with this host, or with the one in a recording.

    Args:
        replay: file that `hostscope record` wrote.
        reveal: show secrets in arguments and environments, of processes that are yours or if you are root.
        lower: keep no privilege of this thread in effect but in the steps that need it; for programs of their own, as
            hostscope's commands are. What is permitted stays permitted.

    Raises:
        UsageError: the recording cannot be read.
        Unsupported: hostscope does not know this operating system.
    """
    from hostscope.platforms import open_host

    host = open_host(replay)
    log.info("host_opened", host=host.name, reveal=reveal)
    if lower:
        host.privileges.lower_all()
    with at(host.at_ns):
        yield LocalSession(host, reveal)
