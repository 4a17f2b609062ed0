"""Who we are among the processes, and what carries us."""

from collections.abc import Iterable, Mapping
from os import getpid

from msgspec import Struct

from hostscope.collectors.lineage import ancestors, find_parents
from hostscope.errors import Error
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.model.response import Role
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Control
from hostscope.platforms.tally import Tally

FIELDS = frozenset({"state", "exe", "owner", "session", "cgroup"})
"""Field groups that tell who carries a session."""


class Scene(Struct, frozen=True):
    """What the guard has to know besides the process it judges."""

    ours: ProcessKey
    ancestors: Mapping[int, ProcessKey]
    """Of ours, by pid."""
    carriers: Mapping[int, tuple[ProcessKey, str]]
    """What this session runs through, by pid: key, and how we know."""
    system: str = "linux"
    """Name of the host's."""

    def is_ancestor(self, key: ProcessKey) -> bool:
        """Whether we descend from this process."""
        found = self.ancestors.get(key.pid)
        return found is not None and found.same(key)

    def carrier(self, key: ProcessKey) -> str | None:
        """How this process carries our session; None when it does not."""
        found = self.carriers.get(key.pid)
        return found[1] if found and found[0].same(key) else None


def look_round(host: Host, control: Control) -> Scene:
    """The scene now. Cost: one sweep, and a closer look at each of our ancestors."""
    rows = list(host.processes.sweep(ProcessRequest(fields=FIELDS), Tally()))
    parents = find_parents(rows)
    ours = next((row for row in rows if row.key.pid == getpid()), None)
    if ours is None:
        ours = host.processes.read(getpid(), ProcessRequest(fields=FIELDS))
    chain = ancestors(ours, parents)
    roles = {row.key: _role(control, row) for row in chain}
    carriers = {
        row.key.pid: (row.key, f"{role.name} above us") for row in chain if (role := roles[row.key]) and role.session
    }
    for client in _clients(rows, chain, roles):
        for row in (client, *ancestors(client, parents)):
            if (role := roles.get(row.key) or _role(control, row)) and role.session:
                carriers.setdefault(row.key.pid, (row.key, f"{role.name} of a client of our terminal multiplexer"))
    return Scene(ours.key, {row.key.pid: row.key for row in chain}, carriers, host.name)


def _clients(
    rows: Iterable[Process], chain: tuple[Process, ...], roles: Mapping[ProcessKey, Role | None]
) -> list[Process]:
    """Processes that show the terminals of the multiplexer we run in: the same program of the same user.

    A guess on the safe side: which of them shows ours is known to the multiplexer only.
    """
    servers = {
        (row.exe.path, row.owner.id)
        for row in chain
        if (role := roles[row.key]) and role.clients and row.exe and row.owner
    }
    ours = {row.key for row in chain}
    return [
        row for row in rows if row.key not in ours and row.exe and row.owner and (row.exe.path, row.owner.id) in servers
    ]


def _role(control: Control, process: Process) -> Role | None:
    try:
        return control.identify(process).role
    except Error:
        return None  # it ended, or may not be looked at: then it is an ancestor like any other
