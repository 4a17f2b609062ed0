"""How one kind of record is shown and stored."""

from typing import Any, Generic, TypeVar

from msgspec import Struct

from hostscope.errors import UsageError
from hostscope.render.column import Column
from hostscope.render.columns import ALIASES

Row = TypeVar("Row")


class Layout(Struct, Generic[Row], frozen=True):
    """How one kind of record is shown and stored."""

    noun: str
    """Plural, as in ``312 processes``."""
    schema: str
    record: type[Row]
    columns: tuple[Column[Row], ...]
    default: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(column.name for column in self.columns)

    def find(self, name: str) -> Column[Row] | None:
        """The column of that name or alias."""
        by_name = {column.name: column for column in self.columns}
        return by_name.get(name.lower()) or by_name.get(ALIASES.get(name.lower(), ""))

    def choose(self, names: str | None) -> tuple[Column[Row], ...]:
        """Columns by a list such as ``pid,name``; ``+name`` adds to the default ones, ``all`` is all.

        Raises:
            UsageError: a name is no column.
        """
        if names == "all":
            return self.columns
        given = [name.strip() for name in (names or "").split(",") if name.strip()]
        added = [name[1:] for name in given if name.startswith("+")]
        plain = [name for name in given if not name.startswith("+")] or list(self.default)
        before_last = plain[:-1] + added + plain[-1:] if added else plain
        return tuple(self.column(name) for name in dict.fromkeys(before_last))

    def column(self, name: str) -> Column[Row]:
        """The column of that name.

        Raises:
            UsageError: there is none.
        """
        found = self.find(name)
        if found is None:
            raise UsageError(f"there is no column {name!r} of {self.noun}", f"columns: {closest(name, self.names())}")
        return found


MOST_LISTED = 40


def closest(name: str, names: tuple[str, ...]) -> str:
    """The names a person may have meant, or all of them; of many, how to see them."""
    from difflib import get_close_matches

    meant = get_close_matches(name.lower(), names, n=4)
    return ", ".join(meant or names) if meant or len(names) <= MOST_LISTED else "--list-columns shows them"


def field_groups(columns: tuple[Column[Any], ...]) -> frozenset[str]:
    """The field groups that must be collected to fill the columns."""
    return frozenset(column.field for column in columns if column.field)
