"""Services and drivers, by the service control manager; its own notices of changes, else polling."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from hostscope.errors import Error, Gone, Unavailable
from hostscope.model.event import Event
from hostscope.model.gap import Gap
from hostscope.model.service import ScmEntry, ServiceState
from hostscope.platforms.windows import registry, translate
from hostscope.platforms.windows.attempts import as_gap, attempt, value_of
from hostscope.platforms.windows.native import folders
from hostscope.platforms.windows.native import services as native
from hostscope.platforms.windows.parse_services import (
    Config,
    Listed,
    Status,
    expanded,
    parse_config,
    parse_delayed,
    parse_description,
    parse_list,
    parse_status,
    parse_triggers,
    program_of,
)

MANAGER = "scm"
HOST = "\\svchost.exe"
KEYS = r"HKLM\SYSTEM\CurrentControlSet\Services"
LIBRARY = "ServiceDll"
STATE_OF = {
    "running": "active",
    "paused": "active",
    "continue-pending": "active",
    "pause-pending": "active",
    "start-pending": "activating",
    "stop-pending": "deactivating",
}
ORDINARY_ENDS = frozenset({0, native.ERROR_SERVICE_NEVER_STARTED})
ERROR_SERVICE_SPECIFIC_ERROR = 1066
ERROR_INVALID_NAME = 123
NO_SUCH_SERVICE = frozenset({native.ERROR_SERVICE_DOES_NOT_EXIST, ERROR_INVALID_NAME})
_CONFIGURED = ("start_mode", "path", "description", "scm")
"""Fields that a service's own handle is needed for."""


class Services:
    """Implements `hostscope.platforms.base.Services`."""

    def services(self) -> Iterator[ServiceState]:
        """Every service and driver that is installed, in the manager's order.

        Raises:
            Denied, NativeError, Unavailable

        Source: EnumServicesStatusExW, QueryServiceConfigW, QueryServiceConfig2W (description, delay, triggers); the
        registry for libraries of service hosts.
        Cost: a call for about 300 services, and six for each of them; three more for those in service hosts.
        """
        with translated(), native.opened_manager() as manager:
            for listed in list_all(manager):
                yield _complete(manager, listed)

    def service(self, name: str) -> ServiceState:
        """One service, by its name (not its display name).

        Raises:
            Gone: no service has that name.
            Denied, NativeError
        """
        with translated(name), native.opened_manager() as manager:
            with native.opened_service(manager, name, native.SERVICE_QUERY_STATUS) as service:
                status = parse_status(bytes(native.read_status(service)))
            return _complete(manager, Listed(name, None, status))

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        """State changes until `stop`, after a first event that says how they are seen.

        The manager's notices (source ``scm``) show each change of a service's state; where it gives none, states are
        compared every `interval_s` (``polling``, which misses what comes and goes in between).

        Raises:
            Denied, NativeError
        """
        from hostscope.platforms.windows.service_changes import ServiceChanges

        return ServiceChanges(stop, interval_s).events()


def list_all(manager: int, kinds: int = native.SERVICE_WIN32 | native.SERVICE_DRIVER) -> Iterator[Listed]:
    """The manager's list, without configurations. Raises OSError, ValueError."""
    for raw, address, count in native.list_services(manager, kinds):
        yield from parse_list(raw, address, count)


def services_by_pid() -> dict[int, tuple[str, ...]]:
    """Names of the services that each process hosts.

    Raises:
        Denied, NativeError, Unavailable

    Cost: two calls in all.
    """
    found: dict[int, tuple[str, ...]] = {}
    with translated(), native.opened_manager() as manager:
        for listed in list_all(manager, native.SERVICE_WIN32):
            if listed.status.pid is not None:
                found[listed.status.pid] = (*found.get(listed.status.pid, ()), listed.name)
    return found


def state_of(listed: Listed) -> ServiceState:
    """What the list tells of a service."""
    status = listed.status
    return ServiceState(
        name=listed.name,
        manager=MANAGER,
        type="driver" if "driver" in status.kind else "service",
        description=listed.display_name,
        state=active_word(status),
        substate=status.state,
        main_pid=status.pid,
        scm=ScmEntry(status.kind, exit_code=exit_code(status)),
    )


def exit_code(status: Status) -> int | None:
    """What a service that ended gave; None while it runs, and where it never did."""
    if status.state != "stopped" or status.exit_code == native.ERROR_SERVICE_NEVER_STARTED:
        return None
    return status.specific_exit_code if status.exit_code == ERROR_SERVICE_SPECIFIC_ERROR else status.exit_code


def active_word(status: Status) -> str:
    """As in `ServiceState.state`."""
    return STATE_OF.get(status.state) or ("inactive" if status.exit_code in ORDINARY_ENDS else "failed")


def _complete(manager: int, listed: Listed) -> ServiceState:
    """The same with its configuration, or with gaps where that could not be read."""
    state = state_of(listed)
    try:
        with native.opened_service(manager, listed.name, native.SERVICE_QUERY_CONFIG) as service:
            return _configured(state, service)
    except (OSError, ValueError) as failed:
        return replace(state, gaps=tuple(as_gap(field, failed) for field in _CONFIGURED))


def _configured(state: ServiceState, service: int) -> ServiceState:
    config, gaps = parse_config(*native.read_config(service)), list[Gap]()
    found = attempt("description", _description, service)
    entry = _driver(state, config) if state.type == "driver" else _service(state, config, service, gaps)
    entry = _with_program(state.name, entry, gaps)
    return replace(
        state,
        description=value_of(found, gaps) or state.description,
        start_mode=config.start,
        path=config.command,
        load="loaded",
        scm=entry,
        gaps=tuple(gaps),
    )


def _driver(state: ServiceState, config: Config) -> ScmEntry:
    return ScmEntry(
        kind=state.scm.kind if state.scm else "",
        command=config.command,
        group=config.group,
        dependencies=config.dependencies,
        error_control=config.error_control,
        exit_code=state.scm.exit_code if state.scm else None,
    )


def _service(state: ServiceState, config: Config, service: int, gaps: list[Gap]) -> ScmEntry:
    return replace(
        _driver(state, config),
        account=config.account,
        delayed=value_of(attempt("scm.delayed", _delayed, service), gaps),
        triggers=value_of(attempt("scm.triggers", _triggers, service), gaps),
    )


def _with_program(name: str, entry: ScmEntry, gaps: list[Gap]) -> ScmEntry:
    """Drivers without a path are in the folder of drivers."""
    root = value_of(attempt("scm.program", folders.system_root), gaps)
    if root is None:
        return entry
    driver = f"{root}\\System32\\drivers\\{name}.sys" if "driver" in entry.kind else None
    program = program_of(entry.command or "", root) or driver
    if program is None or not program.lower().endswith(HOST):
        return replace(entry, program=program)
    library = value_of(attempt("scm.library", lambda: _library(name)), gaps)
    return replace(entry, program=program, library=expanded(library, root) if library else None)


def _library(name: str) -> str | None:
    """ServiceDll stands in the service's parameters; of some services in its own key."""
    return registry.read_text(f"{KEYS}\\{name}\\Parameters", LIBRARY) or registry.read_text(f"{KEYS}\\{name}", LIBRARY)


def _description(service: int) -> str | None:
    return parse_description(*native.read_extra(service, native.SERVICE_CONFIG_DESCRIPTION))


def _delayed(service: int) -> bool:
    return parse_delayed(native.read_extra(service, native.SERVICE_CONFIG_DELAYED_AUTO_START_INFO)[0])


def _triggers(service: int) -> tuple[str, ...]:
    return parse_triggers(*native.read_extra(service, native.SERVICE_CONFIG_TRIGGER_INFO))


@contextmanager
def translated(name: str | None = None) -> Iterator[None]:
    """The system's errors as ours."""
    try:
        yield
    except Error:
        raise  # ours resemble the system's
    except OSError as failed:
        if getattr(failed, "winerror", None) in NO_SUCH_SERVICE:
            raise Gone(f"no service is called {name!r}") from failed
        raise translate.error(getattr(failed, "call", "the service control manager"), failed) from failed
    except ValueError as nonsense:
        raise Unavailable(f"the service control manager: {nonsense}") from nonsense
