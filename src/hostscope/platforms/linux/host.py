"""The Linux host: which file answers what. Parts that few commands ask are imported when they are asked."""

from hostscope.platforms import base
from hostscope.platforms.base import Host
from hostscope.platforms.deferred import deferred
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.processes import Processes
from hostscope.platforms.linux.security import Security
from hostscope.platforms.linux.system import System


def open_host() -> Host:
    """This host."""
    boot, privileges, security, containers = read_boot(), Privileges(), Security(), Containers()
    processes = Processes(boot, containers, security, privileges)

    def files() -> base.Files:
        from hostscope.platforms.linux.files import Files

        return Files(privileges=privileges)

    def packages() -> base.Packages:
        from hostscope.platforms.linux.packages import Packages

        return Packages()

    def services() -> base.Services:
        from hostscope.platforms.linux.services import Services

        return Services(privileges=privileges)

    def sockets() -> base.Sockets:
        from hostscope.platforms.linux.sockets import Sockets

        return Sockets(boot, containers, privileges)

    open_sockets = deferred(sockets)

    def traffic() -> base.Traffic:
        from hostscope.platforms.linux.traffic import Traffic

        return Traffic(boot, open_sockets, privileges)

    def capture() -> base.Capture:
        from hostscope.platforms.linux.capture import Capture

        return Capture(privileges)

    def interfaces() -> base.Interfaces:
        from hostscope.platforms.linux.interfaces import Interfaces

        return Interfaces(privileges)

    def resolvers() -> base.Resolvers:
        from hostscope.platforms.linux.resolvers import Resolvers

        return Resolvers(containers=containers, privileges=privileges)

    def memory() -> base.Memory:
        from hostscope.platforms.linux.memory import Memory

        return Memory(privileges=privileges)

    def events() -> base.Events:
        from hostscope.platforms.linux.events import Events

        return Events(boot, privileges, processes, containers, open_sockets)

    def syscalls() -> base.Syscalls:
        from hostscope.platforms.linux.syscalls import Syscalls

        return Syscalls(boot, privileges)

    def counters() -> base.Counters:
        from hostscope.platforms.linux.counters import Counters

        return Counters()

    return Host(
        name="linux",
        processes=processes,
        security=security,
        files=deferred(files),
        packages=deferred(packages),
        containers=containers,
        services=deferred(services),
        sockets=open_sockets,
        traffic=deferred(traffic),
        capture=deferred(capture),
        interfaces=deferred(interfaces),
        resolvers=deferred(resolvers),
        memory=deferred(memory),
        events=deferred(events),
        syscalls=deferred(syscalls),
        counters=deferred(counters),
        system=System(),
        privileges=privileges,
    )
