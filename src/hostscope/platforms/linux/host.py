"""The Linux host: which file answers what. Parts that few commands ask are imported when they are asked."""

from functools import partial
from typing import TYPE_CHECKING

from hostscope.platforms import base, base_memory, base_network
from hostscope.platforms.base import Host
from hostscope.platforms.deferred import deferred
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.processes import Processes
from hostscope.platforms.linux.security import Security

if TYPE_CHECKING:
    from hostscope.platforms.linux.containers import Containers


def open_host() -> Host:
    """This host."""
    parts = _Parts()
    sockets = deferred(parts.sockets)
    return Host(
        name="linux",
        processes=parts.processes,
        security=parts.security,
        files=deferred(parts.files),
        packages=deferred(parts.packages),
        containers=parts.containers,
        services=deferred(parts.services),
        sockets=sockets,
        traffic=deferred(partial(parts.traffic, sockets)),
        capture=deferred(parts.capture),
        interfaces=deferred(parts.interfaces),
        resolvers=deferred(parts.resolvers),
        memory=deferred(parts.memory),
        events=deferred(partial(parts.events, sockets)),
        syscalls=deferred(parts.syscalls),
        counters=deferred(parts.counters),
        system=deferred(parts.system),
        privileges=parts.privileges,
    )


class _Parts:
    """What every command asks, and how the rest is built of it."""

    def __init__(self) -> None:
        self.boot, self.privileges, self.security = read_boot(), Privileges(), Security()
        self.containers = deferred(_containers)
        self.processes = Processes(self.boot, self.containers, self.security, self.privileges)

    def files(self) -> base.Files:
        from hostscope.platforms.linux.files import Files

        return Files(privileges=self.privileges)

    def packages(self) -> base.Packages:
        from hostscope.platforms.linux.packages import Packages

        return Packages()

    def services(self) -> base.Services:
        from hostscope.platforms.linux.services import Services

        return Services(privileges=self.privileges)

    def sockets(self) -> base_network.Sockets:
        from hostscope.platforms.linux.sockets import Sockets

        return Sockets(self.boot, self.containers, self.privileges)

    def traffic(self, sockets: base_network.Sockets) -> base_network.Traffic:
        from hostscope.platforms.linux.traffic import Traffic

        return Traffic(self.boot, sockets, self.privileges)

    def capture(self) -> base_network.Capture:
        from hostscope.platforms.linux.capture import Capture

        return Capture(self.privileges)

    def interfaces(self) -> base_network.Interfaces:
        from hostscope.platforms.linux.interfaces import Interfaces

        return Interfaces(self.privileges)

    def resolvers(self) -> base_network.Resolvers:
        from hostscope.platforms.linux.resolvers import Resolvers

        return Resolvers(containers=self.containers, privileges=self.privileges)

    def memory(self) -> base_memory.Memory:
        from hostscope.platforms.linux.memory import Memory

        return Memory(privileges=self.privileges)

    def events(self, sockets: base_network.Sockets) -> base.Events:
        from hostscope.platforms.linux.events import Events

        return Events(self.boot, self.privileges, self.processes, self.containers, sockets)

    def syscalls(self) -> base.Syscalls:
        from hostscope.platforms.linux.syscalls import Syscalls

        return Syscalls(self.boot, self.privileges)

    def counters(self) -> base.Counters:
        from hostscope.platforms.linux.counters import Counters

        return Counters()

    def system(self) -> base.System:
        from hostscope.platforms.linux.system import System

        return System()


def _containers() -> "Containers":
    from hostscope.platforms.linux.containers import Containers

    return Containers()
