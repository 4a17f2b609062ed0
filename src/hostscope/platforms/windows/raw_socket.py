"""One raw socket that hears everything that passes an interface by IPv4 or IPv6 (SIO_RCVALL)."""

import socket
from contextlib import suppress
from typing import Any

from hostscope.platforms.windows.native import winsock
from hostscope.platforms.windows.parse_network import Address, parse_sockaddr
from hostscope.platforms.windows.parse_packets import IPV6_HEADER_BYTES, ipv6_header, parse_destination, protocol_of

MOST_PACKET_BYTES = 65_535
NOTHING = frozenset({winsock.WSAEWOULDBLOCK, winsock.WSAECONNRESET})
"""There is no packet; or a reset of something that was sent, which has nothing to do with what is heard."""
_UNKNOWN = bytes(16)


class RawSocket:
    """Hears one interface, by the address that it is bound to."""

    def __init__(self, address: Address, mode: int, buffer_bytes: int) -> None:
        """Listens from now on.

        Args:
            mode: RCVALL_IPLEVEL, or RCVALL_ON for promiscuous mode.

        Raises:
            OSError
        """
        self.address = address
        self.unknown = 0
        """IPv6 packets of which it cannot be told what they carry; left out."""
        self._six = address.family == "inet6"
        self.socket = _made(self._six)
        try:
            self._listen(mode, buffer_bytes)
        except OSError:
            self.socket.close()
            raise

    def _listen(self, mode: int, buffer_bytes: int) -> None:
        here = (self.address.text, 0, 0, self.address.scope) if self._six else (self.address.text, 0)
        self.socket.bind(here)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.setblocking(False)
        self._receiver = None
        if self._six:
            self.socket.setsockopt(winsock.IPPROTO_IPV6, winsock.IPV6_PKTINFO, 1)
            self._receiver = winsock.message_receiver(self.socket.fileno())
        self.socket.ioctl(winsock.SIO_RCVALL, mode)

    def receive(self, into: memoryview) -> int:
        """One packet from its IP header on; how many bytes it has. 0 when there is none.

        `into` must have room for the largest packet.

        Raises:
            OSError: the interface has gone or is down.
        """
        try:
            return self._receive6(into) if self._six else self.socket.recv_into(into)
        except OSError as failed:
            code = getattr(failed, "winerror", None) or failed.errno
            if code in NOTHING or isinstance(failed, BlockingIOError):
                return 0
            raise

    def _receive6(self, into: memoryview) -> int:
        """Goes on until there is a packet that can be told, or none."""
        while True:
            body = into[IPV6_HEADER_BYTES:]
            message = winsock.receive_message(self._receiver, self.socket.fileno(), body)
            source, destination = self._ends(message)
            payload = body[: message.size]
            protocol = protocol_of(payload, source, destination)
            if protocol is not None:
                into[:IPV6_HEADER_BYTES] = ipv6_header(message.size, protocol, source, destination)
                return IPV6_HEADER_BYTES + message.size
            self.unknown += 1

    def _ends(self, message: winsock.Message) -> tuple[bytes, bytes]:
        found = parse_sockaddr(message.source)
        source = socket.inet_pton(socket.AF_INET6, found.text) if found and found.family == "inet6" else _UNKNOWN
        return source, parse_destination(message.control) or _UNKNOWN

    def close(self) -> None:
        """Hears nothing any more; the interface is left as it was."""
        with suppress(OSError):  # closing turns it off as well
            self.socket.ioctl(winsock.SIO_RCVALL, winsock.RCVALL_OFF)
        self.socket.close()


def _made(six: bool) -> Any:
    """Of any: mypy's picture of a socket has `ioctl` on Windows only."""
    if six:
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, winsock.IPPROTO_IPV6)
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IP)
