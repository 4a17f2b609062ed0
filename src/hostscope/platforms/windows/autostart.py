"""Live commands that the service control manager runs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostscope.errors import Refused, UsageError
from hostscope.model.service import ServiceStep
from hostscope.platforms.windows.native import services as native
from hostscope.platforms.windows.parse_services import parse_config
from hostscope.platforms.windows.services import ERROR_INVALID_NAME, translated

ERROR_SERVICE_EXISTS = 1073
MARK = ("-m", "hostscope", "service", "run")
"""What a command line of ours has after the interpreter."""


class Autostart:
    """Implements `hostscope.platforms.base_program.Autostart`."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        """Registers a service of its own process, started on demand, as LocalSystem.

        Raises:
            UsageError: something has the name already, or nothing can have it.
            Denied: needs an administrator. NativeError
        """
        command = command_line(name, arguments)
        access = native.SC_MANAGER_CONNECT | native.SC_MANAGER_CREATE_SERVICE
        with (
            translated(name),
            _installing(name),
            native.opened_manager(access) as manager,
            native.created_service(manager, name, command),
        ):
            return command

    def act(self, name: str, step: ServiceStep) -> None:
        """Starts it, asks it to stop, or marks it for deletion.

        Raises:
            Gone: there is no such service.
            Refused: it is not ours.
            Denied, NativeError
        """
        access, call = _STEPS[step]
        _check(name)
        with (
            translated(name),
            native.opened_manager() as manager,
            native.opened_service(manager, name, access) as service,
        ):
            call(service)


_STEPS: dict[ServiceStep, tuple[int, Callable[[int], None]]] = {
    "start": (native.SERVICE_START, native.start_service),
    "stop": (native.SERVICE_STOP, native.stop_service),
    "remove": (native.DELETE, native.delete_service),
}


def _check(name: str) -> None:
    """Raises `Refused` for a service that is not ours; `Gone`, `Denied`."""
    with (
        translated(name),
        native.opened_manager() as manager,
        native.opened_service(manager, name, native.SERVICE_QUERY_CONFIG) as service,
    ):
        found = parse_config(*native.read_config(service)).command or ""
    if f" {subprocess.list2cmdline([*MARK, name])} " not in f"{found} ":
        raise Refused(f"service {name} is not ours: it runs {found}", "not-ours: sc.exe manages any service")


def command_line(name: str, arguments: tuple[str, ...]) -> str:
    """What the manager is to run: this interpreter, with this package."""
    return subprocess.list2cmdline([sys.executable, *MARK, name, "--", *arguments])


@contextmanager
def _installing(name: str) -> Iterator[None]:
    """What stands in the way of a new service, as ours."""
    try:
        yield
    except OSError as failed:
        code = getattr(failed, "winerror", None)
        if code == ERROR_SERVICE_EXISTS:
            raise UsageError(f"there is a service called {name!r} already", "give another name") from failed
        if code == ERROR_INVALID_NAME:
            raise UsageError(f"no service can be called {name!r}", "leave slashes out") from failed
        raise
