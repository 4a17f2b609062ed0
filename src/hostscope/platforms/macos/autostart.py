"""Live commands that the system's service manager runs: not by us here."""

from hostscope.errors import Unsupported
from hostscope.model.service import ServiceStep

WHY, HINT = "hostscope registers no services on macOS", "write a property list for /Library/LaunchDaemons that runs it"


class Autostart:
    """Answers `Unsupported`."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        raise Unsupported(WHY, HINT)

    def act(self, name: str, step: ServiceStep) -> None:
        raise Unsupported(WHY, HINT)
