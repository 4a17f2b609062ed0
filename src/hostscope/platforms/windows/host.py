"""Windows as a `Host`: the wiring."""

from functools import cache

from hostscope.platforms import base
from hostscope.platforms.base import Host
from hostscope.platforms.deferred import deferred
from hostscope.platforms.windows.capture import Capture
from hostscope.platforms.windows.clock import read_boot
from hostscope.platforms.windows.containers import Containers
from hostscope.platforms.windows.counters import Counters
from hostscope.platforms.windows.events import Events
from hostscope.platforms.windows.files import Files
from hostscope.platforms.windows.interfaces import Interfaces
from hostscope.platforms.windows.memory import Memory
from hostscope.platforms.windows.packages import Packages
from hostscope.platforms.windows.privileges import Privileges
from hostscope.platforms.windows.processes import Processes
from hostscope.platforms.windows.resolvers import Resolvers
from hostscope.platforms.windows.security import Security
from hostscope.platforms.windows.services import Services
from hostscope.platforms.windows.syscalls import Syscalls
from hostscope.platforms.windows.system import System
from hostscope.platforms.windows.traffic import Traffic

_boot = cache(read_boot)


def open_host() -> Host:
    """This host."""
    return Host(
        name="windows",
        processes=Processes(),
        security=Security(),
        files=Files(),
        packages=Packages(),
        containers=Containers(),
        services=Services(),
        sockets=deferred(_sockets),
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


def _sockets() -> base.Sockets:
    from hostscope.platforms.windows.sockets import Sockets

    return Sockets(_boot())
