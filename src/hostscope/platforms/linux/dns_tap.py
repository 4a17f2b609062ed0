"""DNS answers that this host receives, for a meter that sees no packets: the names of remote ends.

Raw sockets get UDP only, so TCP costs nothing; a filter in the kernel lets through what comes from port 53 of anybody
in our network namespace.
"""

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec.structs import replace

from hostscope.model.traffic import Flow
from hostscope.platforms.linux.packet_filter import Program, attach
from hostscope.wire.dns import parse_message
from hostscope.wire.names import NameTable

DNS_PORT = 53
MOST_BYTES = 4096
"""Of a datagram."""
MOST_AT_ONCE = 4096
"""Datagrams that are read before names are given."""
SLACK_NS = 2_000_000_000
"""An answer is read later than it came: so much before, a flow may have begun."""
_LOAD_HEADER_LENGTH, _LOAD_INDEXED, _LOAD, _EQUAL, _RETURN = 0xB1, 0x48, 0x28, 0x15, 0x06
_VERDICT: Program = ((_EQUAL, 0, 1, DNS_PORT), (_RETURN, 0, 0, MOST_BYTES), (_RETURN, 0, 0, 0))
_FROM_DNS: Program = ((_LOAD_HEADER_LENGTH, 0, 0, 0), (_LOAD_INDEXED, 0, 0, 0), *_VERDICT)
_FROM_DNS6: Program = ((_LOAD, 0, 0, 0), *_VERDICT)
"""IPv6 raw sockets begin with the UDP header, those of IPv4 with the IP header (raw(7))."""
_UDP_HEADER = 8


class DnsTap:
    """Reads answers when names are asked for; what does not fit into the sockets' buffers until then is not learnt."""

    def __init__(self) -> None:
        """Begins to listen.

        Needs: CAP_NET_RAW.

        Raises:
            OSError
        """
        self._names = NameTable()
        self._sockets = [_listener(socket.AF_INET, _FROM_DNS)]
        with suppress(OSError):  # a kernel without IPv6
            self._sockets.append(_listener(socket.AF_INET6, _FROM_DNS6))

    def named(self, flows: Iterable[Flow]) -> tuple[Flow, ...]:
        """The flows, with domains where an answer led to the remote address."""
        self._learn()
        flows = tuple(flows)
        return tuple([self._named(flow) for flow in flows]) if len(self._names) else flows

    def close(self) -> None:
        """Stops listening."""
        for listener in self._sockets:
            listener.close()

    def _named(self, flow: Flow) -> Flow:
        if flow.remote is None or flow.domain is not None:
            return flow
        name = self._names.name_of(flow.remote.address, (flow.last_at_ns or 0) + SLACK_NS)
        return replace(flow, domain=name.domain, domain_source=name.source) if name else flow

    def _learn(self) -> None:
        for listener in self._sockets:
            for payload in _datagrams(listener):
                message = parse_message(payload)
                if message is not None:
                    self._names.learn_dns(message, time.time_ns())


def _listener(family: socket.AddressFamily, program: Program) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_UDP)
    try:
        attach(listener, program)
    except OSError:
        listener.close()
        raise
    return listener


def _datagrams(listener: socket.socket) -> Iterator[bytes]:
    """The payloads that are waiting."""
    for _ in range(MOST_AT_ONCE):
        try:
            raw = listener.recv(MOST_BYTES)
        except BlockingIOError:
            return
        header = (raw[0] & 15) * 4 if raw and listener.family == socket.AF_INET else 0
        if int.from_bytes(raw[header : header + 2], "big") == DNS_PORT:
            yield raw[header + _UDP_HEADER :]
