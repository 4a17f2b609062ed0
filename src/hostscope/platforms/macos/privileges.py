"""What we may do ourselves. macOS: not built yet."""

from contextlib import AbstractContextManager

from hostscope.model.host import Ability
from hostscope.platforms.macos.translate import not_built


class Privileges:
    """Answers `Unsupported` for now."""

    def held(self) -> tuple[str, ...]:
        raise not_built("privileges held")

    def abilities(self) -> tuple[Ability, ...]:
        raise not_built("the list of abilities")

    def lower_all(self) -> None:
        """Nothing is raised yet, so there is nothing to lower."""

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        raise not_built("raising privileges")

    def limit_to(self, command: str, writes: bool = False) -> None:
        """Nothing is raised yet, so there is nothing to give up."""

    def settle(self, method: str | None = None) -> None:
        """Nothing is raised yet, so there is nothing to give up."""
