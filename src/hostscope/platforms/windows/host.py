"""Windows as a `Host`: the wiring. Parts that need to know which boot this is ask Windows when they are first asked."""

from functools import cached_property

from hostscope.platforms import base, base_memory, base_network
from hostscope.platforms.base import Host
from hostscope.platforms.deferred import deferred
from hostscope.platforms.windows.capture import Capture
from hostscope.platforms.windows.clock import Boot, read_boot
from hostscope.platforms.windows.containers import Containers
from hostscope.platforms.windows.counters import Counters
from hostscope.platforms.windows.events import Events
from hostscope.platforms.windows.files import Files
from hostscope.platforms.windows.interfaces import Interfaces
from hostscope.platforms.windows.memory import Memory
from hostscope.platforms.windows.packages import Packages
from hostscope.platforms.windows.privileges import Privileges
from hostscope.platforms.windows.resolvers import Resolvers
from hostscope.platforms.windows.services import Services
from hostscope.platforms.windows.sockets import Sockets
from hostscope.platforms.windows.syscalls import Syscalls
from hostscope.platforms.windows.system import System


def open_host() -> Host:
    """This host."""
    parts = _Parts()
    memory, sockets = deferred(parts.memory), deferred(parts.sockets)
    processes: base.Processes = deferred(lambda: parts.processes(memory, sockets))
    return Host(
        name="windows",
        processes=processes,
        security=deferred(parts.security),
        files=Files(memory),
        packages=Packages(),
        containers=parts.containers,
        services=Services(),
        sockets=sockets,
        traffic=deferred(parts.traffic),
        capture=Capture(),
        interfaces=Interfaces(),
        resolvers=Resolvers(),
        memory=memory,
        events=deferred(lambda: parts.events(processes)),
        syscalls=Syscalls(memory, parts.privileges),
        counters=Counters(),
        system=System(),
        privileges=parts.privileges,
    )


class _Parts:
    """What several parts share, and how those that share it are built."""

    def __init__(self) -> None:
        self.privileges, self.containers = Privileges(), Containers()

    @cached_property
    def boot(self) -> Boot:
        """Asked once, when the first part needs it."""
        return read_boot()

    def processes(self, memory: base_memory.Memory, sockets: base_network.Sockets) -> base.Processes:
        from hostscope.platforms.windows.processes import Processes
        from hostscope.platforms.windows.security_context import SecurityContexts

        return Processes(self.boot, SecurityContexts(containers=self.containers), self.privileges, memory, sockets)

    def security(self) -> base.Security:
        from hostscope.platforms.windows.security import Security
        from hostscope.platforms.windows.security_center import products

        return Security(products)

    def events(self, processes: base.Processes) -> base.Events:
        return Events(self.boot, processes)

    def memory(self) -> base_memory.Memory:
        return Memory(self.boot, self.privileges)

    def sockets(self) -> base_network.Sockets:
        return Sockets(self.boot)

    def traffic(self) -> base_network.Traffic:
        from hostscope.platforms.windows.traffic import Traffic

        return Traffic(self.boot, Interfaces())
