"""Values of the registry, read and watched."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from hostscope.model.security import SecurityChange
from hostscope.platforms.windows.native import registry as native
from hostscope.platforms.windows.native.waiting import opened_event, wait_any
from hostscope.platforms.windows.parse_registry import Value, from_wide, parse_value

WAIT_MS = 200
"""How soon a watch sees that it is to stop."""
LOOK_S = 2.0
"""How often a watch looks without having been told."""


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
            return tuple(map(from_wide, native.subkeys(opened)))
    except OSError as failed:
        if getattr(failed, "winerror", None) == native.ERROR_FILE_NOT_FOUND:
            return ()
        raise


def value_names(key: str) -> tuple[str, ...]:
    """Names of the values; none when there is no such key. Raises as `read_values`."""
    try:
        with native.opened_key(key) as opened:
            return tuple(map(from_wide, native.value_names(opened)))
    except OSError as failed:
        if getattr(failed, "winerror", None) == native.ERROR_FILE_NOT_FOUND:
            return ()
        raise


def watch_values(watched: Mapping[str, tuple[str, ...]], stop: threading.Event) -> Iterator[SecurityChange]:
    """Changes of the named values of these keys until `stop`, from this call on.

    A key that is not there yet is watched through the nearest one above it: making it is a change.

    Raises:
        SystemRefused: 5 when a key is closed to us.

    Source: RegNotifyChangeKeyValue, and a look of our own every `LOOK_S`: Wine does not tell that a key was deleted.
    Races: the next change is asked for before the values are read, so none is missed; a value that changes twice in
    between shows the last change only.
    """
    watching = _changes(watched, stop)
    next(watching)  # the first is no change: it says that the watch has begun
    return watching


def _changes(watched: Mapping[str, tuple[str, ...]], stop: threading.Event) -> Iterator[Any]:
    with ExitStack() as stack:
        found = [_Watched(key, names, stack.enter_context(opened_event())) for key, names in watched.items()]
        for one in found:
            stack.callback(one.close)
            one.begin()
        yield None
        looked_s = time.monotonic()
        while not stop.is_set():
            place = wait_any([one.event for one in found], WAIT_MS)
            due = time.monotonic() - looked_s >= LOOK_S
            for one in found if due else found[place : place + 1] if place is not None else ():
                yield from one.changes()
            looked_s = time.monotonic() if due else looked_s


class _Watched:
    """One key."""

    def __init__(self, path: str, names: tuple[str, ...], event: int) -> None:
        self.event = event
        self._path, self._names = path, names
        self._values: dict[str, str] = {}
        self._open = ExitStack()

    def begin(self) -> None:
        """Asks for the first change, and then reads what there is."""
        self._ask()
        self._values = self._read()

    def changes(self) -> Iterator[SecurityChange]:
        """What is different now."""
        self._ask()
        now, before = self._read(), self._values
        self._values, at_ns = now, time.time_ns()
        for name in self._names:
            if now.get(name) != before.get(name):
                yield SecurityChange(at_ns, self._path, name, before.get(name), now.get(name))

    def close(self) -> None:
        """Watches no more."""
        self._open.close()

    def _ask(self) -> None:
        """Opened anew each time: the key may have been deleted, or made, since."""
        self.close()
        native.notify(self._open.enter_context(_nearest(self._path)), self.event)

    def _read(self) -> dict[str, str]:
        return {name: _shown(value) for name, value in read_values(self._path, self._names).items()}


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


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return value.hex() if isinstance(value, bytes) else str(value)
