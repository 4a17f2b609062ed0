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
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from hostscope.errors import Denied, Unsupported
from hostscope.platforms.linux.live import kernel_version

NETLINK_CONNECTOR = 11
_IDX_PROC = _VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2
_SO_RCVBUFFORCE = 33
BUFFER_BYTES = 16 << 20
ACK_S = 0.2
"""How long the kernel may take to answer a request; it does so at once, behind what waits in the socket."""
_FILTERS = (6, 6)
"""The kernel that sends only what is asked for."""
_DONE = 3
_NETLINK, _CONNECTOR, _EVENT = struct.Struct("=IHHII"), struct.Struct("=IIIIHH"), struct.Struct("=IIQ")
_HEADERS = _NETLINK.size + _CONNECTOR.size
_PAIR = struct.Struct("=II")
_DATA: dict[int, struct.Struct]
_MESSAGE_MOST = 8192
READ_MOST = 4096
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
    What.NONE: struct.Struct("=I"),
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
    answers: int = 0
    """One more than the mark of the request that this is the answer to; of no use in others."""


class Missing(NamedTuple):
    """Messages that were dropped here."""

    messages: int
    exact: bool


def parse_message(raw: bytes) -> Message | None:
    """One datagram; None when it is no message of the connector, or not whole. Pure."""
    if len(raw) < _HEADERS + _EVENT.size:
        return None
    index, value, seq, answers, _, _ = _CONNECTOR.unpack_from(raw, _NETLINK.size)
    if (index, value) != (_IDX_PROC, _VAL_PROC):
        return None
    what, cpu, mono_ns = _EVENT.unpack_from(raw, _HEADERS)
    form = _DATA.get(what)
    if form is None:
        return Message(what, cpu, seq, mono_ns, (), answers)
    if len(raw) < _HEADERS + _EVENT.size + form.size:
        return None
    return Message(what, cpu, seq, mono_ns, form.unpack_from(raw, _HEADERS + _EVENT.size), answers)


def render_request(pid: int, operation: int, kinds: int | None) -> bytes:
    """What subscribes: with a filter in the form of Linux 6.6, without in the form of all kernels.

    `pid` is the socket's port, and marks the request: the kernel answers to all who listen.
    """
    body = struct.pack("=I", operation) if kinds is None else struct.pack("=II", operation, kinds)
    head = _NETLINK.pack(_HEADERS + len(body), _DONE, 0, 0, pid)
    return head + _CONNECTOR.pack(_IDX_PROC, _VAL_PROC, 0, pid, len(body), 0) + body


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
        self.filtered = kernel_version(os.uname().release) >= _FILTERS
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
        self.port: int = self._socket.getsockname()[0]
        self._socket.send(render_request(self.port, _LISTEN, None))
        if not self._answered():
            raise Unsupported("the kernel does not answer: it takes subscriptions in the first user namespace only")
        if self.filtered:  # the answer to this is filtered out itself
            self._socket.send(render_request(self.port, _LISTEN, sum(self._kinds)))

    def _answered(self) -> bool:
        """Whether the kernel answers that we are subscribed; what comes before is not for us.

        Raises:
            Denied: it says that we may not.
        """
        end, answers = time.monotonic() + ACK_S, (self.port + 1) & 0xFFFF_FFFF
        while (left := end - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
            found = None
            with suppress(OSError):  # full already, of messages for others
                found = self._take()
            if found is not None and (found.what, found.answers) == (What.NONE, answers):
                return _accepted(found)
        return False

    def _take(self) -> Message | None:
        """The next datagram; None when the kernel did not send it, or it is no message. Raises `OSError`."""
        raw, (sender, _) = self._socket.recvfrom(_MESSAGE_MOST)
        return parse_message(raw) if sender == 0 else None

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def read(self) -> Iterator[Message | Missing]:
        """What has come, a few thousand messages at most; never waits."""
        for _ in range(READ_MOST):
            try:
                message = self._take()
            except BlockingIOError:
                return
            except OSError as failed:
                if failed.errno != errno.ENOBUFS:
                    raise
                if self.filtered:
                    yield Missing(1, exact=False)
                continue
            if message is not None:
                yield from self._of(message)

    def _of(self, message: Message) -> Iterator[Message | Missing]:
        if not self.filtered and (missing := self._sequences.missing(message)):
            yield Missing(missing, exact=True)
        if message.what in self._kinds:
            yield message

    def close(self) -> None:
        """Ends the subscription: the kernel sends nothing more when nobody else listens."""
        with suppress(OSError):  # closing ends it as well
            self._socket.send(render_request(self.port, _IGNORE, None))
        self._socket.close()

    def __enter__(self) -> "ProcConnector":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _accepted(answer: Message) -> bool:
    """True, or raises `Denied`."""
    failed = answer.data[0]
    if failed:
        raise Denied(f"the process connector: {os.strerror(int(failed))}", "needs root or CAP_NET_ADMIN")
    return True


def _enlarge(connection: socket.socket, size_bytes: int) -> None:
    """More than net.core.rmem_max needs a privilege; without it as much as there may be."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
