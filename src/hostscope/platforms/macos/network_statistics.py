"""A conversation with the kernel's network statistics: what connections carry, and whose they are."""

import os
import select
from collections.abc import Iterator
from time import monotonic

from hostscope.errors import Denied, NativeError, Unsupported
from hostscope.model.traffic import Counts
from hostscope.platforms.macos import parse_ntstat as ntstat
from hostscope.platforms.macos.native import errnos, kernel_control
from hostscope.platforms.macos.parse_ntstat import Described, Message
from hostscope.platforms.macos.translate import REFUSED

HINT = "needs root, or the entitlement com.apple.private.network.statistics"
ROOM_BYTES = 4 << 20
MESSAGE_BYTES = 65_536
ANSWER_S = 2.0
MOST_ROUNDS = 1000
"""Answers are cut into parts, each of which is asked for."""
FIRST_CONTEXT = 1


class NetworkStatistics:
    """What connections of TCP, UDP and QUIC carried since the kernel was asked, those that ended included."""

    def __init__(self, most: int) -> None:
        """Connects, and asks for every connection.

        Raises:
            Denied, Unsupported: this macOS has no such thing.
        """
        self._fd = _opened()
        self._most = most
        self._context = FIRST_CONTEXT
        self.flows: dict[int, Described] = {}
        self.began: dict[int, Counts] = {}
        """What connections that were there had carried before."""
        self.unknown = 0
        """Updates whose layout is not known."""
        self.lost = Counts()
        self.versions: set[str] = set()
        try:
            self._subscribe()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the conversation."""
        os.close(self._fd)

    def update(self) -> None:
        """Asks what all connections have carried until now, and takes in what the kernel told by itself.

        Raises:
            NativeError: the kernel refuses, or does not answer.
        """
        more = False
        for _ in range(MOST_ROUNDS):
            self._context += 1
            self._send(ntstat.build_update(self._context, more))
            more = self._answered(self._context)
            if not more:
                return

    def _subscribe(self) -> None:
        """Providers that this kernel has not are refused, each by itself."""
        refused: dict[int, int] = {}
        for provider in ntstat.PROVIDERS:
            self._context += 1
            self._send(ntstat.build_add_all(provider, self._context))
            try:
                self._answered(self._context)
            except NativeError as failed:
                refused[provider] = failed.code
        if any(code in REFUSED for code in refused.values()):
            raise Denied("the kernel does not tell us what connections carry", HINT)
        if len(refused) == len(ntstat.PROVIDERS):
            raise Unsupported("the kernel counts no connections for us", "another macOS may have another protocol")
        self.update()
        self.began = {source: flow.counts for source, flow in self.flows.items()}

    def _answered(self, context: int) -> bool:
        """Takes messages in up to the answer; whether there is more of it to be asked for."""
        for message in self._messages(monotonic() + ANSWER_S):
            if message.context == context and message.type == ntstat.SUCCESS:
                return bool(message.flags & ntstat.FLAG_CONTINUATION)
            if message.context == context and message.type == ntstat.ERROR:
                code = ntstat.parse_error(message)
                raise NativeError("network statistics", code, errnos.text(code))
            self.take(message)
        raise NativeError("network statistics", errnos.ETIMEDOUT, "the kernel does not answer")

    def take(self, message: Message) -> None:
        """Takes in what the kernel tells of one connection; the last update of one that ends comes before it goes."""
        if message.type not in (ntstat.SRC_UPDATE, ntstat.SRC_EXTENDED_UPDATE):
            return
        found = ntstat.parse_update(message)
        if found is None:
            self.unknown += 1
        elif found.source in self.flows or len(self.flows) < self._most:
            self.flows[found.source] = found
            self.versions.add(found.version)
        else:
            self.lost += found.counts

    def _messages(self, until: float) -> Iterator[Message]:
        while (left := until - monotonic()) > 0:
            if not select.select((self._fd,), (), (), left)[0]:
                return
            try:
                raw = os.read(self._fd, MESSAGE_BYTES)
            except BlockingIOError:
                continue
            except OSError as failed:
                raise NativeError("network statistics", failed.errno or 0, errnos.text(failed.errno or 0)) from failed
            if not raw:
                return
            yield from ntstat.parse_messages(raw)

    def _send(self, message: bytes) -> None:
        try:
            os.write(self._fd, message)
        except OSError as failed:
            raise NativeError("network statistics", failed.errno or 0, errnos.text(failed.errno or 0)) from failed


def _opened() -> int:
    try:
        return kernel_control.open_control(ntstat.CONTROL_NAME, ROOM_BYTES)
    except OSError as failed:
        if failed.errno in REFUSED:
            raise Denied("the kernel's network statistics may not be asked", HINT) from None
        if failed.errno == errnos.ENOENT:
            raise Unsupported("this kernel has no network statistics", "macOS has them since 10.7") from None
        raise NativeError("network statistics", failed.errno or 0, errnos.text(failed.errno or 0)) from failed
