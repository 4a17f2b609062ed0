"""The service manager. macOS: not built yet."""

import threading
from collections.abc import Iterator

from hostscope.model.event import Event
from hostscope.model.service import ServiceState
from hostscope.platforms.macos.translate import not_built


class Services:
    """Answers `Unsupported` for now."""

    def services(self) -> Iterator[ServiceState]:
        raise not_built("listing services")

    def service(self, name: str) -> ServiceState:
        raise not_built("reading a service")

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        raise not_built("service state changes")
