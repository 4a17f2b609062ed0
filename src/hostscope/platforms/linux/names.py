"""Numbers to names: terminals."""

import os

from msgspec import Struct


class Terminals:
    """Controlling terminals by device number, as /proc/PID/stat gives it (new_encode_dev)."""

    def __init__(self) -> None:
        self._names: dict[int, str | None] = {0: None}
        self._drivers = _read_drivers()

    def name(self, tty: int) -> str | None:
        """Such as ``pts/3``; ``MAJOR:MINOR`` when no driver claims the number; None for 0."""
        if tty not in self._names:
            device = tty & 0xFFFF_FFFF  # printed as a signed int
            self._names[tty] = self._look_up(os.major(device), os.minor(device))
        return self._names[tty]

    def _look_up(self, major: int, minor: int) -> str:
        for driver in self._drivers:
            if major == driver.major and driver.first <= minor <= driver.last:
                return driver.terminal(minor)
        return f"{major}:{minor}"


class TtyDriver(Struct, frozen=True):
    """A range of terminal devices."""

    prefix: str
    major: int
    first: int
    last: int
    base: int | None
    """Number of the first device; None for a device that has no number in its name."""

    def terminal(self, minor: int) -> str:
        """Name of one of its devices, without ``/dev/``."""
        return self.prefix if self.base is None else f"{self.prefix}{minor - self.first + self.base}"


def _read_drivers() -> tuple[TtyDriver, ...]:
    try:
        with open("/proc/tty/drivers", "rb") as file:
            return parse_tty_drivers(file.read(65536))
    except OSError:
        return ()


def parse_tty_drivers(raw: bytes) -> tuple[TtyDriver, ...]:
    """/proc/tty/drivers; lines of another shape are left out.

    ``pty_slave /dev/pts 136 0-1048575 pty:slave``: kind ``system`` has one device under just that name, virtual
    consoles are named by their minor (tty1 is 4:1), all others count from 0 (ttyS0 is 4:64).
    """
    return tuple(filter(None, map(_parse_driver, raw.decode("ascii", "replace").splitlines())))


def _parse_driver(line: str) -> TtyDriver | None:
    words = line.split()
    if len(words) != 5 or not words[1].startswith("/dev/"):
        return None
    name, major, minors, kind = words[1][5:], *words[2:]
    first, _, last = minors.partition("-")
    if not all(number.isdecimal() and len(number) <= 10 for number in (major, first, last or first)):
        return None
    base = None if kind.startswith("system") else int(first) if kind == "console" else 0
    prefix = "pts/" if name == "pts" else name.replace("%d", "")
    return TtyDriver(prefix, int(major), int(first), int(last or first), base)
