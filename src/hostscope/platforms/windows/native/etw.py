"""Event Tracing for Windows: sessions that a program controls, and the consumption of their events (advapi32).

Unions are given by one member: the one that is used.
"""

import ctypes

from hostscope.platforms.windows.native.guid import GUID
from hostscope.platforms.windows.native.library import Library
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
