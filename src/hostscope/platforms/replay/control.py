"""Acting on recorded processes: never."""

from hostscope.errors import Unsupported
from hostscope.model.key import ProcessKey


class Control:
    """Implements `hostscope.platforms.base.Control`: what is recorded cannot be changed."""

    def terminate(self, key: ProcessKey, force: bool) -> None:
        raise _past(key)

    def suspend(self, key: ProcessKey) -> None:
        raise _past(key)

    def resume(self, key: ProcessKey) -> None:
        raise _past(key)


def _past(key: ProcessKey) -> Unsupported:
    return Unsupported(f"process {key.pid} is in a recording and cannot be acted on", "leave out --replay")
