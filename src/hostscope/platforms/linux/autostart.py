"""Live commands that the system's service manager runs: not by us here."""

from hostscope.errors import Unsupported
from hostscope.model.service import ServiceStep
from hostscope.platforms.linux.console import HINT, WHY


class Autostart:
    """Answers `Unsupported`."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        raise Unsupported(WHY, HINT)

    def act(self, name: str, step: ServiceStep) -> None:
        raise Unsupported(WHY, HINT)
