"""Numbers as people read them."""

from time import gmtime, strftime

_LETTERS = "KMGTPE"
_ROUNDS_UP_AT = 1023.95


def render_bytes(count: int) -> str:
    """``0``, ``812``, ``3.4K``, ``1.0G``: binary steps, one decimal."""
    if count < 1024:
        return str(count)
    steps, size = 0, count / 1024
    while size >= _ROUNDS_UP_AT and steps < len(_LETTERS) - 1:
        size /= 1024
        steps += 1
    return f"{size:.1f}{_LETTERS[steps]}"


def render_duration(duration_ns: int) -> str:
    """``1.25s``, ``4:07``, ``3:02:11``, ``12d03h``."""
    if duration_ns < 60_000_000_000:
        return f"{duration_ns / 1e9:.2f}s"
    minutes, seconds = divmod(duration_ns // 1_000_000_000, 60)
    if minutes < 60:
        return f"{minutes}:{seconds:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


def render_latency(duration_ns: int) -> str:
    """``0.31ms``, ``12.4ms``, ``1.25s``: what is short, to three digits."""
    if duration_ns < 999_950_000:
        return f"{duration_ns / 1e6:.{2 if duration_ns < 9_995_000 else 1}f}ms"
    return f"{duration_ns / 1e9:.2f}s"


def render_elapsed(duration_ns: int) -> str:
    """How long something took: ``40 us``, ``9 ms``, ``1.3 s``."""
    if duration_ns < 1_000_000:
        return f"{duration_ns // 1000} us"
    if duration_ns < 1_000_000_000:
        return f"{duration_ns // 1_000_000} ms"
    return f"{duration_ns / 1e9:.1f} s"


def render_instant(at_ns: int) -> str:
    """``2026-03-01T12:00:00Z``: always UTC, so that hosts can be compared."""
    seconds = at_ns // 1_000_000_000
    try:
        return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
    except (OSError, OverflowError, ValueError):  # no calendar goes that far; Windows' ends in 3001
        return f"{seconds} s"


def render_ratio(ratio: float) -> str:
    """A share as per cent: ``12.5``."""
    return f"{ratio * 100:.1f}"
