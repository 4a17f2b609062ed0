"""Calls as people read them, and the provider's process events. Pure."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import UsageError
from hostscope.model.event import ImageLoad, ProcessExec, ProcessExit, ProcessStart, ThreadChange
from hostscope.platforms.windows import event_bodies
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.parse_etw import KERNEL_PROCESS, EtwRecord
from hostscope.platforms.windows.parse_etw_process import (
    ImageEvent,
    Started,
    Stopped,
    ThreadEvent,
    parse_process_event,
)
from hostscope.platforms.windows.trace_calls import FUNCTIONS, SELF, Seen, choose, decode

BY_NAME = {function.name: function for function in FUNCTIONS}
BOOT = Boot("test", 0)


def seen(
    name: str, *arguments: int, result: int | None = 1, after: dict[int, int] | None = None, **more: object
) -> Seen:
    function, nothing = BY_NAME[name], (None,) * len(arguments)
    pointed = tuple((after or {}).get(place) for place in range(len(arguments)))
    facts: dict[str, object] = {"before": nothing, "after": pointed, "error": None, "target": None} | more
    return Seen(function=function, arguments=arguments, result=result, **facts)  # type: ignore[arg-type]


def test_groups_and_names() -> None:
    assert {one.name for one in choose(("memory",))} == {one.name for one in FUNCTIONS if one.group == "memory"}
    assert choose(("virtualalloc",)) == (BY_NAME["VirtualAlloc"],)
    assert choose(("all",)) == FUNCTIONS
    with pytest.raises(UsageError, match="mmap"):
        choose(("mmap",))


def test_memory_that_becomes_executable() -> None:
    call = decode(seen("VirtualProtect", 0x1000, 4096, 0x20, 0x99, after={3: 0x04}), 7, 5, "a.dll+0x1", False)
    assert [argument.text for argument in call.arguments] == ["0x1000", "4096", "PAGE_EXECUTE_READ", "[PAGE_READWRITE]"]
    assert (call.result, call.error, call.flags, call.caller) == (1, None, ("w-to-x",), "a.dll+0x1")


def test_a_remote_allocation_from_nowhere() -> None:
    call = decode(seen("VirtualAllocEx", 0x58, 0, 8192, 0x3000, 0x40, result=0x5000, target=99), 7, None, "0x77", True)
    assert call.arguments[0].text == "0x58 (process 99)"
    assert call.arguments[3].text == "MEM_COMMIT|MEM_RESERVE"
    assert call.flags == ("caller-outside-modules", "other-process", "executable-anonymous", "writable-executable")


def test_failures() -> None:
    assert decode(seen("VirtualProtect", 16, 1, 4, 0, result=0, error=487), 7, None, "", False).error == "ERROR_487"
    call = decode(seen("NtCreateThreadEx", *[0] * 3, SELF, *[0] * 7, result=0xC000_0005), 7, None, "", False)
    assert (call.result, call.error) == (0xC000_0005 - (1 << 32), "0xC0000005")
    assert call.arguments[3].text == "self"
    assert decode(seen("VirtualAlloc", 0, 1, 0x3000, 4, result=None), 7, None, "", False).result is None


def test_words_that_pointers_lead_to() -> None:
    arguments = (SELF, 0x10, 0, 0x20, 0x1000, 0x04)
    call = decode(
        Seen(BY_NAME["NtAllocateVirtualMemory"], arguments, (None, 0, None, 1, None, None),
             (None, 0x7000, None, 0x1000, None, None), 0, None, None), 7, None, "", False,
    )  # fmt: skip
    assert [argument.text for argument in call.arguments[1:4]] == ["[0x0 => 0x7000]", "0", "[0x1 => 0x1000]"]


@given(st.sampled_from(FUNCTIONS), st.data())
def test_any_numbers_are_shown(function, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    words = st.integers(0, (1 << 64) - 1)
    count = len(function.parameters)
    numbers = tuple(data.draw(words) for _ in range(count))
    pointed = tuple(data.draw(st.none() | words) for _ in range(count))
    found = Seen(
        function, numbers, pointed, pointed, data.draw(words), data.draw(st.none() | st.integers(0, 1 << 32)), None
    )
    assert len(decode(found, 1, None, None, False).arguments) == count


# Events of the provider --------------------------------------------------------------------------------


def record(kind: int, version: int, payload: bytes, pid: int = 4) -> EtwRecord:
    return EtwRecord(KERNEL_PROCESS, kind, version, 0, pid, 8, 1_000_000, payload)


IMAGE = "\\Device\\HarddiskVolume3\\x\\app.exe"
WIDE = IMAGE.encode("utf-16-le") + b"\0\0"
SID = bytes([1, 1, 0, 0, 0, 0, 0, 16]) + struct.pack("<I", 0x3000)


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (0, struct.pack("<IQII", 77, 500, 5, 1) + WIDE),
        (1, struct.pack("<IQIII", 77, 500, 5, 1, 0) + WIDE),
        (2, struct.pack("<IQIII", 77, 500, 5, 1, 0) + WIDE + struct.pack("<II", 1, 2) + b"\0\0\0\0"),
        (3, struct.pack("<IQQIQIIII", 77, 1, 500, 5, 2, 1, 0, 1, 0) + SID + WIDE + bytes(12)),
    ],
)
def test_a_process_that_begins_in_every_version(version: int, payload: bytes) -> None:
    assert parse_process_event(record(1, version, payload)) == Started(77, 500, 5, 1, IMAGE)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_process_that_ends_in_every_version(version: int) -> None:
    sequence = struct.pack("<Q", 9) if version == 2 else b""
    counts = bytes(28) if version else b""
    facts = struct.pack("<QQIIIQQ", 500, 900, 3, 1, 40, 1 << 20, 2 << 20)
    payload = struct.pack("<I", 77) + sequence + facts + counts + b"app.exe\0"
    assert parse_process_event(record(2, version, payload)) == Stopped(77, 500, 900, 3, 2 << 20, "app.exe")


def test_threads_and_images() -> None:
    thread = struct.pack("<II7Q", 77, 78, 1, 2, 3, 4, 5, 0x1234, 7)
    assert parse_process_event(record(3, 0, thread)) == ThreadEvent(77, 78, 0x1234)
    image = struct.pack("<QQIIIQ", 0x10000, 0x2000, 77, 0, 0, 0x10000) + WIDE
    assert parse_process_event(record(5, 0, image)) == ImageEvent(77, 0x10000, 0x2000, IMAGE)
    assert parse_process_event(record(99, 0, b"")) is None


@given(st.integers(1, 6), st.integers(0, 5), st.binary(max_size=200))
def test_any_payload_is_an_event_or_refused(kind: int, version: int, payload: bytes) -> None:
    try:
        parse_process_event(record(kind, version, payload))
    except ValueError:
        return


def bodies(*kinds: str) -> event_bodies.Bodies:
    drives = {"\\Device\\HarddiskVolume3": "C:"}
    return event_bodies.Bodies(BOOT, frozenset(kinds), lambda key: ("app.exe", "-x"), drives)


def test_a_life_is_told_with_its_identity() -> None:
    told = bodies("start", "exec", "exit", "thread", "image")
    first = record(1, 1, b"", 5)
    (_, parent_start), _ = told.of(first, Started(5, 100, 4, 0, IMAGE.replace("app", "shell")))
    (key, start), (_, program) = told.of(first, Started(77, 500, 5, 1, IMAGE))
    assert isinstance(parent_start, ProcessStart) and isinstance(start, ProcessStart)
    assert key == BOOT.key(77, 500)
    assert (start.name, start.parent, start.ancestry) == ("app.exe", BOOT.key(5, 100), ("shell.exe",))
    assert isinstance(program, ProcessExec)
    assert (program.exe, program.argv) == ("C:\\x\\app.exe", ("app.exe", "-x"))
    ((_, born),) = told.of(record(3, 0, b"", 5), ThreadEvent(77, 78, 0x1000))
    ((_, injected),) = told.of(record(3, 0, b"", 5), ThreadEvent(77, 79, 0x2000))
    assert isinstance(born, ThreadChange) and isinstance(injected, ThreadChange)
    assert (born.flags, injected.flags, injected.creator_pid) == ((), ("remote",), 5)
    ((_, image),) = told.of(record(5, 0, b"", 77), ImageEvent(77, 1, 2, IMAGE))
    assert isinstance(image, ImageLoad) and (image.name, image.path) == ("app.exe", "C:\\x\\app.exe")
    ((over, end),) = told.of(record(2, 0, b"", 77), Stopped(77, 500, 900, 0xC000_0005, 0, "app.exe"))
    assert isinstance(end, ProcessExit) and over == key
    assert (end.name, end.code, end.run_ns) == ("app.exe", 0xC000_0005 - (1 << 32), 40_000)
