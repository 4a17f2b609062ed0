"""Stand-ins for systemd-resolved and NetworkManager on a bus of the test. Run as a child; ends with its input.

Usage: fake_resolvers.py ADDRESS resolved|networkmanager [--old] [--refuse]
"""

import selectors
import socket
import sys
from ipaddress import ip_address
from typing import Any

from jeepney import HeaderFields, Message, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

Values = dict[str, tuple[str, Any]]
LOOPBACK = 1
"""Index of `lo`, in every network namespace."""
GONE = 424_242


def server(text: str, *more: Any) -> tuple[Any, ...]:
    address = ip_address(text)
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed, *more)


HOST: Values = {
    "DNSEx": (
        "a(iiayqs)",
        [
            (0, *server("192.0.2.1", 0, "")),
            (LOOPBACK, *server("192.0.2.53", 0, "dns.example")),
            (LOOPBACK, *server("2001:db8::53", 5300, "")),
            (GONE, *server("192.0.2.99", 0, "")),
        ],
    ),
    "DNS": ("a(iiay)", [(0, *server("192.0.2.1")), (LOOPBACK, *server("192.0.2.53"))]),
    "FallbackDNSEx": ("a(iiayqs)", [(0, *server("198.51.100.1", 0, ""))]),
    "CurrentDNSServerEx": ("(iiayqs)", (0, *server("192.0.2.1", 0, ""))),
    "Domains": ("a(isb)", [(0, "all.example", False), (LOOPBACK, "corp.example", False), (LOOPBACK, ".", True)]),
    "DNSOverTLS": ("s", "no"),
    "DNSSEC": ("s", "allow-downgrade"),
    "LLMNR": ("s", "no"),
    "MulticastDNS": ("s", "no"),
}
LINK: Values = {
    "DNSOverTLS": ("s", "yes"),
    "CurrentDNSServerEx": ("(iayqs)", server("2001:db8::53", 5300, "")),
    "DefaultRoute": ("b", True),
    "LLMNR": ("s", "yes"),
}
NEW = ("DNSEx", "FallbackDNSEx", "CurrentDNSServerEx")
"""Properties since systemd 246."""
NETWORK: Values = {
    "Mode": ("s", "systemd-resolved"),
    "RcManager": ("s", "symlink"),
    "Configuration": (
        "aa{sv}",
        [
            {
                "nameservers": ("as", ["192.0.2.7", "dns+tls://192.0.2.8#dot.example"]),
                "domains": ("as", ["home.example", "~work.example"]),
                "interface": ("s", "wlan0"),
                "priority": ("i", 100),
                "vpn": ("b", False),
            },
            {
                "nameservers": ("as", ["10.8.0.1"]),
                "interface": ("s", "tun0"),
                "priority": ("i", 50),
                "vpn": ("b", True),
            },
        ],
    ),
}


class Service:
    """Answers properties and GetLink."""

    def __init__(self, address: str, kind: str, options: list[str]) -> None:
        self.connection = open_dbus_connection(address)
        self.old, self.refuse = "--old" in options, "--refuse" in options
        name = {"resolved": "org.freedesktop.resolve1", "networkmanager": "org.freedesktop.NetworkManager"}[kind]
        self.name = name
        self.connection.send_and_get_reply(message_bus.RequestName(name))

    def serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(self.connection.sock, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
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
        if self.refuse:
            return new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "s", ("not you",))
        if message.header.fields[HeaderFields.member] == "GetLink":
            (index,) = message.body
            if index == GONE:
                return new_error(message, f"{self.name}.NoSuchLink", "s", (f"Link {index} not known",))
            return new_method_return(message, "o", (f"/org/freedesktop/resolve1/link/_3{index}",))
        return new_method_return(message, "a{sv}", (self.properties(*message.body),))

    def properties(self, interface: str) -> Values:
        values = {"org.freedesktop.resolve1.Manager": HOST, "org.freedesktop.resolve1.Link": LINK}.get(
            interface, NETWORK
        )
        return {name: value for name, value in values.items() if not (self.old and name in NEW)}


if __name__ == "__main__":
    Service(sys.argv[1], sys.argv[2], sys.argv[3:]).serve()
