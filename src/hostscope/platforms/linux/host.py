"""The Linux host: which file answers what."""

from hostscope.platforms.base import Host
from hostscope.platforms.linux.capture import Capture
from hostscope.platforms.linux.clock import read_boot
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.counters import Counters
from hostscope.platforms.linux.events import Events
from hostscope.platforms.linux.files import Files
from hostscope.platforms.linux.interfaces import Interfaces
from hostscope.platforms.linux.memory import Memory
from hostscope.platforms.linux.packages import Packages
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.processes import Processes
from hostscope.platforms.linux.resolvers import Resolvers
from hostscope.platforms.linux.security import Security
from hostscope.platforms.linux.services import Services
from hostscope.platforms.linux.sockets import Sockets
from hostscope.platforms.linux.syscalls import Syscalls
from hostscope.platforms.linux.system import System
from hostscope.platforms.linux.traffic import Traffic


def open_host() -> Host:
    """This host."""
    boot, privileges, security, containers = read_boot(), Privileges(), Security(), Containers()
    processes = Processes(boot, containers, security, privileges)
    sockets = Sockets(boot, containers, privileges)
    return Host(
        name="linux",
        processes=processes,
        security=security,
        files=Files(privileges=privileges),
        packages=Packages(),
        containers=containers,
        services=Services(privileges=privileges),
        sockets=sockets,
        traffic=Traffic(boot, sockets, privileges),
        capture=Capture(privileges),
        interfaces=Interfaces(privileges),
        resolvers=Resolvers(containers=containers, privileges=privileges),
        memory=Memory(privileges=privileges),
        events=Events(boot, privileges, processes, containers, sockets),
        syscalls=Syscalls(boot, privileges),
        counters=Counters(),
        system=System(),
        privileges=privileges,
    )
