"""Event tracing as Windows would do it: sessions by name, and events that are delivered to a callback."""

import ctypes
import queue
import struct
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from hostscope.platforms.windows.native import etw
from hostscope.platforms.windows.native.guid import guid_of, uuid_of
from hostscope.platforms.windows.parse_etw import DNS_CLIENT, KERNEL_NETWORK, KERNEL_PROCESS, EtwRecord

STAMP = 133_700_000_000_000_000
MORE, ALREADY, NO_SUCH = 234, 183, 4201
Delivered = tuple["etw.EVENT_RECORD", bytes]


def event(
    provider: UUID,
    number: int,
    payload: bytes,
    pid: int = 4,
    version: int = 0,
    filetime: int = STAMP,
    flags: int = 0x40,
) -> Delivered:
    """An EVENT_RECORD with its payload, which must be kept as long as the record is used."""
    record = etw.EVENT_RECORD()
    head = record.EventHeader
    head.Size, head.Flags, head.ProcessId, head.ThreadId, head.TimeStamp = (
        ctypes.sizeof(record),
        flags,
        pid,
        99,
        filetime,
    )
    head.ProviderId = guid_of(provider)
    head.EventDescriptor.Id, head.EventDescriptor.Version, head.EventDescriptor.Opcode = number, version, 1
    kept = ctypes.create_string_buffer(payload, len(payload) or 1)
    record.UserDataLength, record.UserData = len(payload), ctypes.addressof(kept)
    record._kept = kept
    return record, payload


def plain(
    provider: UUID, number: int, payload: bytes, pid: int = 4, version: int = 0, filetime: int = STAMP
) -> EtwRecord:
    """The same as a parser gets it."""
    return EtwRecord(provider, number, version, 1, pid, 99, filetime, payload)


def network(pid: int, size: int, local: tuple[bytes, int], remote: tuple[bytes, int]) -> bytes:
    """Payload of a network event, with the fields behind that nobody reads."""
    ends = remote[0] + local[0] + struct.pack(">HH", remote[1], local[1])
    return struct.pack("<II", pid, size) + ends + struct.pack("<IIIQ", 1, 2, 3, 4)


def wide(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def process_start(pid: int, created: int, ppid: int, image: str, version: int = 3) -> bytes:
    """Payload of a process' start."""
    sequence = struct.pack("<Q", 77) if version >= 3 else b""
    sid = bytes.fromhex("010100000000001000300000")
    token = struct.pack("<II", 1, 0) + sid if version >= 3 else b""
    flags = struct.pack("<I", 0) if version else b""
    head = struct.pack("<I", pid) + sequence + struct.pack("<QI", created, ppid) + sequence + struct.pack("<I", 1)
    return head + flags + token + wide(image) + struct.pack("<II", 5, 6)


def dns_answer(name: str, kind: int, results: str, status: int = 0) -> bytes:
    """Payload of a completed query."""
    return wide(name) + struct.pack("<IQI", kind, 0, status) + wide(results)


class Tracing:
    """advapi32's part in it."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.enabled: list[tuple[UUID, int, int]] = []
        self.events: queue.SimpleQueue[Delivered | int] = queue.SimpleQueue()
        """What is delivered to the first consumer; a number ends the consumption with this code."""
        self.refuse: dict[str, int] = {}
        """Function -> error code."""
        self.pretends = False
        """As Wine: everything succeeds and nothing happens."""
        self.lost = (0, 0, 0)
        self.calls: list[str] = []
        self._callbacks: dict[int, Any] = {}
        self._queues: dict[int, queue.SimpleQueue[Delivered | int]] = {}

    def functions(self) -> dict[str, Any]:
        return {
            "StartTraceW": self.start, "ControlTraceW": self.control, "EnableTraceEx2": self.enable,
            "QueryAllTracesW": self.query_all, "OpenTraceW": self.open, "ProcessTrace": self.process,
            "CloseTrace": self.close,
        }  # fmt: skip

    def deliver(self, events: Iterable[Delivered]) -> None:
        for one in events:
            self.events.put(one)

    def start(self, handle: Any, name: str, properties: Any) -> int:
        self.calls.append(f"start {name}")
        assert properties.Wnode.BufferSize >= ctypes.sizeof(properties) + 2 * len(name) + 2
        assert properties.LogFileMode & etw.EVENT_TRACE_REAL_TIME_MODE
        if code := self.refuse.get("StartTraceW", 0):
            return code
        if name in self.sessions:
            return ALREADY
        handle.value = 0xCAFE4242 if self.pretends else 0x1000 + len(self.calls)
        if not self.pretends:
            self.sessions[name] = {"handle": handle.value, "name": name}
        return 0

    def control(self, handle: int, name: str | None, properties: Any, code: int) -> int:
        self.calls.append(f"control {code}")
        if self.pretends:
            return 0
        found = next((one for one in self.sessions.values() if one["name"] == name or one["handle"] == handle), None)
        if found is None:
            return NO_SUCH
        properties.NumberOfBuffers = 16
        properties.EventsLost, properties.LogBuffersLost, properties.RealTimeBuffersLost = self.lost
        if code == etw.EVENT_TRACE_CONTROL_STOP:
            del self.sessions[found["name"]]
        return 0

    def enable(self, handle: int, guid: Any, code: int, level: int, keywords: int, *_: Any) -> int:
        self.enabled.append((uuid_of(guid), level, keywords))
        return self.refuse.get("EnableTraceEx2", 0)

    def query_all(self, table: Any, count: int, found: Any) -> int:
        names = list(self.sessions)[:count]
        for slot, name in zip(table, names, strict=False):
            room = ctypes.addressof(slot.contents) + slot.contents.LoggerNameOffset
            ctypes.memmove(room, wide(name), 2 * len(name) + 2)
        found.value = len(self.sessions)
        return MORE if len(self.sessions) > count else 0

    def open(self, source: Any) -> int:
        if self.refuse.get("OpenTraceW"):
            return 2**64 - 1
        assert source.LoggerName in self.sessions
        assert source.ProcessTraceMode == 0x10000100
        consumer = 0x77 + len(self._queues)
        self._callbacks[consumer] = source.EventRecordCallback
        self._queues[consumer] = queue.SimpleQueue() if self._queues else self.events
        return consumer

    def process(self, handles: Any, count: int, start: Any, end: Any) -> int:
        assert count == 1
        while not isinstance(one := self._queues[handles[0]].get(), int):
            self._callbacks[handles[0]](ctypes.addressof(one[0]))
        return one

    def close(self, handle: int) -> int:
        self.calls.append("close")
        self._queues[handle].put(0)
        return 0


SAMPLES = (
    (KERNEL_NETWORK, 10, network(70, 1000, (bytes([192, 0, 2, 1]), 49152), (bytes([198, 51, 100, 7]), 443))),
    (KERNEL_PROCESS, 1, process_start(71, STAMP, 70, "\\Device\\HarddiskVolume3\\a.exe")),
    (DNS_CLIENT, 3008, dns_answer("www.example", 1, "::ffff:198.51.100.7;")),
)
