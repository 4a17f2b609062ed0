"""Live commands that the system's service manager runs: not by us here."""

from hostscope.errors import Unsupported
from hostscope.platforms.linux.console import HINT, WHY


class Autostart:
    """Answers `Unsupported`."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        raise Unsupported(WHY, HINT)

    def command(self, name: str) -> str:
        raise Unsupported(WHY, HINT)

    def start(self, name: str) -> None:
        raise Unsupported(WHY, HINT)

    def stop(self, name: str) -> None:
        raise Unsupported(WHY, HINT)

    def remove(self, name: str) -> None:
        raise Unsupported(WHY, HINT)
