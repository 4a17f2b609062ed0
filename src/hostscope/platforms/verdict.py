"""Whether something is allowed, with the facts that decided."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from hostscope.model.security import POWERS, Power, Security

Facts = TypeVar("Facts")


class Verdict(Struct, frozen=True, gc=False):
    """One answer."""

    granted: bool | None
    """None where the facts leave it open."""
    because: tuple[str, ...]


def any_of(*verdicts: Verdict) -> Verdict:
    """The first that grants; else an open one; else none, with all their reasons."""
    for wanted in (True, None):
        for verdict in verdicts:
            if verdict.granted is wanted:
                return verdict
    return Verdict(False, _together(verdicts))


def all_of(*verdicts: Verdict) -> Verdict:
    """Grants when all do, and denies when one does, with all their reasons."""
    granted = [verdict.granted for verdict in verdicts]
    whole = False if False in granted else None if None in granted else True
    return Verdict(whole, _together(verdicts))


def _together(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.because))


def judge_powers(
    judges: Mapping[str, Callable[[Facts], Verdict]], facts: Facts, confined_by: tuple[str, ...]
) -> Security:
    """Every power by its judge, in the order of `POWERS`."""
    verdicts = {name: judges[name](facts) for name in POWERS}
    powers = tuple(Power(name, verdict.granted, verdict.because) for name, verdict in verdicts.items())
    return Security(powers=powers, confined_by=confined_by)
