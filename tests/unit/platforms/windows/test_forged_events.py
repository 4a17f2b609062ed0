"""Any program may log events in the kernel provider's name: whatever they say, it is told or left out, and no more."""

import struct

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.event_bodies import MOST_KNOWN, Bodies
from hostscope.platforms.windows.parse_etw import KERNEL_PROCESS, EtwRecord
from hostscope.platforms.windows.parse_etw_process import PROCESS_START, PROCESS_STOP, Started, parse_process_event

KINDS = frozenset({"start", "exec", "exit", "image", "thread"})
WORDS = st.integers(0, (1 << 64) - 1)


def bodies() -> Bodies:
    return Bodies(Boot("boot", 0), KINDS, lambda key: None, {})


def record(number: int, version: int, payload: bytes) -> EtwRecord:
    return EtwRecord(KERNEL_PROCESS, number, version, 0, 4, 8, 133_000_000_000_000_000, payload)


@given(st.integers(1, 6), st.integers(0, 4), st.binary(max_size=300))
def test_any_payload_can_be_written_out(number: int, version: int, payload: bytes) -> None:
    one = record(number, version, payload)
    try:
        parsed = parse_process_event(one)
    except ValueError:
        return
    for _, body in bodies().of(one, parsed) if parsed else ():
        msgspec.json.encode(body)


@given(WORDS, WORDS)
def test_any_times_can_be_written_out(created: int, exited: int) -> None:
    raw = struct.pack("<IQQIIIQQ", 700, created, exited, 0, 0, 0, 0, 0) + b"x.exe\0"
    one = record(PROCESS_STOP, 0, raw)
    try:
        parsed = parse_process_event(one)
    except ValueError:
        return
    assert parsed is not None
    for _, body in bodies().of(one, parsed):
        told = msgspec.json.decode(msgspec.json.encode(body))
        assert 0 <= told["run_ns"] < 1 << 63


def test_starts_without_end_take_no_memory_without_end() -> None:
    made = bodies()
    for pid in range(MOST_KNOWN + 1000):
        one = Started(pid, 1, 0, 0, "x.exe")
        list(made.of(record(PROCESS_START, 0, b""), one))
    assert len(made._known) == len(made._newborn) == MOST_KNOWN
