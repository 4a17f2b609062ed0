"""Reading one field: its value, or the gap that says why not; and how often each way of asking succeeded."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from hostscope.errors import Error
from hostscope.model.gap import Gap, Reason
from hostscope.platforms.macos import translate
from hostscope.platforms.tally import Tally

Value = TypeVar("Value")
KINDS = ("libproc", "sysctl", "signatures", "entitlements", "sandbox", "SIP", "bundles", "launchd")


class Attempts:
    """Counts of one sweep, by kind and outcome."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[tuple[str, Reason]] = Counter()

    def attempt(
        self, kind: str, field: str, gaps: list[Gap], read: Callable[..., Value], *arguments: object
    ) -> Value | None:
        """What `read` gives; None with a gap of `field` when it was refused."""
        try:
            value = read(*arguments)
        except (OSError, Error, ValueError) as failed:
            gaps.append(self.refused(kind, field, failed))
            return None
        self.done[kind] += 1
        return value

    def refused(self, kind: str, field: str, failed: Exception) -> Gap:
        """The gap for a refusal, a call that this macOS lacks, or an answer that makes no sense."""
        found = _gap(field, failed)
        self.failed[kind, found.reason] += 1
        return found

    def note(self, tally: Tally) -> None:
        """One line for people: each kind that was asked, with its outcomes."""
        kinds = []
        for kind in KINDS:
            failures = [f"{count} {reason}" for (of, reason), count in sorted(self.failed.items()) if of == kind]
            if self.done[kind] or failures:
                kinds.append(", ".join([f"{kind} {self.done[kind]} answers", *failures]))
        if kinds:
            tally.note(f"calls: {'; '.join(kinds)}")


def _gap(field: str, failed: Exception) -> Gap:
    if isinstance(failed, Error):
        return Gap(field, failed.reason, failed.message)
    if isinstance(failed, OSError):
        return translate.gap(field, failed)
    return Gap(field, Reason.UNAVAILABLE, str(failed))
