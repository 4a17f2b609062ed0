"""Traffic by process, told by the kernel's events."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hostscope.errors import UsageError
from hostscope.model.interface import Interface
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms import base_network
from hostscope.platforms.base_network import Meter
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.etw import open_session
from hostscope.platforms.windows.etw_flows import EtwFlows
from hostscope.platforms.windows.etw_meter import METHOD, MISSES, NAMES, NETWORK, STARTS, EtwMeter, named_interfaces
from hostscope.platforms.windows.etw_processes import People
from hostscope.platforms.windows.process_list import read_processes

METHODS = (METHOD, "accounting")
"""The second is what other systems call counting payload in the kernel: here events are what does it."""
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


class Traffic:
    """Implements `hostscope.platforms.base_network.Traffic`."""

    def __init__(self, boot: Boot, interfaces: base_network.Interfaces) -> None:
        self._boot, self._interfaces = boot, interfaces

    @contextmanager
    def open(self, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
        """See `Traffic.open`: ``etw``.

        Needs: an administrator.
        Source: the providers Microsoft-Windows-Kernel-Network, -Kernel-Process and -DNS-Client (Windows 8.1).

        Raises:
            UsageError: `request.method` is no method of this system, or an interface does not exist.
            Denied, Unavailable, Unsupported
        """
        if request.method is not None and request.method not in METHODS:
            raise UsageError(f"there is no method {request.method!r}", "methods here: etw, capture, polling")
        before = named_interfaces(self._interfaces.interfaces(Tally()), request.interfaces)
        stop, names = threading.Event(), request.names is not False
        providers = (NETWORK, STARTS, NAMES) if names else (NETWORK, STARTS)
        with open_session(providers, stop, tally) as session:
            people = People(self._boot, read_processes)
            ours = self._addresses()
            flows = EtwFlows(people, ours, request.max_flows, request.connections, names)
            meter = EtwMeter(session, flows, lambda: self._named(tuple(before)), stop)
            tally.method = METHOD
            tally.note(f"counts {MISSES}")
            with meter.running():
                yield meter
            if flows.unreadable:
                tally.note(f"{flows.unreadable} events could not be read")

    def _named(self, names: tuple[str, ...]) -> dict[str, Interface]:
        """Those that were there in the beginning, as far as they still are."""
        return {one.name: one for one in self._interfaces.interfaces(Tally()) if one.name in names}

    def _addresses(self) -> list[bytes]:
        """All of ours, those of interfaces that were not named included."""
        found = (address for one in self._interfaces.interfaces(Tally()) for address in one.addresses)
        return [socket.inet_pton(_FAMILIES[one.family], one.address) for one in found]
