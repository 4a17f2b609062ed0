"""The way to act on this host. Only `hostscope.respond` may import it; looking does not need it."""

import importlib
from typing import cast

from hostscope.errors import Unsupported
from hostscope.platforms.base import Control

SYSTEMS = ("linux", "windows", "macos", "replay")


def open_control(name: str) -> Control:
    """The control of the system that `Host.name` names.

    Raises:
        Unsupported: hostscope does not know this operating system.
    """
    if name not in SYSTEMS:
        raise Unsupported(f"hostscope cannot act on {name}")
    module = importlib.import_module(f"hostscope.platforms.{name}.control")
    return cast(Control, module.Control())
