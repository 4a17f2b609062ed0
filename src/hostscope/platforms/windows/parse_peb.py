"""Process environment blocks of 64-bit and 32-bit processes, decoded from bytes. Pure.

Source: winternl.h has the beginnings; the rest has stood where it is since Windows Vista (phnt, ntrtl.h), and every
debugger relies on it. A process can write what it likes there: what it says of itself is not evidence.
"""

import struct
from typing import NamedTuple

from hostscope.platforms.windows.parse import Span, parse_span

PEB_BYTES = 0x40
"""What is read of either kind: up to behind the pointer to the parameters."""


class Layout(NamedTuple):
    """Where the parts are, of one width."""

    wide: bool
    parameters: int
    """In the PEB: the pointer to RTL_USER_PROCESS_PARAMETERS."""
    directory: int
    command_line: int
    environment: int
    environment_bytes: int
    parameters_bytes: int
    """What is read of the parameters."""


WIDE = Layout(True, 0x20, 0x38, 0x70, 0x80, 0x3F0, 0x3F8)
NARROW = Layout(False, 0x10, 0x24, 0x40, 0x48, 0x290, 0x294)


class Parameters(NamedTuple):
    """What RTL_USER_PROCESS_PARAMETERS points to."""

    directory: Span
    command_line: Span
    environment: Span
    """Without a length (0) where the block is too short to tell."""


def parse_parameters_pointer(raw: bytes, layout: Layout) -> int:
    """The address of the parameters, from the start of a PEB. Raises ValueError: it is cut short."""
    return _pointer(raw, layout.parameters, layout)


def parse_parameters(raw: bytes, layout: Layout) -> Parameters:
    """Raises ValueError: they are cut short."""
    length = 0
    if len(raw) >= layout.parameters_bytes:
        length = _pointer(raw, layout.environment_bytes, layout)
    return Parameters(
        parse_span(raw, layout.directory, layout.wide),
        parse_span(raw, layout.command_line, layout.wide),
        Span(_pointer(raw, layout.environment, layout), length),
    )


def _pointer(raw: bytes, offset: int, layout: Layout) -> int:
    kind = "<Q" if layout.wide else "<I"
    if offset + struct.calcsize(kind) > len(raw):
        raise ValueError("a process environment block is cut short")
    found: int = struct.unpack_from(kind, raw, offset)[0]
    return found
