"""One tree of errors. Each has an exit code and a hint a person can act on."""

from typing import ClassVar

from hostscope.model.reason import Reason


class Error(Exception):
    """Anything hostscope raises on purpose."""

    exit_code: ClassVar[int] = 1
    reason: ClassVar[Reason] = Reason.UNAVAILABLE
    """Of the gap that it leaves when it costs one field and not the request."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(Error, ValueError):
    """The request makes no sense as it was written."""

    exit_code = 2


class QueryError(UsageError):
    """A filter or query is wrong."""


class RuleError(UsageError):
    """A detection rule is wrong."""


class Gone(Error, ProcessLookupError):
    """There is no such process (any more)."""

    exit_code = 3
    reason = Reason.GONE


class Denied(Error, PermissionError):
    """The system refused; the hint says which privilege is missing."""

    exit_code = 4
    reason = Reason.DENIED


class Mismatch(Error):
    """The pid now names another process than the one that was meant."""

    exit_code = 5
    reason = Reason.GONE


class HostError(Error):
    """The host cannot do it."""

    exit_code = 6


class Unsupported(HostError, NotImplementedError):
    """This system, kernel or build does not have it."""

    reason = Reason.UNSUPPORTED


class Unavailable(HostError):
    """It should be there, but does not answer."""


class Untrusted(HostError):
    """A file of ours is damaged, or somebody else could have written it."""


class NativeError(HostError, OSError):
    """A system call failed in a way that has no better name."""

    def __init__(self, call: str, code: int, message: str, hint: str | None = None) -> None:
        super().__init__(f"{call}: {message}", hint)
        self.call = call
        self.code = code


class Refused(Error):
    """The guard said no."""

    exit_code = 7

    def __init__(self, message: str, rule: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.rule = rule


class Incomplete(Error):
    """Only a part could be done; the message says which."""

    exit_code = 8
