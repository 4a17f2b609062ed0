"""What Event Tracing for Windows delivers in bytes. Pure; payloads are other processes' bytes."""

from struct import Struct as Layout
from typing import NamedTuple
from uuid import UUID

KERNEL_PROCESS = UUID("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716")
"""Microsoft-Windows-Kernel-Process."""
KERNEL_NETWORK = UUID("7dd42a49-5329-4832-8dfd-43d979153a88")
"""Microsoft-Windows-Kernel-Network."""
DNS_CLIENT = UUID("1c95126e-7eea-49a9-a3fe-a378b03ddb4d")
"""Microsoft-Windows-DNS-Client."""

FLAG_32_BIT = 0x20
"""EVENT_HEADER_FLAG_32_BIT_HEADER: pointers in the payload are of four bytes."""


class EtwRecord(NamedTuple):
    """One event, copied out of the session's buffers."""

    provider: UUID
    id: int
    version: int
    opcode: int
    pid: int
    """Of the process that logged it; the kernel's providers say in the payload which process is meant."""
    tid: int
    filetime: int
    """When it happened: 100 ns since 1601 (UTC)."""
    payload: bytes
    pointer_bytes: int = 8
    """Of pointers in the payload."""


class Head(NamedTuple):
    """EVENT_RECORD, and where its payload is."""

    flags: int
    tid: int
    pid: int
    filetime: int
    provider: bytes
    """A GUID as it lies in memory."""
    id: int
    version: int
    opcode: int
    payload_bytes: int
    payload_at: int


_HEAD = {8: Layout("<4xH2xIIq16sHB2xB34x6xH8xQ8x"), 4: Layout("<4xH2xIIq16sHB2xB34x6xH4xI4x")}
"""EVENT_RECORD by the size of this process's pointers; evntcons.h."""
RECORD_BYTES = {size: layout.size for size, layout in _HEAD.items()}


def parse_head(raw: bytes, pointer_bytes: int) -> Head:
    """The event's header. `raw` is one EVENT_RECORD.

    Raises:
        struct.error: it is shorter.
    """
    return Head(*_HEAD[pointer_bytes].unpack_from(raw))
