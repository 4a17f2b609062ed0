"""The text of /proc/PID, as kernels write it and as nobody would."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostscope.model.text import decode
from hostscope.platforms.linux import parse
from hostscope.platforms.linux.parse import Credentials, SecurityLines
from tests.unit.platforms.linux import samples

STATUSES = {name: value for name, value in vars(samples).items() if name.startswith("STATUS_")}
STATS = {name: value for name, value in vars(samples).items() if name.startswith("STAT_")}


def of_status(cut: Callable[[parse.Status], Any]) -> Callable[[bytes], Any]:
    return lambda raw: cut(parse.parse_status(raw))


PARSERS: dict[str, tuple[Callable[[bytes], Any], list[bytes]]] = {
    "stat": (parse.parse_stat, list(STATS.values())),
    "tgid": (parse.parse_tgid, list(STATUSES.values())),
    "tracer": (parse.parse_tracer, list(STATUSES.values())),
    "status": (parse.parse_status, list(STATUSES.values())),
    "ids": (parse.parse_ids, [b"Uid:\t0\t1\t2\t3\nGid:\t0\t1\t2\t3"]),
    "ids of a status": (of_status(lambda status: parse.parse_ids(status.ids)), list(STATUSES.values())),
    "security": (parse.parse_security, [parse.parse_status(samples.STATUS_6_18).security]),
    "security of a status": (of_status(lambda status: parse.parse_security(status.security)), list(STATUSES.values())),
    "io": (parse.parse_io, [samples.IO]),
    "rollup": (parse.parse_rollup, [samples.ROLLUP, samples.ROLLUP_4_18]),
    "namespace": (lambda raw: parse.parse_namespace(raw.decode("latin-1")), [b"net:[4026531840]"]),
    "cmdline": (parse.parse_cmdline, [b"a\0b\0", b"title\0\0\0"]),
}


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A real file with a piece of it cut out, doubled or overwritten."""
    raw = draw(st.sampled_from(originals))
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + 40)))
    middle = draw(
        st.binary(max_size=12) | st.just(raw[start:end] * 2) | st.sampled_from([b"-", b"_", b"\n", b" ", b"9" * 40])
    )
    return raw[:start] + middle + raw[end:]


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
def test_any_bytes_give_a_value_or_a_value_error(name: str, data: st.DataObject) -> None:
    parser, originals = PARSERS[name]
    raw = data.draw(st.binary() | damaged(originals))
    try:
        parser(raw)
    except ValueError:
        return


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("piece", [b"\n", b"(", b")", b" 1", b"\0", b"\nUid:", b"\nVmPeak:", b"a:1\n", b"9", b"[:"])
def test_time_grows_with_size_only(name: str, piece: bytes) -> None:
    """A megabyte, the most that is read, of what a parser looks for."""
    parser, originals = PARSERS[name]
    began = time.process_time()
    for raw in (piece * (1_000_000 // len(piece)), originals[0] + piece * (1_000_000 // len(piece))):
        try:
            parser(raw)
        except ValueError:
            continue
    assert time.process_time() - began < 2


# stat ---------------------------------------------------------------------------------------------------------------


def test_stat() -> None:
    assert parse.parse_stat(samples.STAT_6_18) == parse.Stat(
        pid=26602, name=b"head", state="running", ppid=26559, group=26558, session=14501, tty=34817, flags=4194304,
        minor_faults=101, major_faults=3, user_ticks=12, system_ticks=34, children_user_ticks=5,
        children_system_ticks=6, priority=25, nice=5, threads=4, start=279624, virtual_bytes=2998272,
        resident_pages=423, last_cpu=1, realtime_priority=40, policy=2,
    )  # fmt: skip


def test_stat_of_4_18() -> None:
    stat = parse.parse_stat(samples.STAT_4_18)
    assert (stat.pid, stat.name, stat.start, stat.virtual_bytes) == (1, b"systemd", 14, 245338112)


def test_stat_of_a_kernel_thread() -> None:
    stat = parse.parse_stat(samples.STAT_KERNEL_THREAD)
    assert stat.flags & parse.PF_KTHREAD and not stat.flags & parse.PF_EXITING
    assert (stat.name, stat.ppid, stat.virtual_bytes) == (b"ksoftirqd/0", 2, 0)


def test_stat_of_a_zombie() -> None:
    stat = parse.parse_stat(samples.STAT_ZOMBIE)
    assert (stat.state, stat.threads) == ("zombie", 1)
    assert stat.flags & parse.PF_EXITING


@given(st.binary(max_size=64))
@example(b"a) R 1 (b")
@example(b") R 1 2 (")
@example(b"")
@example(b"two\nlines")
@example(b"(" * 15)
@example(b") Z 0 0 0 0 0")
def test_stat_with_any_name(name: bytes) -> None:
    raw = samples.STAT_6_18.replace(b"(head)", b"(" + name + b")")
    stat = parse.parse_stat(raw)
    assert (stat.name, stat.pid, stat.state, stat.start) == (name, 26602, "running", 279624)


@pytest.mark.parametrize("letter", parse.STATES)
def test_each_state(letter: str) -> None:
    assert parse.parse_stat(samples.STAT_6_18.replace(b") R", b") " + letter.encode())).state == parse.STATES[letter]


def test_an_unknown_state_is_said_to_be() -> None:
    assert parse.parse_stat(samples.STAT_6_18.replace(b") R", b") Q")).state == "unknown"


@pytest.mark.parametrize("length", range(0, len(samples.STAT_ZOMBIE) - 60, 7))
def test_stat_cut_short(length: int) -> None:
    with pytest.raises(ValueError):
        parse.parse_stat(samples.STAT_ZOMBIE[: length // 2])


# status -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["STATUS_4_18", "STATUS_5_10", "STATUS_6_18", "STATUS_WITHOUT_SECCOMP"])
def test_status(name: str) -> None:
    status = parse.parse_status(STATUSES[name])
    assert parse.parse_ids(status.ids) == Credentials((1000, 1001, 1002, 1003), (100, 101, 102, 103))
    assert status.groups.split() == [b"4", b"24", b"1000"]
    assert status.memory == (3060 << 10, 1788 << 10, 1700 << 10, 1600 << 10, 12 << 10)
    assert (status.voluntary_switches, status.involuntary_switches) == (150, 545)
    assert status.inner_pid is None
    assert parse.parse_security(status.security) == SecurityLines(
        inheritable=0x1, permitted=0x1FFFEFFFFFF, effective=0x2000, bounding=0x1FFFFFFFFFF, ambient=0x20,
        no_new_privs=True, seccomp=None if name == "STATUS_WITHOUT_SECCOMP" else "filter",
    )  # fmt: skip


def test_memory_with_a_line_that_no_kernel_has_yet() -> None:
    raw = samples.STATUS_6_18
    more = raw.replace(b"\nVmHWM:", b"\nVmNew:\t       1 kB\nVmHWM:")
    assert more != raw
    assert parse.parse_status(more).memory == parse.parse_status(raw).memory


def test_status_of_a_traced_process() -> None:
    assert parse.parse_status(samples.STATUS_5_10).tracer == 9


def test_status_of_a_kernel_thread() -> None:
    status = parse.parse_status(samples.STATUS_KERNEL_THREAD)
    assert (status.memory, status.groups.split()) == (None, [])


def test_status_of_a_process_in_a_container() -> None:
    assert parse.parse_status(samples.STATUS_CONTAINER).inner_pid == 1


def test_process_of_a_thread() -> None:
    assert parse.parse_tgid(samples.STATUS_6_18.replace(b"\nPid:\t77", b"\nPid:\t78")) == 77


@pytest.mark.parametrize("end", [b"\r", b"\x0b", b"\x0c", b"\x1e", "\x85".encode(), "\u2028".encode()])
def test_only_a_line_feed_ends_a_line(end: bytes) -> None:
    """Nothing else in a name is escaped."""
    raw = samples.STATUS_6_18.replace(b"Name:\tcat", b"Name:\t" + end + b"TracerPid:\tx")
    assert parse.parse_tracer(raw) == parse.parse_status(raw).tracer


def test_a_name_cannot_forge_lines() -> None:
    """The kernel writes a newline in a name as two characters (fs/proc/array.c, proc_task_name)."""
    name = rb"a\nUid:\t0\t0\t0\t0"
    status = parse.parse_status(samples.STATUS_6_18.replace(b"Name:\tcat", b"Name:\t" + name))
    assert parse.parse_ids(status.ids).uids == (1000, 1001, 1002, 1003)


@pytest.mark.parametrize(("number", "mode"), [(0, "disabled"), (1, "strict"), (2, "filter"), (3, "mode 3")])
def test_seccomp_modes(number: int, mode: str) -> None:
    status = parse.parse_status(samples.STATUS_6_18.replace(b"Seccomp:\t2", b"Seccomp:\t%d" % number))
    assert parse.parse_security(status.security).seccomp == mode


@pytest.mark.parametrize("line", ["TracerPid", "Uid", "FDSize", "Groups", "CapInh", "VmSwap", "VmHWM"])
def test_status_without_a_line(line: str) -> None:
    with pytest.raises(ValueError):
        parse.parse_status(samples.STATUS_6_18.replace(f"\n{line}:".encode(), b"\nOther:"))


def test_security_without_a_line() -> None:
    with pytest.raises(ValueError):
        parse.parse_security(b"CapInh:\t0\nNoNewPrivs:\t0")


# The rest -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary().map(lambda part: part.replace(b"\0", b"")), min_size=1))
def test_cmdline_of_any_arguments(arguments: list[bytes]) -> None:
    assert parse.parse_cmdline(b"".join(argument + b"\0" for argument in arguments)) == tuple(map(decode, arguments))


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [(b"", ()), (b"\0", ("",)), (b"a", ("a",)), (b"a\0b", ("a", "b")), (b"t\0\0\0", ("t", "", ""))],
)
def test_cmdline(raw: bytes, arguments: tuple[str, ...]) -> None:
    assert parse.parse_cmdline(raw) == arguments


def test_io() -> None:
    assert parse.parse_io(samples.IO) == (8327, 42, 4096, 8192)


def test_io_without_a_line() -> None:
    with pytest.raises(ValueError):
        parse.parse_io(b"rchar: 1\nwchar: 2\n")


def test_rollup() -> None:
    assert parse.parse_rollup(samples.ROLLUP) == (150 << 10, (88 + 96 + 2048) << 10)
    assert parse.parse_rollup(samples.ROLLUP_4_18) == (150 << 10, (88 + 96) << 10)


@pytest.mark.parametrize(
    "raw", [b"", b"Pss:\n", b"Pss: 1 kB\n", b"Pss: x kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 1 kB\n"]
)
def test_rollup_without_a_value(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse.parse_rollup(raw)


def test_namespace() -> None:
    assert parse.parse_namespace("net:[4026531840]") == 4026531840


@pytest.mark.parametrize("link", ["", "net", "net:4026531840", "net:[", "net:[]", "net:[x]"])
def test_no_namespace(link: str) -> None:
    with pytest.raises(ValueError):
        parse.parse_namespace(link)
