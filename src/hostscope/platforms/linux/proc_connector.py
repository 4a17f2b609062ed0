"""The kernel's process connector: messages about forks, execs, exits, users, groups, sessions, names and ptrace.

They carry numbers only; everything else must be read from /proc afterwards, when a short-lived process is gone. What
the connector alone tells (uid, gid, session, ptrace, core dumps) is read beside the ring; as a source of its own it is
the second choice.

Each CPU counts its messages, so a hole in one CPU's numbers says how many were dropped. With a filter in the kernel
(6.6) the numbers go up for messages that were not for us, too: then only ENOBUFS tells, and not how many.

Source: NETLINK_CONNECTOR, CN_IDX_PROC; include/uapi/linux/cn_proc.h, drivers/connector/cn_proc.c.
Needs: CAP_NET_ADMIN (from Linux 6.6 nothing), and to be in the host's PID and user namespaces.
"""

import errno
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from hostscope.errors import Denied, Unsupported

NETLINK_CONNECTOR = 11
_IDX_PROC = _VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2
_SO_RCVBUFFORCE = 33
BUFFER_BYTES = 16 << 20
ACK_S = 0.2
"""How long the kernel may take to say that it understood a filter."""
_DONE = 3
_NETLINK, _CONNECTOR, _EVENT = struct.Struct("=IHHII"), struct.Struct("=IIIIHH"), struct.Struct("=IIQ")
_HEADERS = _NETLINK.size + _CONNECTOR.size
_PAIR = struct.Struct("=II")
_DATA: dict[int, struct.Struct]
_MESSAGE_MOST = 8192
_READ_MOST = 4096
"""Messages taken at once."""


class What(IntEnum):
    """enum proc_cn_event."""

    NONE = 0
    FORK = 1
    EXEC = 2
    UID = 4
    GID = 0x40
    SID = 0x80
    PTRACE = 0x100
    COMM = 0x200
    COREDUMP = 0x4000_0000
    EXIT = 0x8000_0000


_DATA = {
    What.FORK: struct.Struct("=IIII"),
    What.EXEC: struct.Struct("=II"),
    What.UID: struct.Struct("=IIII"),
    What.GID: struct.Struct("=IIII"),
    What.SID: struct.Struct("=II"),
    What.PTRACE: struct.Struct("=IIII"),
    What.COMM: struct.Struct("=II16s"),
    What.COREDUMP: struct.Struct("=IIII"),
    What.EXIT: struct.Struct("=IIIIII"),
}


class Message(NamedTuple):
    """One message."""

    what: int
    cpu: int
    seq: int
    """Of this CPU."""
    mono_ns: int
    data: tuple[int | bytes, ...]
    """The numbers of its kind, in the kernel's order; thread before process. Empty for a kind that is not known."""


class Missing(NamedTuple):
    """Messages that were dropped here."""

    messages: int
    exact: bool


def parse_message(raw: bytes) -> Message | None:
    """One datagram; None when it is no message of the connector, or not whole. Pure."""
    if len(raw) < _HEADERS + _EVENT.size:
        return None
    index, value, seq, _, _, _ = _CONNECTOR.unpack_from(raw, _NETLINK.size)
    if (index, value) != (_IDX_PROC, _VAL_PROC):
        return None
    what, cpu, mono_ns = _EVENT.unpack_from(raw, _HEADERS)
    form = _DATA.get(what)
    if form is None:
        return Message(what, cpu, seq, mono_ns, ())
    if len(raw) < _HEADERS + _EVENT.size + form.size:
        return None
    return Message(what, cpu, seq, mono_ns, form.unpack_from(raw, _HEADERS + _EVENT.size))


def render_request(pid: int, operation: int, kinds: int | None) -> bytes:
    """What subscribes: with a filter in the form of Linux 6.6, without in the form of all kernels."""
    body = struct.pack("=I", operation) if kinds is None else struct.pack("=II", operation, kinds)
    head = _NETLINK.pack(_HEADERS + len(body), _DONE, 0, 0, pid)
    return head + _CONNECTOR.pack(_IDX_PROC, _VAL_PROC, 0, 0, len(body), 0) + body


class Sequences:
    """Counts what is missing in the numbers of each CPU."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def missing(self, message: Message) -> int:
        """How many messages of its CPU came before this one and did not reach us."""
        last = self._last.get(message.cpu)
        self._last[message.cpu] = message.seq
        return 0 if last is None else (message.seq - last - 1) & 0xFFFF_FFFF


class ProcConnector:
    """A subscription, until it is closed. Its socket's buffer is bounded: the kernel drops, and never waits for us."""

    def __init__(self, kinds: frozenset[What], buffer_bytes: int = BUFFER_BYTES) -> None:
        """Subscribes to messages of these kinds.

        Raises:
            Denied, Unsupported
        """
        self._kinds = kinds
        self._sequences = Sequences()
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, NETLINK_CONNECTOR)
        except OSError as failed:
            raise Unsupported(f"the kernel has no process connector ({failed.strerror})") from failed
        try:
            self._subscribe(buffer_bytes)
        except BaseException:
            self._socket.close()
            raise

    def _subscribe(self, buffer_bytes: int) -> None:
        try:
            self._socket.bind((0, _IDX_PROC))
            _enlarge(self._socket, buffer_bytes)
        except PermissionError as failed:
            raise Denied("the process connector: permission denied", "needs root or CAP_NET_ADMIN") from failed
        self._socket.setblocking(False)
        self._port = self._socket.getsockname()[0]
        self.filtered = self._filter()
        if not self.filtered:
            self._socket.send(render_request(self._port, _LISTEN, None))

    def _filter(self) -> bool:
        """Whether the kernel takes a filter; an older one ignores a request of that size."""
        mask = 0
        for kind in self._kinds:
            mask |= kind
        self._socket.send(render_request(self._port, _LISTEN, mask & 0xFFFF_FFFF))
        readable, _, _ = select.select([self._socket], [], [], ACK_S)
        if not readable:
            return False
        first = parse_message(self._socket.recv(_MESSAGE_MOST))
        return first is not None

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def read(self) -> Iterator[Message | Missing]:
        """What has come, a few thousand messages at most; never waits."""
        for _ in range(_READ_MOST):
            try:
                raw = self._socket.recv(_MESSAGE_MOST)
            except BlockingIOError:
                return
            except OSError as failed:
                if failed.errno != errno.ENOBUFS:
                    raise
                if self.filtered:
                    yield Missing(1, exact=False)
                continue
            yield from self._of(raw)

    def _of(self, raw: bytes) -> Iterator[Message | Missing]:
        message = parse_message(raw)
        if message is None or message.what == What.NONE:
            return
        if not self.filtered and (missing := self._sequences.missing(message)):
            yield Missing(missing, exact=True)
        if message.what in self._kinds:
            yield message

    def close(self) -> None:
        """Ends the subscription: the kernel sends nothing more when nobody else listens."""
        with suppress(OSError):  # closing ends it as well
            self._socket.send(render_request(self._port, _IGNORE, None))
        self._socket.close()

    def __enter__(self) -> "ProcConnector":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _enlarge(connection: socket.socket, size_bytes: int) -> None:
    """More than net.core.rmem_max needs a privilege; without it as much as there may be."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
