"""GUIDs as Windows keeps them in memory."""

import ctypes
from uuid import UUID

from hostscope.platforms.windows.native.types import ULONG, USHORT


class GUID(ctypes.Structure):
    _fields_ = (("Data1", ULONG), ("Data2", USHORT), ("Data3", USHORT), ("Data4", ctypes.c_uint8 * 8))


def guid_of(uuid: UUID) -> GUID:
    """The same identifier as a structure."""
    return GUID.from_buffer_copy(uuid.bytes_le)


def uuid_of(guid: GUID) -> UUID:
    """The same identifier as Python has it."""
    return UUID(bytes_le=bytes(guid))
