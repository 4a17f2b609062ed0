"""Consuming events of Windows' tracing (ETW) in a session of our own, which ends with its block.

A session is a thing of the system: it outlives a program that dies without stopping it, and there are 64 of them. Ours
are named ``hostscope-PID-N``; those whose process has gone are stopped before another one is started.
"""

import ctypes
import os
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from uuid import UUID

from msgspec import Struct

from hostscope.errors import Denied, NativeError, Unavailable, Unsupported
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.native import etw
from hostscope.platforms.windows.native.etw import EVENT_TRACE_LOGFILEW, EVENT_TRACE_PROPERTIES, TRACEHANDLE, advapi32
from hostscope.platforms.windows.native.guid import guid_of
from hostscope.platforms.windows.native.handles import PROCESS_QUERY_LIMITED_INFORMATION, opened
from hostscope.platforms.windows.native.library import last_error
from hostscope.platforms.windows.native.types import PVOID, ULONG
from hostscope.platforms.windows.parse_etw import FLAG_32_BIT, RECORD_BYTES, EtwRecord, parse_head
from hostscope.platforms.windows.translate import REFUSED, VANISHED

ERROR_ALREADY_EXISTS = 183
ERROR_NO_SYSTEM_RESOURCES = 1450
HINT = "needs an administrator, or a member of Performance Log Users"
NAME = re.compile(r"hostscope-(\d{1,10})-\d{1,4}")
MOST_SESSIONS = 64
"""EVENT_TRACE_MAX sessions of one system, as documented; more are answered to a wider question."""
MOST_NAMES = 16
BUFFER_KIB, LEAST_BUFFERS, MOST_BUFFERS = 64, 16, 256
"""Of the session, all processors together: at most 16 MiB."""
FLUSH_S = 1
"""Buffers that are not full are handed over so often: the shortest time there is."""
MOST_WAITING = 131_072
"""Events that may wait for whoever reads them."""
TICK_S = 0.1
_AT_ONCE = 4096
_NAME_BYTES = 2 * 1024
"""Of a session's name, and of a file's, behind the properties."""
_POINTER_BYTES = ctypes.sizeof(PVOID)
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
        self._callback = etw.event_record_callback(self.on_event)
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
        told = _control(self._handle, None, etw.EVENT_TRACE_CONTROL_QUERY)
        if told is not None:
            self._lost = EtwLost(told.EventsLost, told.LogBuffersLost + told.RealTimeBuffersLost, 0)
        return EtwLost(self._lost.events, self._lost.buffers, self._dropped + self._failed)

    def flush(self) -> None:
        """Has the buffers handed over that are not full yet; their events arrive shortly after."""
        _control(self._handle, None, etw.EVENT_TRACE_CONTROL_FLUSH)

    def on_event(self, at: int) -> None:
        """Called by the system for each event, in the consumer's thread; `at` is its EVENT_RECORD."""
        try:
            self._add(at)
        except Exception:  # an exception would be printed and go on; this way it is counted
            self._failed += 1

    def _add(self, at: int) -> None:
        head = parse_head(ctypes.string_at(at, RECORD_BYTES[_POINTER_BYTES]), _POINTER_BYTES)
        guid, wanted = self._guids.get(head.provider, (None, frozenset[int]()))
        if guid is None or (wanted and head.id not in wanted):
            return
        if self._waiting.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        payload = ctypes.string_at(head.payload_at, head.payload_bytes) if head.payload_bytes else b""
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
        """Turns a source on for this session."""
        code = advapi32.EnableTraceEx2(
            self._handle, guid_of(provider.guid), etw.EVENT_CONTROL_CODE_ENABLE_PROVIDER, provider.level,
            provider.keywords, 0, 0, None,
        )  # fmt: skip
        _check("EnableTraceEx2", code)

    @contextmanager
    def consumed(self) -> Iterator[None]:
        """Events are delivered to us while the block runs."""
        consumer = self._open()
        thread = threading.Thread(target=self._consume, args=(consumer,), name="etw", daemon=True)
        thread.start()
        try:
            yield
        finally:
            advapi32.CloseTrace(consumer)
            thread.join(_JOIN_S)

    def _open(self) -> int:
        source = EVENT_TRACE_LOGFILEW()
        source.LoggerName = self.name
        source.ProcessTraceMode = etw.PROCESS_TRACE_MODE_REAL_TIME | etw.PROCESS_TRACE_MODE_EVENT_RECORD
        source.EventRecordCallback = self._callback
        consumer: int = advapi32.OpenTraceW(source)
        if consumer in (etw.invalid_processtrace_handle, 0xFFFFFFFFFFFFFFFF):
            _check("OpenTraceW", last_error() or ERROR_NO_SYSTEM_RESOURCES)
        return consumer

    def _consume(self, consumer: int) -> None:
        self._code = advapi32.ProcessTrace((TRACEHANDLE * 1)(consumer), 1, None, None)

    def end(self) -> None:
        """Stops the session, and keeps what it says it lost."""
        told = _control(self._handle, None, etw.EVENT_TRACE_CONTROL_STOP)
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
    Cost: 5 µs an event.

    Raises:
        Denied, Unavailable
        Unsupported: there is no tracing here, or something that only pretends to trace (Wine).
    """
    for left in stop_orphans():
        if tally is not None:
            tally.effects.append(f"stopped the tracing session {left}, whose process had gone")
    with ExitStack() as stack:
        session = _start(providers, stop)
        stack.callback(session.end)
        _check_it_runs(session.name)
        stack.enter_context(session.consumed())
        for provider in providers:
            session.enable(provider)
        if tally is not None:
            tally.effects.append(f"tracing session {session.name}, stopped at the end")
        yield session


def stop_orphans() -> list[str]:
    """Stops our sessions whose processes have gone; their names."""
    names = [name for name in session_names() if (told := NAME.fullmatch(name)) and not _lives(int(told[1]))]
    return [name for name in names if _control(0, name, etw.EVENT_TRACE_CONTROL_STOP) is not None]


def session_names() -> list[str]:
    """Of all sessions that we may see; empty where the system does not tell."""
    kept = [_properties() for _ in range(MOST_SESSIONS)]
    table = (ctypes.POINTER(EVENT_TRACE_PROPERTIES) * MOST_SESSIONS)(*map(ctypes.pointer, kept))
    found = ULONG(0)
    advapi32.QueryAllTracesW(table, MOST_SESSIONS, found)
    return [_name_of(one) for one in kept[: min(found.value, MOST_SESSIONS)]]


def _lives(pid: int) -> bool:
    try:
        with opened(pid, PROCESS_QUERY_LIMITED_INFORMATION):
            return True
    except OSError as failed:
        return getattr(failed, "winerror", None) not in VANISHED


def _start(providers: Sequence[Provider], stop: threading.Event) -> EtwSession:
    for number in count(1):
        name, handle, properties = f"hostscope-{os.getpid()}-{number}", TRACEHANDLE(0), _properties()
        code = advapi32.StartTraceW(handle, name, properties)
        if code != ERROR_ALREADY_EXISTS or number == MOST_NAMES:
            break
    _check("StartTraceW", code)
    return EtwSession(name, handle.value, providers, stop)


def _check_it_runs(name: str) -> None:
    """Wine's StartTraceW succeeds and does nothing, with the handle 0xCAFE4242. A session has buffers."""
    told = _control(0, name, etw.EVENT_TRACE_CONTROL_QUERY)
    if told is None or not told.NumberOfBuffers:
        raise Unsupported("tracing was said to have started, but there is no session", "Wine only pretends to trace")


def _properties() -> EVENT_TRACE_PROPERTIES:
    """With room behind it for the names that the system writes there."""
    size = ctypes.sizeof(EVENT_TRACE_PROPERTIES)
    room = ctypes.create_string_buffer(size + 2 * _NAME_BYTES)
    properties = EVENT_TRACE_PROPERTIES.from_buffer(room)
    properties.Wnode.BufferSize = len(room)
    properties.Wnode.Flags = etw.WNODE_FLAG_TRACED_GUID
    properties.Wnode.ClientContext = 1  # stamps by the performance counter, which the consumer gets as system time
    properties.BufferSize, properties.FlushTimer = BUFFER_KIB, FLUSH_S
    properties.MinimumBuffers, properties.MaximumBuffers = LEAST_BUFFERS, MOST_BUFFERS
    properties.LogFileMode = etw.EVENT_TRACE_REAL_TIME_MODE
    properties.LoggerNameOffset, properties.LogFileNameOffset = size, size + _NAME_BYTES
    return properties


def _name_of(properties: EVENT_TRACE_PROPERTIES) -> str:
    if properties.LoggerNameOffset != ctypes.sizeof(EVENT_TRACE_PROPERTIES):
        return ""
    raw = ctypes.string_at(ctypes.addressof(properties) + properties.LoggerNameOffset, _NAME_BYTES)
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def _control(handle: int, name: str | None, code: int) -> EVENT_TRACE_PROPERTIES | None:
    """What a session says of itself; None when there is none, or it may not be asked."""
    properties = _properties()
    properties.LogFileMode = 0
    failed = advapi32.ControlTraceW(handle, name, properties, code)
    return None if failed else properties


def _check(call: str, code: int) -> None:
    if code in REFUSED:
        raise Denied("tracing of events: access denied", HINT)
    if code == ERROR_NO_SYSTEM_RESOURCES:
        raise Unavailable("all tracing sessions of the system are in use", "logman query -ets lists them")
    if code:
        raise NativeError(call, code, f"failed with error {code}")
