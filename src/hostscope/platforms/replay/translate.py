"""Errors to lines of a recording, and back."""

from hostscope.errors import Denied, Error, Gone, Mismatch, NativeError, Unavailable, Unsupported
from hostscope.platforms.replay.layout import Failure

KINDS: dict[str, type[Error]] = {kind.__name__: kind for kind in (Denied, Gone, Mismatch, Unavailable, Unsupported)}
"""What a host answers when it cannot; anything else comes back as `Unavailable`, its name kept in the message."""


def failure(error: Error) -> Failure:
    """The line for an error."""
    if isinstance(error, NativeError):
        # NativeError puts its call before the message itself.
        text = error.message.removeprefix(f"{error.call}: ")
        return Failure("NativeError", text, error.hint, error.call, error.code)
    return Failure(type(error).__name__, error.message, error.hint)


def error(failed: Failure) -> Error:
    """The error a line stands for."""
    if failed.error == "NativeError":
        return NativeError(failed.native_call or "unknown", failed.code or 0, failed.message, failed.hint)
    kind = KINDS.get(failed.error)
    if kind is None:
        return Unavailable(f"{failed.error}: {failed.message}", failed.hint)
    return kind(failed.message, failed.hint)


def not_recorded(what: str) -> Unsupported:
    """The error of a call that no recording answers, or this one does not."""
    return Unsupported(f"{what}: not in this recording", "a recording answers only what was asked when it was made")
