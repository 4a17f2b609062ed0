"""What the service control manager answers in bytes. Pure.

Its structures point into the very buffer that they stand in: a pointer is a place there, or nonsense.
"""

import re
import struct
from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

from hostscope.model.text import decode_utf16
from hostscope.platforms.windows.parse import end_of_text

STATES = {
    1: "stopped",
    2: "start-pending",
    3: "stop-pending",
    4: "running",
    5: "continue-pending",
    6: "pause-pending",
    7: "paused",
}
STARTS = {0: "boot", 1: "system", 2: "auto", 3: "manual", 4: "disabled"}
KINDS = {
    0x01: "kernel-driver",
    0x02: "file-system-driver",
    0x04: "adapter",
    0x08: "recognizer-driver",
    0x10: "own-process",
    0x20: "share-process",
    0x50: "user-own-process",
    0x60: "user-share-process",
}
_INTERACTIVE, _INSTANCE, _PACKAGE = 0x100, 0x80, 0x200
ERRORS = {0: "ignore", 1: "normal", 2: "severe", 3: "critical"}
TRIGGERS = {
    1: "device-arrival",
    2: "ip-address",
    3: "domain-join",
    4: "firewall-port",
    5: "group-policy",
    6: "network-endpoint",
    7: "custom-system-state",
    20: "custom-event",
    30: "aggregate",
}
_PROGRAM = re.compile(r"(.*?\.(?:exe|com|sys|dll|bat|cmd))(?:\s|$)", re.IGNORECASE | re.DOTALL)
_ROOTS = ("\\systemroot\\", "%systemroot%\\", "%windir%\\")
_STATUS = struct.Struct("<9I")
_ENTRY = struct.Struct("<QQ9I4x")
_CONFIG = struct.Struct("<III4xQQI4xQQQ")
_TRIGGER = struct.Struct("<IIQI4xQ")
_TRIGGERS = struct.Struct("<I4xQQ")
MOST_SERVICES = 100_000
_MOST_UNITS = 32_768
_MOST_TRIGGERS = 1_000


class Status(Struct, frozen=True):
    """SERVICE_STATUS_PROCESS, with the words of `STATES` and `KINDS`."""

    kind: str
    state: str
    exit_code: int
    specific_exit_code: int
    pid: int | None


class Listed(Struct, frozen=True):
    """One entry of the list."""

    name: str
    display_name: str | None
    status: Status


class Config(Struct, frozen=True):
    """QUERY_SERVICE_CONFIGW."""

    start: str
    error_control: str
    command: str | None
    group: str | None
    account: str | None
    dependencies: tuple[str, ...]


def parse_status(raw: bytes | memoryview) -> Status:
    """Raises ValueError."""
    if len(raw) < _STATUS.size:
        raise ValueError("a status is cut short")
    kind, state, _, code, specific, _, _, pid, _ = _STATUS.unpack_from(raw)
    return Status(kind_name(kind), STATES.get(state, str(state)), code, specific, pid or None)


def kind_name(kind: int) -> str:
    """Such as ``share-process``; a number as text where it has no name."""
    return KINDS.get(kind & ~(_INTERACTIVE | _INSTANCE | _PACKAGE), str(kind))


def parse_list(raw: memoryview, address: int, count: int) -> Iterator[Listed]:
    """Entries of one page, that stood at `address`. Raises ValueError."""
    if not 0 <= count <= min(MOST_SERVICES, len(raw) // _ENTRY.size):
        raise ValueError(f"{count} services in {len(raw)} bytes")
    for index in range(count):
        at = index * _ENTRY.size
        name, display, *_ = _ENTRY.unpack_from(raw, at)
        status = parse_status(raw[at + 16 : at + 16 + _STATUS.size])
        yield Listed(text_at(raw, address, name) or "", text_at(raw, address, display), status)


def parse_config(raw: memoryview, address: int) -> Config:
    """Raises ValueError."""
    if len(raw) < _CONFIG.size:
        raise ValueError("a configuration is cut short")
    _, start, errors, command, group, _, needs, account, _ = _CONFIG.unpack_from(raw)
    return Config(
        STARTS.get(start, str(start)),
        ERRORS.get(errors, str(errors)),
        text_at(raw, address, command),
        text_at(raw, address, group) or None,
        text_at(raw, address, account),
        tuple(_texts_at(raw, address, needs)),
    )


def parse_description(raw: memoryview, address: int) -> str | None:
    """SERVICE_DESCRIPTIONW: a pointer. Raises ValueError."""
    if len(raw) < 8:
        raise ValueError("a description is cut short")
    return text_at(raw, address, int.from_bytes(raw[:8], "little"))


def parse_delayed(raw: memoryview) -> bool:
    """SERVICE_DELAYED_AUTO_START_INFO. Raises ValueError."""
    if len(raw) < 4:
        raise ValueError("a flag is cut short")
    return raw[0] != 0


def parse_triggers(raw: memoryview, address: int) -> tuple[str, ...]:
    """Each as ``start on ip-address {GUID}``. Raises ValueError."""
    if len(raw) < _TRIGGERS.size:
        raise ValueError("triggers are cut short")
    count, pointer, _ = _TRIGGERS.unpack_from(raw)
    if not count:
        return ()
    first = _place(raw, address, pointer, count * _TRIGGER.size)
    if count > _MOST_TRIGGERS or first is None:
        raise ValueError(f"{count} triggers outside of what was answered")
    return tuple(_trigger(raw, address, first + index * _TRIGGER.size) for index in range(count))


def _trigger(raw: memoryview, address: int, at: int) -> str:
    kind, action, subtype, _, _ = _TRIGGER.unpack_from(raw, at)
    does = {1: "start", 2: "stop"}.get(action, str(action))
    place = _place(raw, address, subtype, 16)
    what = f" {{{UUID(bytes_le=bytes(raw[place : place + 16]))}}}" if place is not None else ""
    return f"{does} on {TRIGGERS.get(kind, str(kind))}{what}"


def program_of(command: str, root: str) -> str | None:
    r"""The file that a service's command starts, or of a driver; None for an empty one.

    Args:
        root: such as ``C:\Windows``; drivers are named below it (``system32\drivers\x.sys``, ``\SystemRoot\…``).
    """
    text = command.strip()
    if text.startswith('"'):
        text = text[1:].partition('"')[0]
    elif found := _PROGRAM.match(text):
        text = found[1]
    else:
        text = text.partition(" ")[0]
    return expanded(text, root) if text else None


def expanded(path: str, root: str) -> str:
    """A path of the registry by its drive."""
    if path[:4] in ("\\??\\", "\\\\?\\"):
        return path[4:]
    for prefix in _ROOTS:
        if path.lower().startswith(prefix):
            return f"{root}\\{path[len(prefix) :]}"
    return f"{root}\\{path}" if path.lower().startswith("system32\\") else path


def text_at(raw: memoryview, address: int, pointer: int) -> str | None:
    """The text that a pointer leads to; None for a null pointer. Raises ValueError."""
    if not pointer:
        return None
    place = _place(raw, address, pointer, 2)
    if place is None:
        raise ValueError("a pointer leads out of what was answered")
    return decode_utf16(_until_nul(raw, place))


def _texts_at(raw: memoryview, address: int, pointer: int) -> Iterator[str]:
    """Texts one after another, up to an empty one."""
    while text := text_at(raw, address, pointer):
        yield text
        pointer += 2 * (len(_until_nul(raw, pointer - address)) // 2 + 1)


def _until_nul(raw: memoryview, place: int) -> bytes:
    piece = bytes(raw[place : place + 2 * _MOST_UNITS])
    end = end_of_text(piece)
    if end + 2 > len(piece):
        raise ValueError("a text does not end")
    return piece[:end]


def _place(raw: memoryview, address: int, pointer: int, size: int) -> int | None:
    """Where in the buffer a pointer leads; None when there is no room for `size` bytes there."""
    place = pointer - address
    return place if 0 <= place <= len(raw) - size else None
