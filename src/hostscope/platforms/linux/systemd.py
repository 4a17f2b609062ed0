"""Questions to systemd's manager, each one or a few calls. Source: org.freedesktop.systemd1(5)."""

from contextlib import suppress
from typing import TYPE_CHECKING

from hostscope.errors import Gone
from hostscope.model.gap import Gap, Reason
from hostscope.model.service import ServiceState
from hostscope.platforms.linux.units import (
    FILES_SIGNATURE,
    UNITS_SIGNATURE,
    parse_properties,
    parse_unit,
    parse_unit_files,
    template,
    unit_type,
)

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus

SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"

MAX_UNITS = 100_000
_OWN = {"service": "Service", "scope": "Scope", "socket": "Socket", "mount": "Mount", "swap": "Swap"}
"""Types whose interface has the slice (and for services the main process)."""


def list_units(bus: "Bus") -> dict[str, ServiceState]:
    """Every loaded unit by name. Raises `Unavailable`, `Denied`."""
    (files,) = bus.call(MANAGER_PATH, MANAGER, "ListUnitFiles", returns=FILES_SIGNATURE)
    (units,) = bus.call(MANAGER_PATH, MANAGER, "ListUnits", returns=UNITS_SIGNATURE)
    known = parse_unit_files(files)
    states = (parse_unit(entry, known) for entry in units[:MAX_UNITS])
    return {state.name: state for state in states}


def read_unit(bus: "Bus", name: str) -> ServiceState:
    """One loaded unit. Raises `Gone`, `Unavailable`, `Denied`."""
    (path,) = bus.call(MANAGER_PATH, MANAGER, "GetUnit", "s", (name,), returns="o")
    (unit,) = bus.call(path, PROPERTIES, "GetAll", "s", (f"{SYSTEMD}.Unit",), returns="a{sv}")
    own: dict[str, object] = {}
    interface = f"{SYSTEMD}.{_OWN.get(unit_type(name))}"
    if unit_type(name) in _OWN:
        for prop in ("Slice", "MainPID") if unit_type(name) == "service" else ("Slice",):
            with suppress(Gone):
                (own[prop],) = bus.call(path, PROPERTIES, "Get", "ss", (interface, prop), returns="v")
    return parse_properties(name, unit, own)


def read_file(bus: "Bus", name: str) -> ServiceState:
    """A unit that is not loaded, so it is inactive; its file is all there is."""
    wanted = [name] if "@" not in name else [name, template(name)]
    (entries,) = bus.call(
        MANAGER_PATH, MANAGER, "ListUnitFilesByPatterns", "asas", ([], wanted), returns=FILES_SIGNATURE
    )
    files = parse_unit_files(entries)
    found = next((files[unit] for unit in wanted if unit in files), None)
    if found is None:
        raise Gone(f"no unit is called {name}")
    gap = Gap("description", Reason.UNAVAILABLE, "the unit is not loaded")
    return ServiceState(
        name, "systemd", unit_type(name), state="inactive", substate="dead",
        start_mode=found[1] if name in files else None, path=found[0], gaps=(gap,),
    )  # fmt: skip
