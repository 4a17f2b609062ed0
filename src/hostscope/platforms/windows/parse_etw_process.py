"""Events of Microsoft-Windows-Kernel-Process. Pure; payloads are other processes' bytes.

Source: the provider's manifest (``wevtutil gp Microsoft-Windows-Kernel-Process /ge /gm:true``); versions only add
fields. Offsets are for payloads as the manifest packs them: no alignment between fields.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from hostscope.model.text import decode
from hostscope.platforms.windows.parse import parse_text
from hostscope.platforms.windows.parse_etw import EtwRecord

PROCESS_START, PROCESS_STOP, THREAD_START, THREAD_STOP, IMAGE_LOAD, IMAGE_UNLOAD = range(1, 7)
KEYWORD_PROCESS, KEYWORD_THREAD, KEYWORD_IMAGE = 0x10, 0x20, 0x40
MOST_NAME_BYTES = 1 << 16
_LONGEST = 1 << 56
"""Ticks that a process may have lived, two hundred years: any program may log events in the provider's name."""


class Started(NamedTuple):
    """A process that began."""

    pid: int
    created: int
    """FILETIME."""
    parent: int
    session: int
    image: str
    """By its device, such as ``\\Device\\HarddiskVolume3\\…``."""


class Stopped(NamedTuple):
    """A process that ended."""

    pid: int
    created: int
    exited: int
    code: int
    peak_commit_bytes: int
    image: str
    """File name, at most 15 characters."""


class ThreadEvent(NamedTuple):
    """A thread that began or ended."""

    pid: int
    tid: int
    start_address: int
    """As it was given to CreateThread."""


class ImageEvent(NamedTuple):
    """A program or library that was mapped or unmapped."""

    pid: int
    base: int
    size_bytes: int
    path: str


Parsed = Started | Stopped | ThreadEvent | ImageEvent


def parse_process_event(record: EtwRecord) -> Parsed | None:
    """What an event tells; None for those that are of no interest.

    Raises:
        ValueError: it is cut short, or makes no sense.
    """
    parse = _PARSERS.get(record.id)
    if parse is None:
        return None
    try:
        return parse(record)
    except struct.error as failed:
        raise ValueError(f"event {record.id} version {record.version} of {len(record.payload)} bytes") from failed


def _started(record: EtwRecord) -> Started:
    """Version 1 adds Flags before the name; version 3 sequence numbers, elevation and the integrity level's SID."""
    raw = record.payload
    if record.version >= 3:
        pid, _, created, parent, _, session = struct.unpack_from("<IQQIQI", raw)
        at = 36 + 4 + 4 + 4  # Flags, ProcessTokenElevationType, ProcessTokenIsElevated
        return Started(pid, created, parent, session, _wide(raw, at + _sid_bytes(raw, at)))
    pid, created, parent, session = struct.unpack_from("<IQII", raw)
    return Started(pid, created, parent, session, _wide(raw, 20 + (4 if record.version else 0)))


def _stopped(record: EtwRecord) -> Stopped:
    """Version 1 adds counts before the name; version 2 a sequence number behind the pid."""
    raw = record.payload
    skipped = 8 if record.version >= 2 else 0
    (pid,) = struct.unpack_from("<I", raw)
    created, exited, code, _, _, _, peak = struct.unpack_from("<QQIIIQQ", raw, 4 + skipped)
    if not created <= exited < created + _LONGEST:
        raise ValueError(f"a process that ended {exited - created} ticks after it began")
    at = 48 + skipped + (28 if record.version else 0)
    name = raw[at : at + MOST_NAME_BYTES].split(b"\0", 1)[0]
    return Stopped(pid, created, exited, code, peak, decode(name))


def _thread(record: EtwRecord) -> ThreadEvent:
    """Pids and four addresses of stacks stand before the two of the start: the kernel's, and the program's."""
    pointer = "Q" if record.pointer_bytes == 8 else "I"
    pid, tid, *_, start = struct.unpack_from(f"<II6{pointer}", record.payload)
    return ThreadEvent(pid, tid, start)


def _image(record: EtwRecord) -> ImageEvent:
    pointer = "Q" if record.pointer_bytes == 8 else "I"
    layout = f"<{pointer}{pointer}III{pointer}"
    base, size, pid, _, _, _ = struct.unpack_from(layout, record.payload)
    return ImageEvent(pid, base, size, _wide(record.payload, struct.calcsize(layout)))


def _sid_bytes(raw: bytes, at: int) -> int:
    """Revision, number of parts, six bytes of authority, four for each part."""
    if at + 2 > len(raw):
        raise ValueError("an event without the SID that it should have")
    return 8 + 4 * raw[at + 1]


def _wide(raw: bytes, at: int) -> str:
    """UTF-16 up to its NUL."""
    return parse_text(raw[at : at + MOST_NAME_BYTES])


_PARSERS: dict[int, Callable[[EtwRecord], Parsed]] = {
    PROCESS_START: _started,
    PROCESS_STOP: _stopped,
    THREAD_START: _thread,
    THREAD_STOP: _thread,
    IMAGE_LOAD: _image,
    IMAGE_UNLOAD: _image,
}
