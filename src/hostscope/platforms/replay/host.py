"""A recording as a `Host`: the wiring."""

from hostscope.model.gap import Gap, Reason
from hostscope.platforms.base import Host
from hostscope.platforms.replay.capture import Capture
from hostscope.platforms.replay.containers import Containers
from hostscope.platforms.replay.counters import Counters
from hostscope.platforms.replay.events import Events
from hostscope.platforms.replay.files import Files
from hostscope.platforms.replay.interfaces import Interfaces
from hostscope.platforms.replay.memory import Memory
from hostscope.platforms.replay.packages import Packages
from hostscope.platforms.replay.privileges import Privileges
from hostscope.platforms.replay.processes import Processes
from hostscope.platforms.replay.reader import open_recording
from hostscope.platforms.replay.resolvers import Resolvers
from hostscope.platforms.replay.security import Security
from hostscope.platforms.replay.services import Services
from hostscope.platforms.replay.sockets import Sockets
from hostscope.platforms.replay.syscalls import Syscalls
from hostscope.platforms.replay.system import System
from hostscope.platforms.replay.traffic import Traffic


def open_host(path: str) -> Host:
    """The host in a recording.

    Raises:
        UsageError: `path` cannot be read, or is no recording; with ``path:line``.
    """
    recording = open_recording(path)
    return Host(
        name="replay",
        processes=Processes(recording),
        security=Security(recording),
        files=Files(recording),
        packages=Packages(recording),
        containers=Containers(recording),
        services=Services(recording),
        sockets=Sockets(recording),
        traffic=Traffic(),
        capture=Capture(),
        interfaces=Interfaces(recording),
        resolvers=Resolvers(),
        memory=Memory(),
        events=Events(),
        syscalls=Syscalls(),
        counters=Counters(recording),
        system=System(recording),
        privileges=Privileges(recording),
        gaps=(Gap("cpu.ratio", Reason.UNSUPPORTED, "a recording holds one moment, not two to compare"),),
        at_ns=recording.header.created_at_ns,
    )
