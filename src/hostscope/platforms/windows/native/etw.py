"""Event Tracing for Windows: sessions that a program controls, and the consumption of their events (advapi32).

Unions are given by one member: the one that is used.
"""

import ctypes
from collections.abc import Callable
from typing import Any
from uuid import UUID

from hostscope.platforms.windows.native.guid import GUID, guid_of
from hostscope.platforms.windows.native.library import Library, SystemRefused, last_error
from hostscope.platforms.windows.native.types import (
    LARGE_INTEGER,
    LONG,
    LONGLONG,
    LPCWSTR,
    LPWSTR,
    POINTER,
    PVOID,
    UCHAR,
    ULONG,
    ULONG64,
    ULONGLONG,
    USHORT,
    WCHAR,
    WORD,
)

WNODE_FLAG_TRACED_GUID = 0x00020000
EVENT_TRACE_REAL_TIME_MODE = 0x00000100
EVENT_TRACE_CONTROL_QUERY = 0
EVENT_TRACE_CONTROL_STOP = 1
EVENT_TRACE_CONTROL_FLUSH = 3
EVENT_CONTROL_CODE_DISABLE_PROVIDER = 0
EVENT_CONTROL_CODE_ENABLE_PROVIDER = 1
EVENT_CONTROL_CODE_CAPTURE_STATE = 2
PROCESS_TRACE_MODE_REAL_TIME = 0x00000100
PROCESS_TRACE_MODE_EVENT_RECORD = 0x10000000
EVENT_HEADER_FLAG_32_BIT_HEADER = 0x0020
TRACE_LEVEL_VERBOSE = 5

TRACEHANDLE = ULONG64
invalid_processtrace_handle = 2 ** (8 * ctypes.sizeof(PVOID)) - 1
"""INVALID_PROCESSTRACE_HANDLE: as wide as a pointer, although handles are of 64 bits everywhere."""

_function = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
event_record_callback = _function(None, PVOID)
_buffer_callback = _function(ULONG, PVOID)


class WNODE_HEADER(ctypes.Structure):
    _fields_ = (
        ("BufferSize", ULONG),
        ("ProviderId", ULONG),
        ("HistoricalContext", ULONG64),
        ("TimeStamp", LARGE_INTEGER),
        ("Guid", GUID),
        ("ClientContext", ULONG),
        ("Flags", ULONG),
    )


class EVENT_TRACE_PROPERTIES(ctypes.Structure):
    _fields_ = (
        ("Wnode", WNODE_HEADER),
        ("BufferSize", ULONG),
        ("MinimumBuffers", ULONG),
        ("MaximumBuffers", ULONG),
        ("MaximumFileSize", ULONG),
        ("LogFileMode", ULONG),
        ("FlushTimer", ULONG),
        ("EnableFlags", ULONG),
        ("AgeLimit", LONG),
        ("NumberOfBuffers", ULONG),
        ("FreeBuffers", ULONG),
        ("EventsLost", ULONG),
        ("BuffersWritten", ULONG),
        ("LogBuffersLost", ULONG),
        ("RealTimeBuffersLost", ULONG),
        ("LoggerThreadId", PVOID),
        ("LogFileNameOffset", ULONG),
        ("LoggerNameOffset", ULONG),
    )


class SYSTEMTIME(ctypes.Structure):
    _fields_ = tuple(
        (name, WORD)
        for name in ("wYear", "wMonth", "wDayOfWeek", "wDay", "wHour", "wMinute", "wSecond", "wMilliseconds")
    )


class TIME_ZONE_INFORMATION(ctypes.Structure):
    _fields_ = (
        ("Bias", LONG),
        ("StandardName", WCHAR * 32),
        ("StandardDate", SYSTEMTIME),
        ("StandardBias", LONG),
        ("DaylightName", WCHAR * 32),
        ("DaylightDate", SYSTEMTIME),
        ("DaylightBias", LONG),
    )


class EVENT_TRACE_HEADER(ctypes.Structure):
    _fields_ = (
        ("Size", USHORT),
        ("FieldTypeFlags", USHORT),
        ("Version", ULONG),
        ("ThreadId", ULONG),
        ("ProcessId", ULONG),
        ("TimeStamp", LARGE_INTEGER),
        ("Guid", GUID),
        ("ProcessorTime", ULONG64),
    )


class EVENT_TRACE(ctypes.Structure):
    _fields_ = (
        ("Header", EVENT_TRACE_HEADER),
        ("InstanceId", ULONG),
        ("ParentInstanceId", ULONG),
        ("ParentGuid", GUID),
        ("MofData", PVOID),
        ("MofLength", ULONG),
        ("ClientContext", ULONG),
    )


class TRACE_LOGFILE_HEADER(ctypes.Structure):
    _fields_ = (
        ("BufferSize", ULONG),
        ("Version", ULONG),
        ("ProviderVersion", ULONG),
        ("NumberOfProcessors", ULONG),
        ("EndTime", LARGE_INTEGER),
        ("TimerResolution", ULONG),
        ("MaximumFileSize", ULONG),
        ("LogFileMode", ULONG),
        ("BuffersWritten", ULONG),
        ("LogInstanceGuid", GUID),
        ("LoggerName", LPWSTR),
        ("LogFileName", LPWSTR),
        ("TimeZone", TIME_ZONE_INFORMATION),
        ("BootTime", LARGE_INTEGER),
        ("PerfFreq", LARGE_INTEGER),
        ("StartTime", LARGE_INTEGER),
        ("ReservedFlags", ULONG),
        ("BuffersLost", ULONG),
    )


class EVENT_TRACE_LOGFILEW(ctypes.Structure):
    _fields_ = (
        ("LogFileName", LPWSTR),
        ("LoggerName", LPWSTR),
        ("CurrentTime", LONGLONG),
        ("BuffersRead", ULONG),
        ("ProcessTraceMode", ULONG),
        ("CurrentEvent", EVENT_TRACE),
        ("LogfileHeader", TRACE_LOGFILE_HEADER),
        ("BufferCallback", _buffer_callback),
        ("BufferSize", ULONG),
        ("Filled", ULONG),
        ("EventsLost", ULONG),
        ("EventRecordCallback", event_record_callback),
        ("IsKernelTrace", ULONG),
        ("Context", PVOID),
    )


class EVENT_DESCRIPTOR(ctypes.Structure):
    _fields_ = (
        ("Id", USHORT),
        ("Version", UCHAR),
        ("Channel", UCHAR),
        ("Level", UCHAR),
        ("Opcode", UCHAR),
        ("Task", USHORT),
        ("Keyword", ULONGLONG),
    )


class EVENT_HEADER(ctypes.Structure):
    _fields_ = (
        ("Size", USHORT),
        ("HeaderType", USHORT),
        ("Flags", USHORT),
        ("EventProperty", USHORT),
        ("ThreadId", ULONG),
        ("ProcessId", ULONG),
        ("TimeStamp", LARGE_INTEGER),
        ("ProviderId", GUID),
        ("EventDescriptor", EVENT_DESCRIPTOR),
        ("ProcessorTime", ULONG64),
        ("ActivityId", GUID),
    )


class ETW_BUFFER_CONTEXT(ctypes.Structure):
    _fields_ = (("ProcessorIndex", USHORT), ("LoggerId", USHORT))


class EVENT_RECORD(ctypes.Structure):
    _fields_ = (
        ("EventHeader", EVENT_HEADER),
        ("BufferContext", ETW_BUFFER_CONTEXT),
        ("ExtendedDataCount", USHORT),
        ("UserDataLength", USHORT),
        ("ExtendedData", PVOID),
        ("UserData", PVOID),
        ("UserContext", PVOID),
    )


SIGNATURES = {
    "StartTraceW": (ULONG, (POINTER(TRACEHANDLE), LPCWSTR, POINTER(EVENT_TRACE_PROPERTIES))),
    "ControlTraceW": (ULONG, (TRACEHANDLE, LPCWSTR, POINTER(EVENT_TRACE_PROPERTIES), ULONG)),
    "EnableTraceEx2": (
        ULONG,
        (TRACEHANDLE, POINTER(GUID), ULONG, UCHAR, ULONGLONG, ULONGLONG, ULONG, PVOID),
    ),
    "QueryAllTracesW": (ULONG, (POINTER(POINTER(EVENT_TRACE_PROPERTIES)), ULONG, POINTER(ULONG))),
    "OpenTraceW": (TRACEHANDLE, (POINTER(EVENT_TRACE_LOGFILEW),)),
    "ProcessTrace": (ULONG, (POINTER(TRACEHANDLE), ULONG, PVOID, PVOID)),
    "CloseTrace": (ULONG, (TRACEHANDLE,)),
}
advapi32 = Library("advapi32", SIGNATURES)

most_sessions = 64
"""EVENT_TRACE_MAX sessions of one system, as documented; more are not asked for."""
pointer_bytes = ctypes.sizeof(PVOID)
_BUFFER_KIB, _LEAST_BUFFERS, _MOST_BUFFERS = 64, 16, 256
"""Of a session, all processors together: at most 16 MiB."""
_FLUSH_S = 1
"""Buffers that are not full are handed over so often: the shortest time there is."""
_NAME_BYTES = 2 * 1024
"""Of a session's name, and of a file's, behind the properties."""
_ERROR_NO_SYSTEM_RESOURCES = 1450


def start_session(name: str) -> int:
    """Starts a session that delivers at once; its handle.

    Raises:
        OSError: 5 without the right to, 183 when there is one of that name, 1450 when there are too many.
    """
    handle, properties = TRACEHANDLE(0), _properties()
    _check("StartTraceW", advapi32.StartTraceW(handle, name, properties))
    return handle.value


def control_session(handle: int, name: str | None, code: int) -> EVENT_TRACE_PROPERTIES | None:
    """What a session says of itself, by its handle or name; None when there is none, or it may not be asked."""
    properties = _properties()
    properties.LogFileMode = 0
    failed = advapi32.ControlTraceW(handle, name, properties, code)
    return None if failed else properties


def session_names() -> list[str]:
    """Of all sessions that we may see; empty where the system does not tell."""
    kept = [_properties() for _ in range(most_sessions)]
    table = (POINTER(EVENT_TRACE_PROPERTIES) * most_sessions)(*map(ctypes.pointer, kept))
    found = ULONG(0)
    advapi32.QueryAllTracesW(table, most_sessions, found)
    return [_name_of(one) for one in kept[: min(found.value, most_sessions)]]


def enable_provider(handle: int, provider: UUID, level: int, keywords: int) -> None:
    """Turns a source on for a session. Raises as `start_session`."""
    enable = EVENT_CONTROL_CODE_ENABLE_PROVIDER
    code = advapi32.EnableTraceEx2(handle, guid_of(provider), enable, level, keywords, 0, 0, None)
    _check("EnableTraceEx2", code)


def open_consumer(name: str, callback: Any) -> int:
    """Has a session's events delivered to `event_record_callback`, once `consume` runs. Raises as `start_session`."""
    source = EVENT_TRACE_LOGFILEW()
    source.LoggerName = name
    source.ProcessTraceMode = PROCESS_TRACE_MODE_REAL_TIME | PROCESS_TRACE_MODE_EVENT_RECORD
    source.EventRecordCallback = callback
    consumer: int = advapi32.OpenTraceW(source)
    if consumer in (invalid_processtrace_handle, 0xFFFFFFFFFFFFFFFF):
        _check("OpenTraceW", last_error() or _ERROR_NO_SYSTEM_RESOURCES)
    return consumer


def consume(consumer: int) -> int:
    """Delivers events in this thread until the consumer is closed or the session ends; with which error code."""
    code: int = advapi32.ProcessTrace((TRACEHANDLE * 1)(consumer), 1, None, None)
    return code


def close_consumer(consumer: int) -> None:
    """Ends `consume`, in whatever thread it runs."""
    advapi32.CloseTrace(consumer)


def on_event(take: Callable[[int], None]) -> Any:
    """A callback that gives the address of each EVENT_RECORD; to be kept as long as it may be called."""
    return event_record_callback(take)


def bytes_at(address: int, size: int) -> bytes:
    """Memory of ours, copied."""
    return ctypes.string_at(address, size) if size else b""


def _properties() -> EVENT_TRACE_PROPERTIES:
    """With room behind it for the names that the system writes there."""
    size = ctypes.sizeof(EVENT_TRACE_PROPERTIES)
    room = ctypes.create_string_buffer(size + 2 * _NAME_BYTES)
    properties = EVENT_TRACE_PROPERTIES.from_buffer(room)
    properties.Wnode.BufferSize = len(room)
    properties.Wnode.Flags = WNODE_FLAG_TRACED_GUID
    properties.Wnode.ClientContext = 1  # stamps by the performance counter, which the consumer gets as system time
    properties.BufferSize, properties.FlushTimer = _BUFFER_KIB, _FLUSH_S
    properties.MinimumBuffers, properties.MaximumBuffers = _LEAST_BUFFERS, _MOST_BUFFERS
    properties.LogFileMode = EVENT_TRACE_REAL_TIME_MODE
    properties.LoggerNameOffset, properties.LogFileNameOffset = size, size + _NAME_BYTES
    return properties


def _name_of(properties: EVENT_TRACE_PROPERTIES) -> str:
    if properties.LoggerNameOffset != ctypes.sizeof(EVENT_TRACE_PROPERTIES):
        return ""
    raw = ctypes.string_at(ctypes.addressof(properties) + properties.LoggerNameOffset, _NAME_BYTES)
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def _check(call: str, code: int) -> None:
    if code:
        raise SystemRefused(call, code)
