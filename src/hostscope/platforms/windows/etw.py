"""Consuming events of Windows' tracing (ETW) in a session of our own, which ends with its block.

A session is a thing of the system: it outlives a program that dies without stopping it, and there are 64 of them. Ours
are named ``hostscope-PID-N``; those whose process has gone are stopped before another one is started.
"""

import os
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from uuid import UUID

from msgspec import Struct

from hostscope.errors import Denied, Error, NativeError, Unavailable, Unsupported
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.native import etw
from hostscope.platforms.windows.native.handles import PROCESS_QUERY_LIMITED_INFORMATION, opened
from hostscope.platforms.windows.parse_etw import FLAG_32_BIT, RECORD_BYTES, EtwRecord, parse_head
from hostscope.platforms.windows.translate import REFUSED, VANISHED

ERROR_ALREADY_EXISTS = 183
ERROR_NO_SYSTEM_RESOURCES = 1450
HINT = "needs an administrator, or a member of Performance Log Users"
NAME = re.compile(r"hostscope-(\d{1,10})-\d{1,4}")
MOST_NAMES = 16
MOST_WAITING = 131_072
"""Events that may wait for whoever reads them."""
TICK_S = 0.1
_AT_ONCE = 4096
_JOIN_S = 10.0


class Provider(Struct, frozen=True):
    """A source of events, and which of them are wanted."""

    guid: UUID
    keywords: int = 0
    """Any of these groups; 0 for all."""
    level: int = etw.TRACE_LEVEL_VERBOSE
    """The least severe ones: 1 critical … 5 verbose."""
    events: frozenset[int] = frozenset()
    """Identifiers to keep, empty for all; the others are dropped when they arrive."""


class EtwLost(Struct, frozen=True):
    """What was not delivered since the session was started."""

    events: int
    """Found no buffer."""
    buffers: int
    """Found no consumer in time; how many events were in them nobody knows."""
    waiting: int
    """Found no room among those that wait for us."""

    @property
    def total(self) -> int:
        """Events and buffers: more than nothing means that the stream has holes."""
        return self.events + self.buffers + self.waiting


class EtwSession:
    """A running session. Made by `open_session`."""

    def __init__(self, name: str, handle: int, providers: Sequence[Provider], stop: threading.Event) -> None:
        self.name = name
        self._handle, self._stop = handle, stop
        self._guids = {one.guid.bytes_le: (one.guid, one.events) for one in providers}
        self._waiting: queue.SimpleQueue[EtwRecord] = queue.SimpleQueue()
        self._dropped = self._failed = 0
        self._code: int | None = None
        self._lost = EtwLost(0, 0, 0)
        self._callback = etw.on_event(self.on_event)
        """Kept: the system calls it for as long as the consumer runs."""

    def batches(self, tick_s: float = TICK_S) -> Iterator[list[EtwRecord]]:
        """Events as they are delivered until `stop`, what was delivered before it included.

        A batch is at most 4096 events; an empty one comes when there was none for `tick_s`.

        Raises:
            NativeError: the session was ended from outside.
        """
        while not self._stop.is_set():
            yield self._take(tick_s)
            if self._code is not None and self._waiting.empty():
                raise NativeError("ProcessTrace", self._code, "the tracing session was ended by somebody else")
        while rest := self._take(0):
            yield rest

    def records(self) -> Iterator[EtwRecord]:
        """The same one by one. Raises as `batches`."""
        for batch in self.batches():
            yield from batch

    def lost(self) -> EtwLost:
        """What was lost so far."""
        self._note_losses(etw.EVENT_TRACE_CONTROL_QUERY)
        return EtwLost(self._lost.events, self._lost.buffers, self._dropped + self._failed)

    def flush(self) -> None:
        """Has the buffers handed over that are not full yet; their events arrive shortly after."""
        etw.control_session(self._handle, None, etw.EVENT_TRACE_CONTROL_FLUSH)

    def on_event(self, at: int) -> None:
        """Called by the system for each event, in the consumer's thread; `at` is its EVENT_RECORD."""
        try:
            self._add(at)
        except Exception:  # an exception would be printed and go on; this way it is counted
            self._failed += 1

    def _add(self, at: int) -> None:
        width = etw.pointer_bytes
        head = parse_head(etw.bytes_at(at, RECORD_BYTES[width]), width)
        guid, wanted = self._guids.get(head.provider, (None, frozenset[int]()))
        if guid is None or (wanted and head.id not in wanted):
            return
        if self._waiting.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        payload = etw.bytes_at(head.payload_at, head.payload_bytes)
        size = 4 if head.flags & FLAG_32_BIT else 8
        self._waiting.put(
            EtwRecord(guid, head.id, head.version, head.opcode, head.pid, head.tid, head.filetime, payload, size)
        )

    def _take(self, wait_s: float) -> list[EtwRecord]:
        found: list[EtwRecord] = []
        try:
            found.append(self._waiting.get(timeout=wait_s) if wait_s else self._waiting.get_nowait())
            while len(found) < _AT_ONCE:
                found.append(self._waiting.get_nowait())
        except queue.Empty:
            pass
        return found

    # Life of the session ------------------------------------------------------------------------------------------

    def enable(self, provider: Provider) -> None:
        """Turns a source on for this session. Raises: OSError."""
        etw.enable_provider(self._handle, provider.guid, provider.level, provider.keywords)

    @contextmanager
    def consumed(self) -> Iterator[None]:
        """Events are delivered to us while the block runs. Raises: OSError."""
        consumer = etw.open_consumer(self.name, self._callback)
        thread = threading.Thread(target=self._consume, args=(consumer,), name="etw", daemon=True)
        thread.start()
        try:
            yield
        finally:
            etw.close_consumer(consumer)
            thread.join(_JOIN_S)

    def _consume(self, consumer: int) -> None:
        self._code = etw.consume(consumer)

    def end(self) -> None:
        """Stops the session, and keeps what it says it lost."""
        self._note_losses(etw.EVENT_TRACE_CONTROL_STOP)

    def _note_losses(self, code: int) -> None:
        told = etw.control_session(self._handle, None, code)
        if told is not None:
            self._lost = EtwLost(told.EventsLost, told.LogBuffersLost + told.RealTimeBuffersLost, 0)


@contextmanager
def open_session(
    providers: Sequence[Provider], stop: threading.Event, tally: Tally | None = None
) -> Iterator[EtwSession]:
    """Starts a session with these sources; it is stopped at the end of the block.

    Args:
        stop: ends `EtwSession.batches`.
        tally: gets what this does to the system, and sessions of dead processes that were stopped.

    Needs: an administrator or a member of Performance Log Users; for the kernel's providers an administrator.
    Cost: 8 µs an event until it is taken.

    Raises:
        Denied, Unavailable
        Unsupported: there is no tracing here, or something that only pretends to trace (Wine).
    """
    for left in stop_orphans():
        if tally is not None:
            tally.effects.append(f"stopped the tracing session {left}, whose process had gone")
    with ExitStack() as stack:
        try:
            session = _started(providers, stop, stack)
        except Error:
            raise
        except OSError as failed:
            raise _error(failed) from failed
        if tally is not None:
            tally.effects.append(f"tracing session {session.name}, stopped at the end")
        yield session


def _started(providers: Sequence[Provider], stop: threading.Event, stack: ExitStack) -> EtwSession:
    name, handle = _new_session()
    session = EtwSession(name, handle, providers, stop)
    stack.callback(session.end)
    _check_it_runs(name)
    stack.enter_context(session.consumed())
    for provider in providers:
        session.enable(provider)
    return session


def _new_session() -> tuple[str, int]:
    """Name and handle. Raises: OSError."""
    for number in range(1, MOST_NAMES):
        name = f"hostscope-{os.getpid()}-{number}"
        try:
            return name, etw.start_session(name)
        except OSError as failed:
            if _code(failed) != ERROR_ALREADY_EXISTS:
                raise
    raise Unavailable(f"{MOST_NAMES - 1} tracing sessions of this process are running")


def stop_orphans() -> list[str]:
    """Stops our sessions whose processes have gone; their names."""
    names = [name for name in etw.session_names() if (told := NAME.fullmatch(name)) and not _lives(int(told[1]))]
    return [name for name in names if etw.control_session(0, name, etw.EVENT_TRACE_CONTROL_STOP) is not None]


def _lives(pid: int) -> bool:
    try:
        with opened(pid, PROCESS_QUERY_LIMITED_INFORMATION):
            return True
    except OSError as failed:
        return _code(failed) not in VANISHED


def _check_it_runs(name: str) -> None:
    """Wine's StartTraceW succeeds and does nothing, with the handle 0xCAFE4242. A session has buffers."""
    told = etw.control_session(0, name, etw.EVENT_TRACE_CONTROL_QUERY)
    if told is None or not told.NumberOfBuffers:
        raise Unsupported("tracing was said to have started, but there is no session", "Wine only pretends to trace")


def _error(failed: OSError) -> Error:
    if _code(failed) in REFUSED:
        return Denied("tracing of events: access denied", HINT)
    if _code(failed) == ERROR_NO_SYSTEM_RESOURCES:
        return Unavailable("all tracing sessions of the system are in use", "logman query -ets lists them")
    return translate.error("tracing of events", failed)


def _code(failed: OSError) -> int | None:
    return getattr(failed, "winerror", None)
