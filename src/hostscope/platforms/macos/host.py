"""The Mac as a `Host`: which file answers what. Parts that few commands ask are imported when they are asked."""

from collections.abc import Mapping

from hostscope.model.gap import Gap, Reason
from hostscope.platforms import base, base_memory, base_network
from hostscope.platforms.base import Host
from hostscope.platforms.deferred import deferred
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.privileges import Privileges
from hostscope.platforms.macos.processes import Processes
from hostscope.platforms.macos.security import Security

_TASK_PORT = "the kernel tells this with a task port only"
GAPS = (
    *(
        Gap(field, Reason.UNSUPPORTED, _TASK_PORT)
        for field in ("memory.shared_bytes", "memory.swap_bytes", "memory.proportional_bytes", "memory.unique_bytes")
    ),
    Gap("memory.peak_virtual_bytes", Reason.UNSUPPORTED, "macOS keeps no such peak"),
    Gap("memory.peak_resident_bytes", Reason.UNSUPPORTED, "macOS keeps the peak of the footprint only"),
    Gap("io.read_call_bytes", Reason.UNSUPPORTED, "macOS counts what reaches the disk only"),
    Gap("io.written_call_bytes", Reason.UNSUPPORTED, "macOS counts what reaches the disk only"),
    Gap("activity.voluntary_switches", Reason.UNSUPPORTED, "macOS does not tell the kinds apart"),
    Gap("activity.involuntary_switches", Reason.UNSUPPORTED, "macOS does not tell the kinds apart"),
)
"""What macOS does not tell of any process."""


def open_host() -> Host:
    """This host."""
    parts = _Parts()
    return Host(
        name="macos",
        processes=parts.processes,
        security=Security(),
        files=deferred(parts.files),
        packages=deferred(parts.packages),
        containers=deferred(parts.containers),
        services=parts.services,
        sockets=deferred(parts.sockets),
        traffic=deferred(parts.traffic),
        capture=deferred(parts.capture),
        interfaces=deferred(parts.interfaces),
        resolvers=deferred(parts.resolvers),
        memory=deferred(parts.memory),
        events=deferred(parts.events),
        syscalls=deferred(parts.syscalls),
        counters=deferred(parts.counters),
        system=deferred(parts.system),
        privileges=parts.privileges,
        gaps=GAPS,
    )


class _Parts:
    """What every command asks, and how the rest is built of it."""

    def __init__(self) -> None:
        self.boot, self.privileges = deferred(read_boot), Privileges()
        self.services = deferred(_services)
        self.processes = Processes(self.boot, self.privileges, self._jobs)

    def _jobs(self) -> Mapping[int, str]:
        """Labels of launchd's jobs by the pid of their process."""
        return {state.main_pid: state.name for state in self.services.services() if state.main_pid}

    def files(self) -> base.Files:
        from hostscope.platforms.macos.files import Files

        return Files(self.privileges)

    def packages(self) -> base.Packages:
        from hostscope.platforms.macos.packages import Packages

        return Packages()

    def containers(self) -> base.Containers:
        from hostscope.platforms.macos.containers import Containers

        return Containers()

    def sockets(self) -> base_network.Sockets:
        from hostscope.platforms.macos.owners import owners_of
        from hostscope.platforms.macos.sockets import Sockets
        from hostscope.platforms.posix_accounts import Accounts

        return Sockets(owners_of(self.boot), Accounts().user, self.privileges)

    def traffic(self) -> base_network.Traffic:
        from hostscope.platforms.macos.owners import owners_of
        from hostscope.platforms.macos.traffic import Traffic

        return Traffic(owners_of(self.boot), self.privileges)

    def capture(self) -> base_network.Capture:
        from hostscope.platforms.macos.capture import Capture
        from hostscope.platforms.macos.owners import owners_of

        return Capture(owners_of(self.boot), self.privileges)

    def interfaces(self) -> base_network.Interfaces:
        from hostscope.platforms.macos.interfaces import Interfaces

        return Interfaces()

    def resolvers(self) -> base_network.Resolvers:
        from hostscope.platforms.macos.resolvers import Resolvers

        return Resolvers()

    def memory(self) -> base_memory.Memory:
        from hostscope.platforms.macos.memory import Memory

        return Memory(self.boot, self.privileges)

    def events(self) -> base.Events:
        from hostscope.platforms.macos.events import Events

        return Events(lambda: self.boot, privileges=self.privileges)

    def syscalls(self) -> base.Syscalls:
        from hostscope.platforms.macos.syscalls import Syscalls

        return Syscalls()

    def counters(self) -> base.Counters:
        from hostscope.platforms.macos.counters import Counters

        return Counters()

    def system(self) -> base.System:
        from hostscope.platforms.macos.system import System

        return System()


def _services() -> base.Services:
    from hostscope.platforms.macos.services import Services

    return Services()
