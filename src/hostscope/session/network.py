"""The network verbs of a session on this host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from hostscope.private import READ_FILES

if TYPE_CHECKING:  # what a verb needs is imported when it is called
    from hostscope.collectors.traffic import TrafficWatch
    from hostscope.model.answer import Answer
    from hostscope.model.capture import CaptureOutput, CaptureRequest, CaptureSummary
    from hostscope.model.dns import DnsQuery, DnsRequest, Resolver, ResolverScore
    from hostscope.model.interface import Interface
    from hostscope.model.socket import Socket, SocketRequest
    from hostscope.model.traffic import TrafficRequest
    from hostscope.platforms.base import Host
    from hostscope.session.exits import Exit
    from hostscope.wire.scores import ScoreBoard


class NetworkVerbs:
    """Part of `LocalSession`: sockets, traffic, capture, interfaces, name resolution."""

    _host: Host
    _exit: Exit

    def sockets(
        self, request: SocketRequest | None = None, targets: tuple[str, ...] = (), resolve: bool = False
    ) -> Answer[Socket]:
        """Every socket with its owners, in no order.

        Args:
            targets: pids, names, ``:PORT`` (at either end) or keys; all sockets when empty.
            resolve: asks the host's resolvers for the names of the other ends, which sends packets.

        Raises:
            UsageError: there is no such method, or it is no target.
            Gone: a pid, key or name means no process. Denied, Mismatch, Unsupported
        """
        from hostscope.collectors import sockets
        from hostscope.model.socket import SocketRequest

        return sockets.find(self._host, request or SocketRequest(), targets, resolve)

    def socket_looks(
        self, stop: threading.Event, interval_s: float, request: SocketRequest, targets: tuple[str, ...] = (),
        resolve: bool = False,
    ) -> Iterator[Answer[Socket]]:  # fmt: skip
        """Every socket again and again until `stop` is set."""
        from hostscope.collectors import sockets

        return sockets.looks(self._host, stop, interval_s, request, targets, resolve)

    def interfaces(self, between_ns: int | None = None) -> Answer[Interface]:
        """Every interface of every network namespace; with `between_ns` two looks so far apart, for `rates`."""
        from hostscope.collectors import interfaces

        return interfaces.collect(self._host, between_ns=between_ns)

    def interface_looks(self, stop: threading.Event, interval_s: float = 2.0) -> Iterator[Answer[Interface]]:
        """Every interface again and again until `stop` is set, with `rates` since the time before."""
        from hostscope.collectors import interfaces

        return interfaces.looks(self._host, stop, interval_s)

    def capture(
        self, request: CaptureRequest, output: CaptureOutput, stop: threading.Event, told: threading.Event | None = None
    ) -> Answer[CaptureSummary]:
        """Captures packets into files until `stop` is set; what was written so far, every second and in the end.

        Args:
            told: with `CaptureOutput.last_ns`, writes what is kept whenever it is set.

        Raises:
            UsageError: an interface, the filter or the output is wrong; with the first row.
            Denied, Unsupported, Unavailable
        """
        from hostscope.collectors import capture

        override = partial(self._host.privileges.using, ("dac_override",), "write captured packets to their file")
        return capture.record(self._host, request, output, stop, told, self._exit.process, override)

    def traffic(
        self, request: TrafficRequest | None = None, targets: tuple[str, ...] = (), file: str | None = None
    ) -> AbstractContextManager[TrafficWatch]:
        """Counts traffic while the block runs; `look` at it as often as you like.

        Args:
            targets: pids, names, ``:PORT`` (local) or keys; all processes when empty.
            file: a pcap or pcapng file to read instead.

        Raises:
            UsageError: there is no such method or interface, or it is no target.
            Gone: a pid or key means no process. Denied, Mismatch, Unsupported
        """
        from hostscope.collectors.traffic import watch, watch_file
        from hostscope.model.traffic import TrafficRequest

        if file is not None:
            return watch_file(self._host, file, request or TrafficRequest(), targets, self._reading(file))
        return watch(self._host, request or TrafficRequest(), targets=targets)

    def resolvers(self, resolve: bool = False) -> Answer[Resolver]:
        """Every configured resolver, in the order in which it is asked.

        Args:
            resolve: asks for the names of their addresses, which sends packets.
        """
        from hostscope.collectors import dns

        found = dns.collect(self._host)
        return dns.with_names(found, lambda row: row.address) if resolve else found

    def dns_scores(self, asked: Answer[DnsQuery], board: ScoreBoard, resolve: bool = False) -> Answer[ResolverScore]:
        """How each server answered, once all that was `asked` is through."""
        from hostscope.collectors import dns

        found = dns.scores(asked, board)
        return dns.with_names(found, lambda row: row.server.rpartition(":")[0].strip("[]")) if resolve else found

    def dns_queries(self, request: DnsRequest, stop: threading.Event, board: ScoreBoard) -> Answer[DnsQuery]:
        """Every question that passes until `stop` is set, when it has ended; `board` counts along.

        Raises:
            UsageError: an interface does not exist; with the first row.
            Denied, Unsupported, Unavailable
        """
        from hostscope.collectors import dns

        return dns.observe(self._host, request, stop, board)

    def dns_file(self, path: str, request: DnsRequest, board: ScoreBoard) -> Answer[DnsQuery]:
        """The same from a capture file, with the processes that its comments name, if any.

        Raises:
            UsageError: no such file, or not a capture file; with the first row.
            Denied
        """
        from hostscope.collectors import dns

        return dns.read(path, request, board, self._reading(path))

    def _reading(self, path: str) -> Callable[[], AbstractContextManager[None]]:
        """Brings the right to read files in spite of their permissions into effect, if we have it."""
        return partial(self._host.privileges.using, READ_FILES, f"read {path}")
