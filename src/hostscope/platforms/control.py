"""The way to act on this host. Only `hostscope.respond` may import it; looking does not need it."""

import importlib
from types import ModuleType
from typing import cast

from hostscope.errors import Unsupported
from hostscope.platforms.base_control import Control
from hostscope.platforms.base_program import Autostart

SYSTEMS = ("linux", "windows", "macos", "replay")


def open_control(name: str) -> Control:
    """The control of the system that `Host.name` names.

    Raises:
        Unsupported: hostscope does not know this operating system.
    """
    return cast(Control, _door(name, "control").Control())


def open_autostart(name: str) -> Autostart:
    """What registers live commands with that system's service manager. Raises as `open_control`."""
    return cast(Autostart, _door(name, "autostart").Autostart())


def _door(name: str, file: str) -> ModuleType:
    if name not in SYSTEMS:
        raise Unsupported(f"hostscope cannot act on {name}")
    return importlib.import_module(f"hostscope.platforms.{name}.{file}")
