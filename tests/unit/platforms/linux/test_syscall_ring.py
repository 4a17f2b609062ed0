"""The end of a trace, when the ring was full as processes began or ended: the programs' objects are scripted."""

from types import SimpleNamespace
from typing import Any

import pytest

from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.syscall_record import HEAD, Kind
from hostscope.platforms.linux.syscall_ring import SyscallRing


class Programs:
    def __init__(self, records: list[bytes], lost: int, left: int) -> None:
        self._records, self._left = records, left
        self._values = {"lost": lost, "foreign": 0}

    def ring(self, name: str) -> Any:
        return SimpleNamespace(read=lambda: iter(self._records), pending_bytes=0)

    def variable(self, name: str) -> Any:
        return SimpleNamespace(value=self._values[name])

    def map(self, name: str) -> Any:
        return SimpleNamespace(read=lambda: SimpleNamespace(number=self._left))


def record(kind: Kind, pid: int) -> bytes:
    return HEAD.pack(kind, 0, pid, pid, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("kinds", "lost", "left", "over"),
    [
        ((Kind.BEGUN,), 0, 1, False),
        ((Kind.BEGUN, Kind.ENDED), 0, 0, True),
        ((Kind.BEGUN, Kind.ENDED), 5, 1, False),  # a child's birth was lost
        ((Kind.BEGUN,), 5, 0, True),  # its end was lost
    ],
)
def test_a_trace_is_over_when_nobody_is_left(kinds: tuple[Kind, ...], lost: int, left: int, over: bool) -> None:
    programs: Any = Programs([record(kind, 7) for kind in kinds], lost, left)
    ring = SyscallRing(programs, Boot("boot", 0, 0), "x86_64")
    assert list(ring.read()) == []
    assert ring.over() is over
