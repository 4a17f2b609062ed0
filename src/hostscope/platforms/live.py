"""What live commands open with, and what they keep; which ones, and what each takes, stands in the systems' folders."""

from msgspec import Struct


class Live(Struct, frozen=True):
    """One live command."""

    opens: tuple[str, ...]
    keeps: dict[str, tuple[str, ...]]
    """By method; a method without a line keeps what opened it."""

    def kept(self, method: str | None) -> tuple[str, ...]:
        """What its look-ups need once it has opened `method`."""
        return self.keeps.get(method or "", self.opens)

    @property
    def most(self) -> tuple[str, ...]:
        """Everything that it may need at some time."""
        return tuple(dict.fromkeys([*self.opens, *(name for kept in self.keeps.values() for name in kept)]))
