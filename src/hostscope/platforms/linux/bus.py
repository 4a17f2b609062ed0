"""One blocking D-Bus connection: calls with a time limit, and messages of one sender in their order.

Nothing is started by asking: calls say that the bus must not launch the service.
"""

import struct
from collections import deque
from types import TracebackType
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageFlag, MessageType, new_method_call
from jeepney.auth import AuthenticationError
from jeepney.bus import get_bus
from jeepney.io.blocking import DBusConnectionBase, prep_socket, timeout_to_deadline
from msgspec import Struct

from hostscope.errors import Denied, Error, Gone, Unavailable

MAX_PENDING = 64
"""Messages of the bus itself that are kept while a reply is awaited, the latest ones."""

_DBUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_REFUSED = frozenset(f"org.freedesktop.DBus.Error.{name}" for name in ("AccessDenied", "AuthFailed"))
_ABSENT = frozenset(
    f"org.freedesktop.DBus.Error.{name}" for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")
)
_UNKNOWN = frozenset(
    {
        "org.freedesktop.systemd1.NoSuchUnit",
        "org.freedesktop.resolve1.NoSuchLink",
        "org.freedesktop.DBus.Error.UnknownObject",
    }
)


class NotOnBus(Unavailable):
    """Nobody on the bus owns that name: the service does not run."""


class Received(Struct, frozen=True):
    """A signal or a reply."""

    member: str | None
    """Name of a signal."""
    path: str | None
    """Object that sent a signal."""
    signature: str | None
    body: tuple[Any, ...]
    reply_to: int | None
    """Serial of the call that a reply, or an error, is for."""


class Bus:
    """A connection to the service that owns `service`, on a bus or (private) directly."""

    def __init__(self, address: str, service: str, private: bool = False, timeout_s: float = 5.0) -> None:
        """Connects to `address` (``unix:path=…``).

        Raises:
            Denied, Unavailable: there is no bus.
            NotOnBus: nobody on it owns `service`.
        """
        self._service = service
        self._private = private
        self._timeout_s = timeout_s
        self._pending: deque[Message] = deque(maxlen=MAX_PENDING)
        self._connection = _connect(address, timeout_s)
        try:
            self.owner = None if private else self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self) -> str:
        self._ask(_DBUS, "Hello", None, ())
        return str(self._ask(_DBUS, "GetNameOwner", "s", (self._service,))[0])

    def __enter__(self) -> "Bus":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the connection go; what was subscribed to ends with it."""
        self._connection.close()

    def call(
        self, path: str, interface: str, method: str, signature: str | None = None, body: tuple[Any, ...] = (),
        returns: str | None = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        """The values that a method of the service gives back.

        What the service sent before its reply is dropped: the reply is newer. Only `post` keeps it.

        Raises:
            Gone: the service knows no such unit, link or object.
            Denied: the bus or the service refused.
            Unavailable: no answer in time, another answer than `returns` (a signature), or another error.
        """
        reply = self._exchange(DBusAddress(path, self._service, interface), method, signature, body)
        if returns is not None and reply.header.fields.get(HeaderFields.signature) != returns:
            raise Unavailable(f"{method}: the answer is not what it is documented to be")
        values: tuple[Any, ...] = reply.body
        return values

    def match(self, rule: str) -> None:
        """Has the bus send what a match rule names; there is no bus to ask on a private connection."""
        if not self._private:
            self._ask(_DBUS, "AddMatch", "s", (rule,))

    def post(self, path: str, interface: str, method: str, signature: str, body: tuple[Any, ...]) -> int:
        """Calls without waiting: the reply comes from `receive` in its place among the signals, with this serial.

        Raises:
            Unavailable: the connection broke.
        """
        message = new_method_call(DBusAddress(path, self._service, interface), method, signature, body)
        message.header.flags |= MessageFlag.no_auto_start
        try:
            return self._connection.post(message)
        except (OSError, ValueError) as failed:
            raise Unavailable(f"{method}: the bus connection broke: {failed}") from failed

    def receive(self, timeout_s: float) -> Received | None:
        """The next message of the service, or of the bus itself; None when there was none in time.

        Others may send us signals that look the same, so the sender is compared.

        Raises:
            Unavailable: the connection broke.
        """
        message = self._pending.popleft() if self._pending else self._receive(timeout_s)
        if message is None or not (self._private or self._sender(message) in self._trusted()):
            return None
        fields = message.header.fields
        return Received(
            fields.get(HeaderFields.member),
            fields.get(HeaderFields.path),
            fields.get(HeaderFields.signature),
            message.body,
            fields.get(HeaderFields.reply_serial),
        )

    def _trusted(self) -> tuple[str | None, ...]:
        return self.owner, _DBUS.bus_name

    @staticmethod
    def _sender(message: Message) -> str | None:
        sender: str | None = message.header.fields.get(HeaderFields.sender)
        return sender

    def _receive(self, timeout_s: float) -> Message | None:
        try:
            return self._connection.receive(timeout_s)
        except TimeoutError:
            return None
        except (OSError, ValueError) as failed:
            raise Unavailable(f"the bus connection broke: {failed}") from failed

    def _ask(self, address: DBusAddress, method: str, signature: str | None, body: tuple[Any, ...]) -> tuple[Any, ...]:
        values: tuple[Any, ...] = self._exchange(address, method, signature, body).body
        return values

    def _exchange(self, address: DBusAddress, method: str, signature: str | None, body: tuple[Any, ...]) -> Message:
        message = new_method_call(address, method, signature, body)
        message.header.flags |= MessageFlag.no_auto_start
        try:
            reply = self._connection.exchange(message, self._timeout_s, self._keep)
        except TimeoutError as failed:
            raise Unavailable(f"{method}: no answer in {self._timeout_s:g} s") from failed
        except (OSError, ValueError) as failed:
            raise Unavailable(f"{method}: the bus connection broke: {failed}") from failed
        if reply.header.message_type is MessageType.error:
            raise _error(method, reply)
        return reply

    def _keep(self, message: Message) -> None:
        if self._sender(message) == _DBUS.bus_name:
            self._pending.append(message)


class _Connection(DBusConnectionBase):  # type: ignore[misc]
    """Messages over a socket, without the greeting that only a bus understands."""

    def receive(self, timeout_s: float) -> Message:
        return self._next(_deadline(timeout_s))

    def post(self, message: Message) -> int:
        serial: int = next(self.outgoing_serial)
        self.sock.sendall(message.serialise(serial=serial))
        return serial

    def exchange(self, message: Message, timeout_s: float, keep: Any) -> Message:
        """Sends a call and waits for its reply; what else comes goes to `keep`."""
        serial, deadline = self.post(message), _deadline(timeout_s)
        while True:
            received = self._next(deadline)
            if received.header.fields.get(HeaderFields.reply_serial) == serial:
                return received
            keep(received)

    def _next(self, deadline: float) -> Message:
        """Raises ValueError for bytes that are no message, for which jeepney has many exceptions."""
        try:
            return self._receive(deadline)
        except (LookupError, TypeError, AssertionError, struct.error) as failed:
            raise ValueError(f"no D-Bus message ({failed!r})") from failed


def _deadline(timeout_s: float) -> float:
    deadline: float = timeout_to_deadline(timeout_s)
    return deadline


def _connect(address: str, timeout_s: float) -> _Connection:
    try:
        socket = prep_socket(get_bus(address), timeout=timeout_s)
    except PermissionError as failed:
        raise Denied(f"{address}: {failed.strerror}", "needs the right to connect to this bus") from failed
    except AuthenticationError as failed:
        raise Denied(f"{address}: {failed}", "the bus does not take this user") from failed
    except (OSError, RuntimeError, ValueError) as failed:
        raise Unavailable(f"{address}: {failed}") from failed
    socket.settimeout(timeout_s)
    return _Connection(socket)


def _error(method: str, reply: Message) -> Error:
    name = str(reply.header.fields.get(HeaderFields.error_name))
    text = str(reply.body[0]) if reply.body else name
    if name in _UNKNOWN:
        return Gone(text)
    if name in _REFUSED:
        return Denied(f"{method}: {text}", "the bus or the service manager allows it to others only")
    if name in _ABSENT:
        return NotOnBus(f"{method}: {text}", "the service is not on this bus")
    return Unavailable(f"{method}: {text}")
