"""Which process a pid is, for what the kernel tells by pid only."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from hostscope.model.key import ProcessKey
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.process_list import read_processes


class Owner(NamedTuple):
    """A process."""

    key: ProcessKey
    name: str


Owners = Callable[[], Mapping[int, Owner]]
"""Every process by its pid, as it is now."""


def read_owners(boot: Boot) -> dict[int, Owner]:
    """Every process by its pid. Cost: one call for all.

    Raises:
        NativeError
    """
    return {one.pid: Owner(boot.key(one.pid, one.start_us), one.name) for one in read_processes()}


def owners_of(boot: Boot) -> Owners:
    """The same, to be asked again and again."""
    return partial(read_owners, boot)
