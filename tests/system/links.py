"""Pairs of virtual interfaces, one end in a network namespace that the test makes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import NamedTuple

import pytest

from tests.system.commands import need

_MADE = count()


class Pair(NamedTuple):
    """Two ends of one cable: `near` in our namespace, `far` in another."""

    near: str
    far: str
    namespace: str
    near_address: str
    far_address: str

    def beyond(self, *command: str) -> list[str]:
        """The command, run at the far end."""
        return ["ip", "netns", "exec", self.namespace, *command]


def ip(*arguments: str) -> str:
    """What `ip` prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout


@contextmanager
def pair(name: str, network: str = "10.213.7") -> Iterator[Pair]:
    """A pair with addresses, up; both ends and the namespace go when the block ends. Skips where it cannot be made."""
    need("ip", "iproute2")
    tag = f"{name}{os.getpid() % 10_000}{next(_MADE)}"
    made = Pair(f"{tag}a", f"{tag}b", f"ns{tag}", f"{network}.1", f"{network}.2")
    try:
        ip("netns", "add", made.namespace)
    except OSError as failed:
        pytest.skip(f"no network namespaces here: {failed}")
    try:
        ip("link", "add", made.near, "type", "veth", "peer", "name", made.far, "netns", made.namespace)
        ip("addr", "add", f"{made.near_address}/24", "dev", made.near)
        ip("link", "set", made.near, "up")
        ip("-n", made.namespace, "addr", "add", f"{made.far_address}/24", "dev", made.far)
        ip("-n", made.namespace, "link", "set", made.far, "up")
        ip("-n", made.namespace, "link", "set", "lo", "up")
        yield made
    finally:
        with suppress(OSError):
            ip("link", "del", made.near)  # at once; with their namespace interfaces go a moment later
        ip("netns", "del", made.namespace)
