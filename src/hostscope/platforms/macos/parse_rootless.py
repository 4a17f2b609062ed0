"""The system's list of what System Integrity Protection guards in the file system, parsed. Pure and bounded.

Source: /System/Library/Sandbox/rootless.conf, which the system reads when it starts and which is guarded itself. A line
is a path behind tabs; before them stands nothing, the service that may change it, or an asterisk for what is left open.
"""

import re
from typing import NamedTuple

from hostscope.model.text import decode

MOST_BYTES = 1 << 20
_LINE = re.compile(rb"^([^\s#/][^\t/]*)?[\t ]+(/[^\n\0]*)$", re.MULTILINE)
_OPEN = b"*"


class Guarded(NamedTuple):
    """Paths, in the list's order."""

    protected: tuple[str, ...]
    left_open: tuple[str, ...]


def parse_rootless(raw: bytes) -> Guarded:
    """The paths of the list; what is no line of it is passed over.

    Raises:
        ValueError: it is longer than any such list.
    """
    if len(raw) > MOST_BYTES:
        raise ValueError(f"a list of {len(raw)} bytes")
    found = [((mark or b"").strip() == _OPEN, decode(path.rstrip())) for mark, path in _LINE.findall(raw)]
    return Guarded(
        tuple(path for is_open, path in found if not is_open), tuple(path for is_open, path in found if is_open)
    )
