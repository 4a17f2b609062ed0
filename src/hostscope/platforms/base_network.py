"""What a system can be asked about its network: see `hostscope.platforms.base`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # its module brings NumPy along
    from hostscope.model.capture import CaptureCounts, CaptureInterface, CaptureRequest
    from hostscope.model.dns import DnsQuery, Resolver
    from hostscope.model.interface import Interface
    from hostscope.model.socket import Socket, SocketRequest
    from hostscope.model.traffic import Reading, TrafficRequest
    from hostscope.platforms.tally import Tally
    from hostscope.wire.batch import PacketBatch


class Sockets(Protocol):
    """Sockets and their owners."""

    def sweep(self, request: SocketRequest, tally: Tally) -> Iterator[Socket]:
        """Every socket; `tally` is whole at the end.

        Raises:
            UsageError: `request.method` is no method of this system.
            Unsupported, Denied: the named method cannot be used here; at the latest with the first row.
        """

    def owners(self, port: int) -> tuple[int, ...]:
        """Pids of the processes with a TCP or UDP socket bound to a local port, listeners first."""


class Meter(Protocol):
    """Counts traffic from when it was opened until it is closed."""

    method: str
    """As in `TrafficRequest.method`."""

    def read(self) -> Reading:
        """Everything counted since the meter was opened; flows that ended included."""


class Traffic(Protocol):
    """Traffic by process."""

    def open(self, request: TrafficRequest, tally: Tally) -> AbstractContextManager[Meter]:
        """Starts to count; `tally` says by which method, why not a better one, and what it misses.

        Raises:
            UsageError: `request.method` is no method of this system, or an interface does not exist.
            Unsupported, Denied: the named method cannot be used here.
        """


class PacketSource(Protocol):
    """Packets as they pass."""

    interfaces: tuple[CaptureInterface, ...]

    def batches(self, stop: threading.Event) -> Iterator[PacketBatch]:
        """Packets in the order of each interface until `stop`; a batch is valid until the next one is asked for.

        Where nothing passes, an empty batch comes several times a second.
        """

    def counts(self) -> tuple[CaptureCounts, ...]:
        """What was received and dropped since the capture was opened."""


class Capture(Protocol):
    """Packets of interfaces."""

    def open(self, request: CaptureRequest, tally: Tally) -> AbstractContextManager[PacketSource]:
        """Starts to capture.

        Raises:
            UsageError: an interface does not exist, or the filter is wrong.
            Denied, Unsupported
        """


class Interfaces(Protocol):
    """Network interfaces."""

    def interfaces(self, tally: Tally) -> Iterator[Interface]:
        """Every interface of every network namespace that can be looked into, ours first."""


class Resolvers(Protocol):
    """How names are resolved."""

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        """Every configured server, in the order in which it is asked."""

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        """Questions of this host's programs until `stop`, as its own resolver tells of them, with who asked.

        Raises:
            Unsupported: it tells nobody; packets do. Denied. At the latest with the first row.
        """
