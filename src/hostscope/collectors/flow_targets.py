"""Whose traffic is meant by a pid, a name, ``:PORT`` or a key, processes that do not run yet included."""

from msgspec import Struct

from hostscope.collectors.targets import find_one
from hostscope.errors import UsageError
from hostscope.model.key import ProcessKey
from hostscope.model.request import ProcessRequest
from hostscope.model.traffic import Flow
from hostscope.platforms.base import Host

_PORTS = 1 << 16
_NAME_LENGTH = 15
"""What Linux keeps of a name; more of one that is asked for cannot be compared."""


class Chosen(Struct, frozen=True):
    """Flows that are asked for."""

    keys: frozenset[ProcessKey]
    names: frozenset[str]
    ports: frozenset[int]
    """Local ones."""

    def has(self, flow: Flow) -> bool:
        """Whether one of the targets means this flow."""
        name = flow.name or ""
        if flow.key is None and flow.unknown is None:  # a file's: curl[1234]
            name = name.partition("[")[0]
        return flow.key in self.keys or flow.local.port in self.ports or name[:_NAME_LENGTH] in self.names


def choose(host: Host, targets: tuple[str, ...]) -> Chosen:
    """What the targets mean. Names and ports may mean nothing yet; pids and keys must be there.

    Raises:
        UsageError: it is no target.
        Gone, Denied, Mismatch
    """
    keys, names, ports = set(), set(), set()
    for target in targets:
        if target.startswith(":"):
            ports.add(_port(target))
        elif target[:1].isdecimal():
            keys.add(find_one(host, target, ProcessRequest(fields=frozenset())).key)
        elif target:
            names.add(target.rpartition("/")[2][:_NAME_LENGTH])
        else:
            raise UsageError("an empty target", "a target is a pid, a name, :PORT or a key such as 42@1234")
    return Chosen(frozenset(keys), frozenset(names), frozenset(ports))


def _port(target: str) -> int:
    text = target[1:]
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) >= _PORTS:
        raise UsageError(f"{text!r} is no port")
    return int(text)
