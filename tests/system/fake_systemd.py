"""A stand-in for systemd's manager on a bus of the test. Run as a child: commands come as JSON lines, each answered.

Usage: fake_systemd.py ADDRESS [--no-signals]
"""

import json
import re
import selectors
import sys
from typing import Any

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

NAME, PATH, MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
FILES = {
    "ssh.service": ("/lib/systemd/system/ssh.service", "enabled"),
    "getty@.service": ("/lib/systemd/system/getty@.service", "enabled"),
    "off.service": ("/etc/systemd/system/off.service", "disabled"),
    "-.slice": ("/run/x/-.slice", "static"),
}


def path_of(unit: str) -> str:
    """Written anew here, to check the one under test."""
    return f"{PATH}/unit/" + re.sub("[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):02x}", unit)


class Manager:
    def __init__(self, address: str, signals: bool) -> None:
        self.connection = open_dbus_connection(address)
        self.signals = signals
        self.subscribed = False
        self.units: dict[str, tuple[str, str]] = {
            "ssh.service": ("active", "running"),
            "getty@tty1.service": ("active", "running"),
            "-.slice": ("active", "active"),
        }
        self.loaded: list[str] = []
        self.connection.send_and_get_reply(message_bus.RequestName(NAME))

    def serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(self.connection.sock, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.command(json.loads(line))
                    print("done", flush=True)
            self.answer_all()

    def answer_all(self) -> None:
        while True:
            try:
                message = self.connection.receive(timeout=0)
            except TimeoutError:
                return
            if message.header.message_type is MessageType.method_call:
                self.connection.send(self.answer(message))

    def answer(self, message: Message) -> Message:
        fields = message.header.fields
        method, path = fields[HeaderFields.member], fields[HeaderFields.path]
        handler = getattr(self, method, None)
        if handler is None:
            return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", (method,))
        return handler(message, path, *message.body)

    def ListUnits(self, message: Message, path: str) -> Message:
        rows = [
            (name, f"The {name}", "loaded", active, sub, "", path_of(name), 0, "", "/")
            for name, (active, sub) in self.units.items()
        ]
        return new_method_return(message, "a(ssssssouso)", (rows,))

    def ListUnitFiles(self, message: Message, path: str) -> Message:
        return new_method_return(message, "a(ss)", (list(FILES.values()),))

    def ListUnitFilesByPatterns(self, message: Message, path: str, states: list[str], names: list[str]) -> Message:
        return new_method_return(message, "a(ss)", ([FILES[name] for name in names if name in FILES],))

    def Subscribe(self, message: Message, path: str) -> Message:
        if not self.signals:
            return new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "s", ("not you",))
        self.subscribed = True
        return new_method_return(message)

    def GetUnit(self, message: Message, path: str, name: str) -> Message:
        if name not in self.units:
            return new_error(message, f"{NAME}.NoSuchUnit", "s", (f"Unit {name} not loaded.",))
        return new_method_return(message, "o", (path_of(name),))

    def GetAll(self, message: Message, path: str, interface: str) -> Message:
        name = next((name for name in self.units if path_of(name) == path), None)
        if name is None:
            return new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "s", (path,))
        active, sub = self.units[name]
        file, mode = FILES.get(name, ("", ""))
        values = {
            "Id": name, "Description": f"The {name}", "LoadState": "loaded", "ActiveState": active, "SubState": sub,
            "UnitFileState": mode, "FragmentPath": file,
        }  # fmt: skip
        return new_method_return(message, "a{sv}", ({key: ("s", value) for key, value in values.items()},))

    def Get(self, message: Message, path: str, interface: str, name: str) -> Message:
        return new_method_return(message, "v", (("u", 4242) if name == "MainPID" else ("s", "system.slice"),))

    def command(self, command: list[Any]) -> None:
        kind, *arguments = command
        getattr(self, f"do_{kind}")(*arguments)

    def do_set(self, unit: str, active: str, sub: str, pid: int = 0) -> None:
        self.units[unit] = (active, sub)
        if pid:
            self.emit_properties(unit, "Service", {"MainPID": ("u", pid)})
        self.emit_properties(unit, "Unit", {"ActiveState": ("s", active), "SubState": ("s", sub)})

    def do_new(self, unit: str, active: str, sub: str) -> None:
        self.units[unit] = (active, sub)
        self.emit(PATH, MANAGER, "UnitNew", "so", (unit, path_of(unit)))

    def do_remove(self, unit: str) -> None:
        del self.units[unit]
        self.emit(PATH, MANAGER, "UnitRemoved", "so", (unit, path_of(unit)))

    def do_silent(self, unit: str, active: str, sub: str) -> None:
        self.units[unit] = (active, sub)

    def do_job(self, unit: str) -> None:
        self.emit(PATH, MANAGER, "JobRemoved", "uoss", (7, f"{PATH}/job/7", unit, "done"))

    def do_release(self) -> None:
        self.connection.send_and_get_reply(message_bus.ReleaseName(NAME))

    def do_request(self) -> None:
        self.connection.send_and_get_reply(message_bus.RequestName(NAME))

    def emit_properties(self, unit: str, interface: str, values: dict[str, Any]) -> None:
        body = (f"{NAME}.{interface}", values, [])
        self.emit(path_of(unit), "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body)

    def emit(self, path: str, interface: str, member: str, signature: str, body: tuple[Any, ...]) -> None:
        if self.signals:
            self.connection.send(new_signal(DBusAddress(path, interface=interface), member, signature, body))


if __name__ == "__main__":
    Manager(sys.argv[1], "--no-signals" not in sys.argv).serve()
