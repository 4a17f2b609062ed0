"""Containers, by the runtimes' local state: Windows containers, Hyper-V machines, distributions of WSL.

What tells, best first: the Host Compute Service (asked only while it runs, for asking would start it), the account of
a virtual machine, which bears its GUID, and then shapes, labelled ``heuristic``: a program that was started from a
container's disk, a worker process with a GUID in its command line, a Linux program of WSL 1 below a distribution's
folder.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from msgspec.structs import replace

from hostscope.errors import Error, Unavailable, Unsupported
from hostscope.model.container import Container
from hostscope.platforms.windows import parse_compute as parse
from hostscope.platforms.windows import registry, translate
from hostscope.platforms.windows.native import compute
from hostscope.platforms.windows.process_list import read_processes

LXSS = r"Software\Microsoft\Windows\CurrentVersion\Lxss"
DOCKER = r"docker\containers"
"""Below %ProgramData%."""
SERVICE = "vmcompute.exe"
MAX_AGE_S = 5.0
MACHINE_NAMES = ("vmmem", "vmmemwsl", "vmmemcmzygote", "vmwp.exe")
"""Memory and worker of a virtual machine."""
PROCESS_LIST = '{"PropertyTypes":["ProcessList"]}'


class Containers:
    """Implements `hostscope.platforms.base.Containers`."""

    def __init__(self, running: Callable[[], bool] | None = None) -> None:
        """`running` says whether the Host Compute Service runs."""
        self._running = running or _service_runs
        self._read_s = -MAX_AGE_S
        self._systems: dict[str, parse.System] = {}
        self._members: dict[int, Container] = {}
        self._distributions: tuple[tuple[str, Container], ...] = ()

    def describe(self, container: Container) -> Container:
        """The same container with the name and image that local state tells."""
        self._refresh()
        known = self._systems.get(container.id)
        described = replace(known.container, name=container.name or known.container.name) if known else container
        return _with_docker(described)

    def containers(self) -> Iterator[Container]:
        """Every compute system, and every distribution of WSL that a user who is logged on has.

        Raises:
            Denied, NativeError, Unavailable: the Host Compute Service runs, but does not tell us; after what is known
                without it.
        """
        for _, distribution in _read_distributions():
            yield distribution
        try:
            systems = _read_systems(self._running)
        except OSError as failed:
            raise translate.error("HcsEnumerateComputeSystems", failed) from failed
        except ValueError as failed:
            raise Unavailable(f"the Host Compute Service: {failed}") from failed
        for system in systems:
            yield _with_docker(system.container)

    def at(
        self,
        pid: int,
        name: str,
        argv: tuple[str, ...] | None = None,
        native_path: str | None = None,
        user: str | None = None,
        subsystem: bool | None = None,
    ) -> Container | None:
        """The container of a process, by whatever is known of it; None for the host's own.

        Args:
            user: SID.
            subsystem: it is a Linux program of WSL 1.

        Cost: nothing but for the first one in `MAX_AGE_S`, which asks the service, once for each container.
        """
        self._refresh()
        return self._members.get(pid) or self._by_shape(name, argv, native_path, user, subsystem)

    def _by_shape(
        self,
        name: str,
        argv: tuple[str, ...] | None,
        native_path: str | None,
        user: str | None,
        subsystem: bool | None,
    ) -> Container | None:
        if name.lower() in MACHINE_NAMES and (machine := parse.machine_of(user or "")):
            return self._machine(machine, "state")
        if name.lower() == "vmwp.exe" and (machine := parse.machine_in(argv or ())):
            return self._machine(machine, "heuristic")
        if native_path and (disk := parse.disk_of(native_path)):
            return Container("unknown", disk, source="heuristic")
        return self._distribution(native_path or "") if subsystem else None

    def _machine(self, machine: str, source: str) -> Container:
        known = self._systems.get(machine)
        return known.container if known else Container("hyper-v", machine, source=source)

    def _distribution(self, native_path: str) -> Container:
        r"""By the distribution's folder, whose drive letter the kernel's path (``\Device\…``) does not have."""
        below = native_path.lower()
        for folder, container in self._distributions:
            if folder and folder in below:
                return replace(container, source="heuristic")
        return Container("wsl1", "wsl1", source="heuristic")

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s - self._read_s < MAX_AGE_S:
            return
        self._read_s = now_s
        with suppress(Error, OSError, ValueError):  # a listing of containers says why; a row falls back to shapes
            self._distributions = tuple(_read_distributions())
            systems = _read_systems(self._running)
            self._systems = {system.container.id: system for system in systems}
            self._members = {pid: system.container for system in systems for pid in _members(system)}


def _read_systems(running: Callable[[], bool]) -> tuple[parse.System, ...]:
    """All of them; none where there is no service, or it does not run.

    Raises:
        SystemRefused: 0x80070005 for who is neither administrator nor Hyper-V administrator.
        ValueError
    """
    if not running():
        return ()
    try:
        return parse.parse_systems(compute.enumerate_systems())
    except Unsupported:
        return ()


def _members(system: parse.System) -> tuple[int, ...]:
    if not system.has_host_processes:
        return ()
    with suppress(OSError, ValueError):  # it may have ended meanwhile
        return parse.parse_process_list(compute.properties(system.container.id, PROCESS_LIST))
    return ()


def _read_distributions() -> Iterator[tuple[str, Container]]:
    """Folder (lower case, without its drive) and container of each distribution, of every user whose hive is loaded."""
    for user in registry.names_below("HKU"):
        for guid in registry.names_below(f"HKU\\{user}\\{LXSS}"):
            values = registry.read_values(f"HKU\\{user}\\{LXSS}\\{guid}", ("DistributionName", "BasePath", "Version"))
            name, folder = values.get("DistributionName"), values.get("BasePath")
            if isinstance(name, str):
                runtime = "wsl1" if values.get("Version") == 1 else "wsl"
                container = Container(runtime, guid.strip("{}").lower(), name=name, source="state")
                yield _below_drive(folder) if isinstance(folder, str) else "", container


def _below_drive(folder: str) -> str:
    return folder.removeprefix("\\\\?\\").partition(":")[2].lower()


def _with_docker(container: Container) -> Container:
    """Docker's own state has names and images; an id comes from others, so it must be a plain one."""
    if container.runtime != "docker" or not container.id.isalnum():
        return container
    path = os.path.join(os.environ.get("PROGRAMDATA", ""), DOCKER, container.id, "config.v2.json")
    try:
        with open(path, "rb") as file:
            name, image = parse.parse_docker(file.read(parse.MAX_BYTES))
    except (OSError, ValueError):
        return container
    return replace(container, name=name or container.name, image=image)


def _service_runs() -> bool:
    """By its process, for the service manager's answer costs more and says no more."""
    return any(listed.name.lower() == SERVICE for listed in read_processes())
