"""State changes of systemd's units, one event each: from its signals, or by comparing lists."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hostscope.errors import Denied, HostError
from hostscope.model.coverage import Coverage
from hostscope.model.event import Body, CoverageChange, Event, Loss, ServiceChange
from hostscope.model.service import ServiceState
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.cgroups import place
from hostscope.platforms.linux.systemd import (
    MANAGER,
    MANAGER_PATH,
    PROPERTIES,
    SYSTEMD,
    list_units,
)
from hostscope.platforms.linux.units import (
    apply_change,
    differs,
    format_unit_path,
    of_group,
    parse_listed,
    parse_unit_path,
    without_group,
)

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus, Received

SCHEMAS: Mapping[type, str] = {
    ServiceChange: "hostscope.service_change/1",
    Loss: "hostscope.loss/1",
    CoverageChange: "hostscope.coverage/1",
}
GROUPS = "control groups"
WAIT_S = 0.2
"""How long a set `stop` may go unnoticed."""
MAX_ASKED = 4096
MAX_GROUPS = 50_000

MATCHES = (
    f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',path='{MANAGER_PATH}'",
    f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',member='PropertiesChanged',"
    f"path_namespace='{MANAGER_PATH}/unit'",
    f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SYSTEMD}'",
)
"""UnitNew, UnitRemoved, JobRemoved; states; systemd leaving the bus or coming back (daemon-reexec)."""

States = dict[str, ServiceState]


class _Interrupted(Exception):
    """Signals were missed from here on."""


class ServiceChanges:
    """One stream. It keeps the last state of each unit, to tell what changed and what an interruption hid."""

    def __init__(self, connect: Callable[[], "Bus"], groups: str, stop: threading.Event, interval_s: float) -> None:
        """`connect` gives connections to systemd, or raises `Unavailable` or `Denied`."""
        self._connect = connect
        self._groups = groups
        self._stop = stop
        self._interval_s = interval_s
        self._seq = 0
        self._way: tuple[str, str | None] | None = None
        self._listening = False
        self._asked: dict[int, str] = {}
        """Unit by the serial of a call whose answer has not come yet."""
        self._known: dict[bool, States] = {}
        """Last states, by whether they are of control groups: the two cannot be compared with each other."""

    def events(self) -> Iterator[Event]:
        """Until `stop`: signals, after each interruption what it hid, and polling while there is no systemd to ask."""
        while not self._stop.is_set():
            try:
                with self._connect() as bus:
                    yield from self._from_bus(bus)
            except (HostError, Denied) as failed:
                yield from self._interruption(f"systemd cannot be reached: {failed}")
                yield from self._by_groups(str(failed))
            except _Interrupted as missed:
                yield from self._interruption(str(missed))

    def _from_bus(self, bus: "Bus") -> Iterator[Event]:
        refused = _subscribe(bus)
        units = list_units(bus)  # Signals that came before the list are in it, and dropped.
        self._asked.clear()
        yield from self._resume(units, "polling" if refused else "dbus", refused)
        self._listening = not refused
        if refused:
            yield from self._poll(lambda: list_units(bus))
        while not self._stop.is_set():
            message = bus.receive(WAIT_S)
            if message is not None:
                yield from self._of_message(bus, message)

    # Signals ----------------------------------------------------------------------------------------------------------

    def _of_message(self, bus: "Bus", message: "Received") -> Iterator[Event]:
        what, body = (message.member, message.signature), message.body
        if message.reply_to is not None:
            yield from self._answered(message.reply_to, message.signature, body)
        elif what == ("PropertiesChanged", "sa{sv}as"):
            yield from self._changed(bus, message.path or "", body[1])
        elif what == ("UnitNew", "so"):
            self._ask(bus, body[0])
        elif what == ("JobRemoved", "uoss") and body[2] in self._states:
            self._ask(bus, body[2])  # Only of what is loaded: asking for another unit would load it.
        elif what == ("UnitRemoved", "so"):
            yield from self._now(body[0], None, "dbus")
        elif message.member == "NameOwnerChanged":
            raise _Interrupted("systemd left the bus or came back to it")

    def _changed(self, bus: "Bus", path: str, changed: dict[str, Any]) -> Iterator[Event]:
        name = parse_unit_path(path)
        before = self._states.get(name) if name else None
        if name and before is None:
            self._ask(bus, name)
        elif name and before is not None:
            yield from self._now(name, apply_change(before, changed), "dbus")

    def _ask(self, bus: "Bus", name: str) -> None:
        """Asks for a unit's state without waiting, so that the answer comes in its place among the signals."""
        if len(self._asked) < MAX_ASKED:
            serial = bus.post(format_unit_path(name), PROPERTIES, "GetAll", "s", (f"{SYSTEMD}.Unit",))
            self._asked[serial] = name
        else:
            raise _Interrupted("more units changed than could be asked for")

    def _answered(self, serial: int, signature: str | None, body: tuple[Any, ...]) -> Iterator[Event]:
        """An error means that the unit came and went: its UnitRemoved follows."""
        name = self._asked.pop(serial, None)
        if name is not None and signature == "a{sv}":
            before = self._states.get(name)
            after = apply_change(before, body[0]) if before else parse_listed(name, body[0])
            yield from self._now(name, after, "dbus")

    def _now(self, name: str, after: ServiceState | None, source: str) -> Iterator[Event]:
        before = self._states.pop(name, None)
        if after is not None:
            self._states[name] = after
        if differs(before, after):
            yield self._event(source, ServiceChange(before, after))

    @property
    def _by_group(self) -> bool:
        return self._way is not None and self._way[0] == GROUPS

    @property
    def _states(self) -> States:
        return self._known[self._by_group]

    # Polling ----------------------------------------------------------------------------------------------------------

    def _by_groups(self, reason: str) -> Iterator[Event]:
        """Compares control groups once, then lets systemd be tried again."""
        yield from self._resume(read_groups(self._groups), GROUPS, reason)
        self._stop.wait(self._interval_s)

    def _poll(self, read: Callable[[], States]) -> Iterator[Event]:
        while not self._stop.wait(self._interval_s):
            yield from self._compare(read())

    def _resume(self, after: States, method: str, reason: str | None) -> Iterator[Event]:
        """What holds from here on: the way of looking if it is another one, and what changed unseen."""
        if self._way != (method, reason):
            if not self._by_group:
                self._known.pop(True, None)
            self._way = (method, reason)
            source = "dbus" if method == "dbus" else "polling"
            yield self._event(source, CoverageChange(_coverage(method, reason, len(after))))
        if self._by_group in self._known:
            yield from self._compare(after)
        self._known[self._by_group] = after

    def _compare(self, after: States) -> Iterator[Event]:
        before = dict(self._states)
        for name in sorted(before.keys() | after.keys()):
            gone = without_group(before[name]) if self._by_group and name in before else None
            yield from self._now(name, after.get(name, gone), "polling")
        self._known[self._by_group] = after

    def _interruption(self, reason: str) -> Iterator[Event]:
        """A loss, once, if signals were listened to: of one event at least, for nobody counts what is not sent."""
        if self._listening:
            self._listening = False
            yield self._event("dbus", Loss(1, f"{reason}; at least one event may be missing"))

    def _event(self, source: str, body: Body) -> Event:
        event = Event(SCHEMAS[type(body)], source, self._seq, time.time_ns(), time.monotonic_ns(), None, body)
        self._seq += 1
        return event


def _subscribe(bus: "Bus") -> str | None:
    """Asks for signals; why there will be none, or None."""
    try:
        for rule in MATCHES:
            bus.match(rule)
        bus.call(MANAGER_PATH, MANAGER, "Subscribe")
    except (HostError, Denied) as failed:
        return str(failed)
    return None


def _coverage(method: str, reason: str | None, units: int) -> Coverage:
    notes = ["units of users' own managers are not watched"]
    if method == GROUPS:
        notes.append("only services with processes show, and only whether they run")
    return Coverage(method, reason, seen=units, rows=units, notes=tuple(notes))


def read_groups(mount: str) -> States:
    """Services of the system's manager that have a control group, by name."""
    unified = os.path.exists(f"{mount}/cgroup.controllers")
    tops = [mount] if unified else [f"{mount}/unified", f"{mount}/systemd"]
    found: States = {}
    for top in tops:
        for count, (folder, below, _) in enumerate(os.walk(encode(top))):
            path = decode(folder)[len(top) :]
            container, service = place(path)
            if count >= MAX_GROUPS or container is not None:
                below.clear()
            elif service and service.user is None and service.name == path.rpartition("/")[2].removeprefix("_"):
                if service.name.endswith(".service"):
                    found[service.name] = of_group(service.name, service.slice)
                below.clear()
    return found
