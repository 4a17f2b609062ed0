"""macOS as a `Host`: the wiring."""

from hostscope.platforms.base import Host
from hostscope.platforms.macos.capture import Capture
from hostscope.platforms.macos.containers import Containers
from hostscope.platforms.macos.counters import Counters
from hostscope.platforms.macos.events import Events
from hostscope.platforms.macos.files import Files
from hostscope.platforms.macos.interfaces import Interfaces
from hostscope.platforms.macos.memory import Memory
from hostscope.platforms.macos.packages import Packages
from hostscope.platforms.macos.privileges import Privileges
from hostscope.platforms.macos.processes import Processes
from hostscope.platforms.macos.resolvers import Resolvers
from hostscope.platforms.macos.security import Security
from hostscope.platforms.macos.services import Services
from hostscope.platforms.macos.sockets import Sockets
from hostscope.platforms.macos.syscalls import Syscalls
from hostscope.platforms.macos.system import System
from hostscope.platforms.macos.traffic import Traffic


def open_host() -> Host:
    """This host."""
    return Host(
        name="macos",
        processes=Processes(),
        security=Security(),
        files=Files(),
        packages=Packages(),
        containers=Containers(),
        services=Services(),
        sockets=Sockets(),
        traffic=Traffic(),
        capture=Capture(),
        interfaces=Interfaces(),
        resolvers=Resolvers(),
        memory=Memory(),
        events=Events(),
        syscalls=Syscalls(),
        counters=Counters(),
        system=System(),
        privileges=Privileges(),
    )
