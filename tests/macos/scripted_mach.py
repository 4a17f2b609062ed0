"""Tasks, memory, threads and queues of the scripted system, from Python's side."""

import ctypes
import os
from ctypes import c_char_p, c_int, c_uint, c_uint64, c_void_p
from typing import Any

from tests.macos.scripted import Darwin

PAGE = 16_384
NONE, READ, WRITE, EXECUTE = 0, 1, 2, 4
KERN_INVALID_ADDRESS, KERN_FAILURE, MACH_SEND_INVALID_DEST = 1, 5, 0x10000003
TASK_FOR_PID, TASK_READ, TASK_NAME = 1, 2, 3
"""Details of TASK_FOR_PID."""
REGION, READING, QUERY, INFO, SUSPEND, CORPSE, THREADS = 1, 2, 3, 4, 5, 6, 7
"""Details of MACH."""
PRIVATE, SHARED = 2, 4


class FakeRegion(ctypes.Structure):
    """struct fake_region."""

    _fields_ = (
        ("pid", c_int),
        ("start", c_uint64),
        ("size", c_uint64),
        ("protection", c_int),
        ("tag", c_uint),
        ("pager", c_int),
        ("share", c_int),
        ("depth", c_int),
        ("submap", c_int),
        ("data", c_char_p),
        ("pages", c_char_p),
    )


class Mach:
    """What Mach answers."""

    def __init__(self, darwin: Darwin) -> None:
        self.library, self._kept = darwin.library, list[Any]()
        self.library.fake_region_size.restype = ctypes.c_size_t
        assert self.library.fake_region_size() == ctypes.sizeof(FakeRegion)
        self.library.fake_mach_reset()
        darwin.value("hw.pagesize", PAGE.to_bytes(4, "little"))
        darwin.value("hw.machine", b"arm64\0")

    def region(self, pid: int, start: int, data: bytes | int, protection: int = READ | WRITE, **fields: Any) -> None:
        """A region with content, or of a size without any."""
        size = data if isinstance(data, int) else len(data)
        made = FakeRegion(pid, start, size, protection, share=PRIVATE)
        made.data = None if isinstance(data, int) else data
        for name, value in fields.items():
            setattr(made, name, value)
        self._kept.append((made, data, fields))
        self.library.fake_region(ctypes.byref(made))

    def thread(self, pid: int, tid: int, state: bytes, name: bytes = b"main") -> None:
        """A thread with registers."""
        self._kept.append((state, name))
        self.library.fake_thread(
            pid, c_uint64(tid), c_char_p(name), c_void_p.from_buffer(c_char_p(state)), len(state) // 4
        )

    def processor(self, user: int, system: int, idle: int, nice: int) -> None:
        self.library.fake_processor(user, system, idle, nice)

    def pages(self, free: int, inactive: int, speculative: int, external: int) -> None:
        self.library.fake_pages(free, inactive, speculative, external)

    @property
    def suspended(self) -> int:
        """Suspensions that were not taken back."""
        return int(self.library.fake_suspended())

    @property
    def released(self) -> int:
        """Rights that were given back."""
        return int(self.library.fake_released())

    def signals(self) -> list[int]:
        """What was sent by audit token, in order."""
        return [number for place in range(8) if (number := self.library.fake_signal(place))]


class Queues:
    """What kqueue tells."""

    def __init__(self, darwin: Darwin) -> None:
        self.library = darwin.library
        self.library.fake_watched.restype = c_uint
        self.begin()

    def begin(self) -> int:
        """The queue that is made next; a real descriptor, which the code closes."""
        queue = os.open(os.devnull, os.O_RDONLY)
        self.library.fake_queue_reset(queue)
        return queue

    def happen(self, pid: int, notes: int, data: int = 0) -> None:
        self.library.fake_happen(pid, c_uint(notes), ctypes.c_int64(data))

    def watched(self, pid: int) -> int:
        """The notes that a process is watched for."""
        return int(self.library.fake_watched(pid))
