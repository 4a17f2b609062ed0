"""How much of an executable is read for its digest, on every system."""

from hostscope.errors import Unavailable

MOST_BYTES = 4 << 30
"""Read in seconds. A file of petabytes with nothing in it is made, and run, in a moment, and would be read for weeks
while every other process waits."""


def check_size(size_bytes: int) -> None:
    """Raises `Unavailable` for an executable that is too large."""
    if size_bytes > MOST_BYTES:
        raise Unavailable(f"its executable has {size_bytes:,} bytes: of more than {MOST_BYTES:,} no digest is made")
