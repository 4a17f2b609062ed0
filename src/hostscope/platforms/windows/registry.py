"""Values of the registry, read and watched."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from hostscope.model.event import SecurityChange
from hostscope.model.text import decode_str
from hostscope.platforms.windows.native import registry as native
from hostscope.platforms.windows.native.waiting import opened_event, wait_any
from hostscope.platforms.windows.parse_registry import Value, parse_value

WAIT_MS = 200
"""How soon a watch sees that it is to stop."""
LOOK_S = 2.0
"""How often a watch looks without having been told."""
EVERY: tuple[str, ...] = ()
"""Instead of names: every value that a key has."""
Refused = Callable[[str, OSError], None]
"""Told of a key that cannot be watched, or not any more."""


def read_values(key: str, names: tuple[str, ...]) -> dict[str, Value]:
    """The named values of a key that are there; empty when there is no such key.

    Raises:
        SystemRefused: such as 5, access denied.
        ValueError: a value is not of the form that its type promises.
    """
    try:
        with native.opened_key(key) as opened:
            found = {name: native.read_value(opened, name) for name in names}
    except OSError as failed:
        if getattr(failed, "winerror", None) == native.ERROR_FILE_NOT_FOUND:
            return {}
        raise
    return {name: parse_value(*told) for name, told in found.items() if told is not None}


def read_number(key: str, name: str) -> int | None:
    """A number; None when it is not there. Raises as `read_values`, and ValueError when it is no number."""
    found = read_values(key, (name,)).get(name)
    if found is not None and not isinstance(found, int):
        raise ValueError(f"{key}\\{name} is no number")
    return found


def read_text(key: str, name: str) -> str | None:
    """A text; None when it is not there. Raises as `read_values`, and ValueError when it is no text."""
    found = read_values(key, (name,)).get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{key}\\{name} is no text")
    return found


def names_below(key: str) -> tuple[str, ...]:
    """Names of the subkeys; none when there is no such key. Raises as `read_values`."""
    try:
        with native.opened_key(key) as opened:
            return tuple(map(decode_str, native.subkeys(opened)))
    except OSError as failed:
        if getattr(failed, "winerror", None) == native.ERROR_FILE_NOT_FOUND:
            return ()
        raise


def value_names(key: str) -> tuple[str, ...]:
    """Names of the values; none when there is no such key. Raises as `read_values`."""
    try:
        with native.opened_key(key) as opened:
            return tuple(map(decode_str, native.value_names(opened)))
    except OSError as failed:
        if getattr(failed, "winerror", None) == native.ERROR_FILE_NOT_FOUND:
            return ()
        raise


def watch_values(
    watched: Mapping[str, tuple[str, ...]], stop: threading.Event, refused: Refused | None = None
) -> Iterator[SecurityChange]:
    """Changes of the named values of these keys (or `EVERY`) until `stop`, from this call on.

    A key that is not there yet is watched through the nearest one above it: making it is a change.

    Args:
        refused: told of keys that are closed to us; the others are watched. Without it one of them ends the watch.

    Raises:
        SystemRefused: 5 when a key is closed to us, and nobody is told of it.

    Source: RegNotifyChangeKeyValue, and a look of our own every `LOOK_S`: Wine does not tell that a key was deleted.
    Races: the next change is asked for before the values are read, so none is missed; a value that changes twice in
    between shows the last change only.
    """
    watching = _changes(watched, stop, refused)
    next(watching)  # the first is no change: it says that the watch has begun
    return watching


def _changes(watched: Mapping[str, tuple[str, ...]], stop: threading.Event, refused: Refused | None) -> Iterator[Any]:
    with ExitStack() as stack:
        found = [_Watched(key, names, stack.enter_context(opened_event())) for key, names in watched.items()]
        for one in found:
            stack.callback(one.close)
        found = [one for one in found if one.tries(one.begin, refused) is not None]
        yield None
        looked_s = time.monotonic()
        while found and not stop.is_set():
            place = wait_any([one.event for one in found], WAIT_MS)
            due = time.monotonic() - looked_s >= LOOK_S
            for one in list(found) if due else found[place : place + 1] if place is not None else ():
                changes = one.tries(one.changes, refused)
                if changes is None:
                    found.remove(one)
                yield from changes or ()
            looked_s = time.monotonic() if due else looked_s


class _Watched:
    """One key."""

    def __init__(self, path: str, names: tuple[str, ...], event: int) -> None:
        self.event = event
        self._path, self._names = path, names
        self._values: dict[str, str] = {}
        self._open = ExitStack()

    def tries(self, look: Callable[[], list[SecurityChange]], refused: Refused | None) -> list[SecurityChange] | None:
        """What a look sees; None when the key is closed to us, which `refused` is told."""
        try:
            return look()
        except OSError as failed:
            if refused is None:
                raise
            refused(self._path, failed)
            return None

    def begin(self) -> list[SecurityChange]:
        """Asks for the first change, and then reads what there is."""
        self._ask()
        self._values = self._read()
        return []

    def changes(self) -> list[SecurityChange]:
        """What is different now."""
        self._ask()
        now, before = self._read(), self._values
        self._values = now
        return [
            SecurityChange(self._path, name, before.get(name), now.get(name))
            for name in self._names or sorted(before.keys() | now.keys())
            if now.get(name) != before.get(name)
        ]

    def close(self) -> None:
        """Watches no more."""
        self._open.close()

    def _ask(self) -> None:
        """Opened anew each time: the key may have been deleted, or made, since."""
        self.close()
        native.notify(self._open.enter_context(_nearest(self._path)), self.event)

    def _read(self) -> dict[str, str]:
        names = self._names or value_names(self._path)
        return {name: text for name in names if (text := _read_shown(self._path, name)) is not None}


@contextmanager
def _nearest(path: str) -> Iterator[int]:
    """The key, or the nearest above it that there is, for the block."""
    access = native.KEY_QUERY_VALUE | native.KEY_NOTIFY
    with ExitStack() as stack:
        while True:
            try:
                key = stack.enter_context(native.opened_key(path, access))
                break
            except OSError as failed:
                above = path.rpartition("\\")[0]
                if getattr(failed, "winerror", None) != native.ERROR_FILE_NOT_FOUND or "\\" not in above:
                    raise
                path = above
        yield key


def _read_shown(path: str, name: str) -> str | None:
    """A value as text; one that is not what its type says must not blind the watch, for anybody may write such."""
    try:
        value = read_values(path, (name,)).get(name)
    except ValueError as malformed:
        return f"malformed ({malformed})"
    return None if value is None else _shown(value)


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return value.hex() if isinstance(value, bytes) else str(value)
