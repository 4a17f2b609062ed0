"""hostscope shows what every process on a host is, what it talks to and what it does.

import hostscope

with hostscope.open_session() as session:
    for process in session.processes():
        print(process.key, process.name, process.argv)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostscope.session import Session, open_session

__version__ = "0.1.0"
__all__ = ["Session", "__version__", "open_session"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `hostscope --help` and the replay reader need neither.
    if name in ("Session", "open_session"):
        from hostscope import session

        return getattr(session, name)
    raise AttributeError(name)
