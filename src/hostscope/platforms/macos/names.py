"""Numbers to names: terminals."""

from hostscope.model.text import decode
from hostscope.platforms.macos.native import machine


class Terminals:
    """Controlling terminals by device number, each looked up once."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def name(self, device: int | None) -> str | None:
        """Such as ``ttys003``; ``MAJOR:MINOR`` when no device has the number; None for none."""
        if device is None:
            return None
        if device not in self._names:
            name = machine.terminal(device)
            self._names[device] = decode(name) if name else _numbers(device)
        return self._names[device]


def _numbers(device: int) -> str:
    """Darwin's dev_t: eight bits of major number, twenty-four of minor."""
    return f"{device >> 24 & 0xFF}:{device & 0xFFFFFF}"
