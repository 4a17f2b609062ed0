"""Parts of a host that are imported and built when they are first asked: a command pays for what it uses.

On Linux the parts that `ps` never asks cost more to import than the processes of a small host cost to read.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

Part = TypeVar("Part")


class _Deferred:
    """Passes every question on to its part."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._part: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._part is None:
            self._part = self._build()
        return getattr(self._part, name)


def deferred(build: Callable[[], Part]) -> Part:
    """What `build` will give, built at the first question; two threads that ask at once may build it twice."""
    return cast("Part", _Deferred(build))
