"""Records of the events ring and messages of the process connector: made up, damaged and arbitrary."""

import struct
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.socket import Endpoint
from hostscope.platforms.linux import event_record as record
from hostscope.platforms.linux.clock import TICK_NS
from hostscope.platforms.linux.event_lineage import Lineage
from hostscope.platforms.linux.event_ring import name_change, parse_status
from hostscope.platforms.linux.proc_connector import Message, Sequences, What, parse_message, render_request
from tests.fake import key, process

PARSERS = (record.parse_exit, record.parse_socket, record.parse_module, record.parse_capabilities)


def head(kind: int, flags: int = 0, pid: int = 42) -> bytes:
    return record.HEAD.pack(kind, flags, pid, 5_000, 4_000, 3, 1, 0, 1_000, 1, 0, 0, b"name")


def exec_record(file: bytes, argv: bytes, exe: bytes, flags: int = 0) -> bytes:
    return head(2, flags) + record.EXEC.pack(len(argv), len(file), len(exe)) + file + argv + exe


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with suppress(ValueError):
        record.parse_exec(raw, record.parse_head(raw).flags)
    for parse in PARSERS:
        with suppress(ValueError):
            parse(raw)
    parse_message(raw)


@given(st.lists(st.binary(max_size=40).filter(lambda raw: b"\0" not in raw), min_size=1, max_size=6))
def test_arguments_come_back_whole(argv: list[bytes]) -> None:
    from hostscope.model.text import encode

    raw = exec_record(b"/bin/x\0", b"".join(argument + b"\0" for argument in argv), b"x\0bin\0")
    found = record.parse_exec(raw, 0)
    assert found.argv is not None and [encode(argument) for argument in found.argv] == argv
    assert found.file == "/bin/x" and found.exe == "/bin/x"


def test_an_exec_from_memory() -> None:
    marks = record.Mark.EXE_NAMELESS | record.Mark.ARGV_CUT
    found = record.parse_exec(exec_record(b"/proc/self/fd/3\0", b"x", b"memfd:evil\0", marks), marks)
    assert (found.exe, found.memfd, found.truncated, found.argv) == ("memfd:evil", True, True, ("x",))
    unread = record.parse_exec(exec_record(b"/a\0", b"", b"", record.Mark.ARGV_UNREAD), record.Mark.ARGV_UNREAD)
    assert unread.argv is None


def test_a_socket_and_a_module() -> None:
    raw = head(4) + record.SOCKET.pack(2, 6, 3, 1, 443, 0x5000, 7, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    found = record.parse_socket(raw)
    assert (found.protocol, found.local, found.remote) == ("tcp", Endpoint("10.0.0.1", 443), Endpoint("10.0.0.2", 80))
    mapped = head(4) + record.SOCKET.pack(10, 6, 3, 1, 1, 0, 7, bytes(10) + b"\xff\xff\x0a\0\0\1", bytes(16))
    assert record.parse_socket(mapped).local.address == "10.0.0.1"
    assert record.parse_module(head(5) + b"rootkit".ljust(64, b"\0")) == "rootkit"


def test_what_statuses_and_changes_of_state_mean() -> None:
    assert parse_status(3 << 8) == (3, None, False)
    assert parse_status(0x80 | 11) == (None, 11, True)
    assert name_change(3, 1) == ("accept", False) and name_change(2, 1) == ("connect", False)
    assert name_change(2, 7) == ("connect", True) and name_change(1, 7) == ("close", False)
    assert name_change(7, 10) == ("listen", False) and name_change(1, 4) == (None, False)


def message(what: int, *numbers: int, seq: int = 0, cpu: int = 0) -> bytes:
    data = struct.pack(f"={len(numbers)}I", *numbers)
    connector = struct.pack("=IIIIHH", 1, 1, seq, 0, 16 + len(data), 0)
    return struct.pack("=IHHII", 36 + 16 + len(data), 3, 0, 0, 0) + connector + struct.pack("=IIQ", what, cpu, 9) + data


def test_a_message_of_the_connector() -> None:
    found = parse_message(message(What.FORK, 1, 1, 42, 42, seq=7, cpu=1))
    assert found == Message(What.FORK, 1, 7, 9, (1, 1, 42, 42))
    assert parse_message(message(What.FORK, 1, 1)) is None
    assert parse_message(message(0x1234)) == Message(0x1234, 0, 0, 9, ())
    assert len(render_request(1, 1, None)) == 40 and len(render_request(1, 1, 4)) == 44


def test_a_hole_in_the_numbers_of_one_cpu_is_counted() -> None:
    sequences = Sequences()
    numbers = [(0, 5), (1, 900), (0, 6), (0, 9), (1, 901), (1, 0xFFFF_FFFF), (1, 0)]
    missing = [sequences.missing(Message(What.FORK, cpu, seq, 0, ())) for cpu, seq in numbers]
    assert missing == [0, 0, 0, 2, 0, 0xFFFF_FFFF - 902, 0]


def test_ancestry_outlives_parents() -> None:
    lineage = Lineage()
    lineage.seed([process(1, "init", 0), process(7, "sshd", 1)])
    lineage.forked(key(8), "sshd", key(7))
    lineage.named(key(8), "bash", None)
    assert lineage.ended(key(7)) and not lineage.ended(key(7))
    child = lineage.forked(key(9), "bash", key(8))
    assert child.ancestry == ("bash", "sshd", "init") and child.parent == key(8)
    assert lineage.get(key(9, start=1)) is None


def test_two_that_had_one_pid_within_a_tick_both_end() -> None:
    lineage = Lineage()
    for start_ns in (5_000_000, 6_000_000):
        lineage.forked(key(8), "short", key(7))
        assert lineage.ended(key(8), start_ns)
        assert not lineage.ended(key(8), start_ns)


def test_who_had_a_pid_at_a_moment() -> None:
    lineage = Lineage()
    first, second = key(8, start=100), key(8, start=200)
    lineage.forked(first, "first", None)
    lineage.ended(first)
    lineage.forked(second, "second", None)
    names = [known and known.name for known in (lineage.at(8, tick * TICK_NS) for tick in (99, 150, 200))]
    assert names == [None, "first", "second"]
    lineage.unknown(8)
    assert lineage.at(8, 200 * TICK_NS) is None


def test_lineage_is_bounded() -> None:
    lineage = Lineage(most=10)
    deep = None
    for pid in range(1, 200):
        deep = lineage.forked(key(pid), f"p{pid}", key(pid - 1))
    assert len(lineage) == 10 and deep is not None and len(deep.ancestry) == 32
