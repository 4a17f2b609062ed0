"""systemd's units: asked over D-Bus, watched over D-Bus or by polling."""

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hostscope.errors import Denied, Gone, HostError, Unavailable
from hostscope.model.event import Event
from hostscope.model.service import ServiceState
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.systemd import SYSTEMD, list_units, read_file, read_unit
from hostscope.platforms.linux.units import is_unit_name
from hostscope.platforms.linux.user_services import UserServices, not_listed, unit_of

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus


class Services:
    """Implements `hostscope.platforms.base.Services`. Of users' own managers units are listed, and no changes seen."""

    def __init__(
        self, root: str = "/", addresses: tuple[str, ...] | None = None, privileges: Privileges | None = None
    ) -> None:
        """`addresses` are tried in turn; one that ends in ``/systemd/private`` is systemd itself, without a bus."""
        self._root = root.rstrip("/")
        self._users = UserServices(self._root, privileges)
        self._addresses = addresses or (
            f"unix:path={self._root}/run/dbus/system_bus_socket",
            f"unix:path={self._root}/run/systemd/private",
        )

    def services(self) -> Iterator[ServiceState]:
        """Every unit that is loaded, the system's first, then those of each user with a manager.

        A user whose manager cannot be asked is a gap ``user_units`` in the row of ``user@UID.service``.

        Raises:
            Unavailable: systemd is not the init, or does not answer.
            Denied: the bus refused.

        Source: ``ListUnits`` and ``ListUnitFiles`` of org.freedesktop.systemd1.Manager.
        Cost: two calls for each manager, 10 ms for 300 units.
        """
        with self._connect() as bus:
            units = list_units(bus)
        of_users: list[ServiceState] = []
        for uid in self._users.uids():
            try:
                of_users += self._users.units(uid).values()
            except (HostError, Denied) as failed:
                row = units.get(unit_of(uid)) or ServiceState(unit_of(uid), "systemd", "service")
                units[row.name] = replace(row, gaps=(*row.gaps, not_listed(uid, failed)))
        yield from units.values()
        yield from of_users

    def service(self, name: str) -> ServiceState:
        """One unit, loaded or not; asking does not load it.

        Raises:
            Gone: no unit has that name.
            Unavailable, Denied: as `services`.

        Source: ``GetUnit``, properties of the unit, else ``ListUnitFilesByPatterns`` (systemd 230).
        """
        if not is_unit_name(name):
            raise Gone(f"no unit can be called {name!r}")
        with self._connect() as bus:
            try:
                return read_unit(bus, name)
            except Gone:
                return read_file(bus, name)

    def changes(self, stop: threading.Event, interval_s: float) -> Iterator[Event]:
        """State changes until `stop`, after a first event that says how they are seen.

        systemd's own signals (source ``dbus``) show each state, however short. Where it gives none, units are listed
        every `interval_s`, and where it cannot be reached at all, the control groups of services are (both
        ``polling``, which misses what comes and goes in between). What may have been missed is a `Loss` at its place.

        Raises:
            Unavailable: systemd is not the init.
        """
        self._require_systemd()
        from hostscope.platforms.linux.service_changes import ServiceChanges

        return ServiceChanges(self._connect, f"{self._root}/sys/fs/cgroup", stop, interval_s).events()

    def _connect(self) -> "Bus":
        """A connection to systemd.

        Raises:
            Unavailable, Denied
        """
        self._require_systemd()
        from hostscope.platforms.linux.bus import Bus  # jeepney takes 25 ms to import

        failures: list[HostError | Denied] = []
        for address in self._addresses:
            try:
                return Bus(address, SYSTEMD, private=address.endswith("/systemd/private"))
            except (HostError, Denied) as failed:
                failures.append(failed)
        raise failures[0]

    def _require_systemd(self) -> None:
        """/run/systemd/system is there if and only if systemd is the init (sd_booted(3))."""
        if not os.path.isdir(f"{self._root}/run/systemd/system"):
            raise Unavailable("systemd is not the init of this host", "other service managers are not supported")
