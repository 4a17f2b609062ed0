"""The recorded host's containers."""

from collections.abc import Iterator

from hostscope.model.container import Container
from hostscope.platforms.replay.layout import CONTAINERS
from hostscope.platforms.replay.reader import Recording


class Containers:
    """Implements `hostscope.platforms.base.Containers`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def describe(self, container: Container) -> Container:
        """The same container as it was listed; itself when it was not, for rows are recorded described."""
        if not self._recording.has(CONTAINERS):
            return container
        same = (known for known in self.containers() if (known.runtime, known.id) == (container.runtime, container.id))
        return next(same, container)

    def containers(self) -> Iterator[Container]:
        """As recorded."""
        known = self._recording.answer(CONTAINERS)
        return iter(known)
