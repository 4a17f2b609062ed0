"""Each kind of program and of map, in the real kernel: built from bpf/kinds.bpf.c when the tests run."""

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from hostscope.errors import Denied, Unsupported
from hostscope.platforms.linux import bpf_maps, program_cache, relocate
from hostscope.platforms.linux.bpf import build
from hostscope.platforms.linux.bpf_maps import ONLY_KNOWN, ONLY_NEW, Elements, Map, count_possible_cpus
from hostscope.platforms.linux.btf import STRUCT, Btf
from hostscope.platforms.linux.image import Image
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.native import bpf, libc
from hostscope.platforms.linux.relocate import read_kernel_btf
from hostscope.platforms.linux.ring import READ_BYTES
from tests.descriptors import descriptors

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.skipif(find_spec("ziglang") is None, reason="needs the compiler (pip install ziglang)"),
]

SOURCE = Path(__file__).parent / "bpf" / "kinds.bpf.c"
SO_ATTACH_BPF = 50
COUNT, RECORD, DISCARD, INSERT = 1, 2, 3, 4
COUNTERS = ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "array", "percpu_array")
RECORD_13 = struct.Struct("<II5s")
PROG_GET_FD_BY_ID = 13

Order = Callable[..., None]


@pytest.fixture(scope="module")
def image() -> Image:
    raw = build.compile_object(SOURCE, (f"-I{build.HERE}",))
    return relocate.build_image(raw, relocate.read_kernel_btf())


@pytest.fixture
def programs(image: Image) -> Iterator[Programs]:
    with Programs(image, {"watched": os.getpid(), "table": struct.pack("<4Q", 1, 2, 3, 44)}) as programs:
        yield programs


class Orders:
    """Packets that the filter takes its orders from; it runs while they are sent."""

    def __init__(self, programs: Programs) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, programs.load("on_packet"))

    def __call__(self, verb: int, key: int, amount: int, size: int = 13) -> None:
        self.sender.send(struct.pack("<4I", verb, key, amount, size))

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


@pytest.fixture
def order(programs: Programs) -> Iterator[Orders]:
    orders = Orders(programs)
    yield orders
    orders.close()


# Programs -----------------------------------------------------------------------------------------------------------


def fork_child() -> int:
    with subprocess.Popen(["true"]) as child:
        return child.pid


def test_a_typed_tracepoint(programs: Programs) -> None:
    programs.attach("on_fork")
    child = fork_child()
    assert fact(programs, 0) == child
    programs.detach("on_fork")
    fork_child()
    assert fact(programs, 0) == child


def fact(programs: Programs, index: int) -> int:
    return int(struct.unpack("<8Q", programs.variable("facts").raw)[index])


def test_facts_about_the_kernel_are_filled_in(programs: Programs) -> None:
    programs.attach("on_fork")
    fork_child()
    types = Btf(read_kernel_btf())
    named = types.find(frozenset({b"task_struct"}))[b"task_struct"]
    (task,) = (found for found in named if types.kind(found) == STRUCT)
    assert fact(programs, 1) == 0
    assert fact(programs, 2) == 2  # the field that is missing, the field that is there
    assert fact(programs, 3) == 2
    assert fact(programs, 4) == types.size(task)
    assert fact(programs, 4) > 1000
    assert (fact(programs, 5), fact(programs, 6)) == (27, 0)
    assert fact(programs, 7) == 44


def test_a_bit_field_is_read_where_the_kernel_has_it(programs: Programs) -> None:
    programs.attach("on_fork")
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    try:
        fork_child()
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
    assert fact(programs, 1) == 1


def test_an_untyped_tracepoint_and_a_variable_with_a_beginning(programs: Programs) -> None:
    ended = programs.variable("ended")
    assert (ended.value, ended.size_bytes) == (7, 8)
    programs.attach("on_exit")
    fork_child()
    assert ended.value > 7
    assert programs.variable("greeting").raw == b"hello\0\0\0"  # a constant without a name


@pytest.mark.parametrize("name", ["on_nothing", "on_nothing_raw"])
def test_a_tracepoint_that_the_kernel_lacks_is_named(programs: Programs, name: str) -> None:
    with pytest.raises(Unsupported, match="no tracepoint no_such_tracepoint"):
        programs.attach(name)
    programs.attach("on_fork")  # the others do without
    assert programs.obstacle("on_fork") is None


def test_an_iterator(programs: Programs) -> None:
    for _ in range(2):
        with open(programs.open_pass("each_task"), "rb", buffering=0) as file:
            raw = b"".join(iter(lambda: file.read(4096), b""))
        assert os.getpid() in struct.unpack(f"<{len(raw) // 4}I", raw)


def cgroup_root() -> int:
    with open("/proc/self/mounts") as file:
        mounts = [line.split() for line in file]
    path = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), None)
    if path is None:
        pytest.skip("no cgroup v2 is mounted")
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def test_packets_of_a_cgroup_both_ways_beside_another_program(image: Image, programs: Programs) -> None:
    group = cgroup_root()
    try:
        with Programs(image) as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for each in (programs, other):
                each.attach("on_egress", group)
                each.attach("on_ingress", group)
            udp.bind(("127.0.0.1", 0))
            udp.sendto(b"x" * 100, udp.getsockname())
            assert udp.recv(200) == b"x" * 100
            port = struct.pack("<I", udp.getsockname()[1])
            for each in (programs, other):
                for direction in ("hash", "lru_hash"):
                    assert each.map(direction).lookup(port) == struct.pack("<Q", 128)
    finally:
        os.close(group)


def test_a_program_is_not_attached_as_another_kind(programs: Programs) -> None:
    for name, group in (("on_packet", None), ("on_egress", None), ("on_fork", 0)):
        with pytest.raises(ValueError, match="is of kind"):
            programs.attach(name, group)
    programs.attach("on_fork")
    with pytest.raises(ValueError, match="attached already"):
        programs.attach("on_fork")


# Maps ---------------------------------------------------------------------------------------------------------------


def test_possible_cpus_are_counted() -> None:
    assert count_possible_cpus() >= (os.cpu_count() or 1)


@pytest.mark.parametrize("name", COUNTERS)
def test_each_kind_of_map_counts(programs: Programs, order: Order, name: str) -> None:
    for key, amount in ((3, 10), (4, 1), (3, 5)):
        order(COUNT, key, amount)
    counted = sums(programs.map(name), programs.map(name).read())
    assert {key: total for key, total in counted.items() if total} == {3: 15, 4: 1}


def sums(map: Map, elements: Elements) -> dict[int, int]:
    """Totals over the CPUs by key."""
    keys = struct.unpack(f"<{elements.number}I", elements.keys)
    values = struct.unpack(f"<{elements.number * map.cpus}Q", elements.values)
    assert len(set(keys)) == len(keys)
    return {key: sum(values[n * map.cpus : (n + 1) * map.cpus]) for n, key in enumerate(keys)}


def refuse_batch(_: bpf.MapBatch) -> None:
    raise OSError(524, "ENOTSUPP")


@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("delete", [False, True])
def test_reading_one_by_one_gives_the_same(
    programs: Programs, order: Order, name: str, delete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if delete and "array" in name:
        pytest.skip("elements of an array stay")
    for key in range(50):
        order(COUNT, key, key + 1)
    batched = sums(programs.map(name), programs.map(name).read())
    monkeypatch.setattr(bpf.MapBatch, "read", refuse_batch)
    assert sums(programs.map(name), programs.map(name).read(delete)) == batched
    assert programs.map(name).read().number == (0 if delete else len(batched))


@pytest.mark.parametrize("name", ["hash", "odd"])
def test_one_element(programs: Programs, name: str) -> None:
    map = programs.map(name)
    value = bytes(range(map.value_bytes)).ljust(map.stride_bytes // map.cpus, b"\0") * map.cpus
    key = b"\1\0\0\0"
    assert map.lookup(key) is None
    with pytest.raises(FileNotFoundError):
        map.update(key, value, ONLY_KNOWN)
    map.update(key, value, ONLY_NEW)
    assert map.lookup(key) == value
    with pytest.raises(FileExistsError):
        map.update(key, value, ONLY_NEW)
    assert (map.delete(key), map.delete(key), map.lookup(key)) == (True, False, None)


def test_keys_and_values_of_another_size_never_reach_the_kernel(programs: Programs) -> None:
    map = programs.map("percpu_hash")
    for act in (lambda: map.lookup(b"abc"), lambda: map.delete(b"abcde"), lambda: map.update(b"abcd", bytes(8 * 99))):
        with pytest.raises(ValueError, match="bytes, not"):
            act()


def test_values_kept_in_a_task(programs: Programs) -> None:
    programs.attach("on_fork")
    fork_child()
    fork_child()
    pidfd = os.pidfd_open(os.getpid())
    try:
        assert programs.map("forks").lookup(struct.pack("<i", pidfd)) == struct.pack("<Q", 2)
    finally:
        os.close(pidfd)


def insert_in_child(order: Orders, number: int) -> int:
    """A child that inserts keys 0 to `number`, each once, as fast as it can."""
    pid = os.fork()
    if pid == 0:
        for key in range(number):
            order(INSERT, key, key)
        os._exit(0)
    return pid


@pytest.mark.parametrize("batch", [True, False], ids=["batched", "singly"])
def test_what_is_drained_under_concurrent_updates_is_all_of_it_once(
    programs: Programs, order: Orders, batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, map = 20_000, programs.map("large")
    if not batch:
        monkeypatch.setattr(bpf.MapBatch, "read", refuse_batch)
    pid, ended, rounds = insert_in_child(order, number), False, 0
    drained: list[int] = []
    while not ended:
        ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        elements = map.read(delete=True)
        rounds += 1
        keys = struct.unpack(f"<{elements.number}I", elements.keys)
        assert struct.unpack(f"<{elements.number}Q", elements.values) == keys
        drained += keys
    assert sorted(drained) == list(range(number))
    assert rounds > 1


def test_a_large_map_comes_in_pieces(programs: Programs) -> None:
    map = programs.map("large")
    for key in range(3000):
        map.update(struct.pack("<I", key), struct.pack("<Q", key))
    batch = bpf.MapBatch(map.fd, 4, 8, 100, False)
    seen: list[int] = []
    last = False
    while not last:
        number, keys, values, last = batch.read()
        assert number <= 100
        assert struct.unpack(f"<{number}Q", values) == struct.unpack(f"<{number}I", keys)
        seen += struct.unpack(f"<{number}I", keys)
    assert sorted(seen) == list(range(3000))


def test_room_is_made_for_a_bucket_that_does_not_fit(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    map = programs.map("large")
    for key in range(40_000):
        map.update(struct.pack("<I", key), struct.pack("<Q", key))
    grown: list[int] = []
    grow = bpf.MapBatch.grow

    def note(batch: bpf.MapBatch, most: int) -> None:
        grown.append(most)
        grow(batch, most)

    monkeypatch.setattr(bpf.MapBatch, "grow", note)
    monkeypatch.setattr(bpf_maps, "_PIECE_BYTES", 1)
    monkeypatch.setattr(bpf_maps, "_LEAST_PIECE", 1)
    assert sorted(struct.unpack("<40000I", map.read().keys)) == list(range(40_000))
    assert grown[:2] == [1, 2]


def test_entries_can_be_chosen(image: Image) -> None:
    with Programs(image, entries={"hash": 2}) as programs:
        map = programs.map("hash")
        for key in range(2):
            map.update(struct.pack("<I", key), bytes(8))
        with pytest.raises(OSError, match="Argument list too long"):
            map.update(struct.pack("<I", 2), bytes(8))
    with pytest.raises(KeyError, match="nothing"):
        Programs(image, entries={"nothing": 1})


# Variables ----------------------------------------------------------------------------------------------------------


def test_variables_are_shared_both_ways(programs: Programs, order: Order) -> None:
    packets = programs.variable("packets")
    packets.value = 1000
    order(COUNT, 1, 1)
    assert packets.value == 1001
    assert struct.unpack("<i", programs.variable("negative").raw) == (-2,)


def test_beginnings_can_be_set(image: Image) -> None:
    with Programs(image, {"ended": 9, "negative": -5}) as programs:
        assert programs.variable("ended").value == 9
        assert struct.unpack("<i", programs.variable("negative").raw) == (-5,)
    with pytest.raises(ValueError, match="only 4 bytes"):
        Programs(image, {"watched": bytes(5)})
    with pytest.raises(OverflowError):
        Programs(image, {"watched": 1 << 32})
    with pytest.raises(KeyError, match="unheard_of"):
        Programs(image, {"unheard_of": 1})


def test_constants_are_no_variables(programs: Programs) -> None:
    with pytest.raises(KeyError, match="is a constant"):
        programs.variable("watched")


def test_what_is_closed_answers_no_more(image: Image) -> None:
    with Programs(image) as programs:
        lost = programs.variable("lost")
        assert lost.value == 0
    with pytest.raises(ValueError, match="closed"):
        _ = lost.value


# Rings --------------------------------------------------------------------------------------------------------------


def records_of(raws: list[bytes]) -> list[int]:
    assert all(raw[4:] == b"a" * 8 + raw[12:] and len(raw) == 13 for raw in raws)
    return [RECORD_13.unpack(raw)[0] for raw in raws]


def test_a_ring_wraps_many_times(programs: Programs, order: Order) -> None:
    ring, seen = programs.ring("ring"), []
    for first in range(0, 6000, 60):  # 60 records of 24 bytes, 100 times: the ring of 4096 bytes wraps 35 times
        order(RECORD, first, 60)
        seen += records_of(ring.read())
    assert seen == list(range(6000))
    assert (programs.variable("lost").value, ring.pending_bytes, ring.read()) == (0, 0, [])


def test_what_does_not_fit_is_counted(programs: Programs, order: Order) -> None:
    for first in range(0, 640, 64):
        order(RECORD, first, 64)
    kept = records_of(programs.ring("ring").read())
    assert kept == list(range(4096 // 24))
    assert len(kept) + programs.variable("lost").value == 640
    order(RECORD, 7, 1)
    assert records_of(programs.ring("ring").read()) == [7]


def test_discarded_records_are_skipped(programs: Programs, order: Order) -> None:
    ring = programs.ring("ring")
    order(DISCARD, 0, 64)
    assert records_of(ring.read()) == list(range(0, 64, 2))
    assert ring.pending_bytes == 0


def test_no_more_is_copied_than_was_asked_for(programs: Programs, order: Order) -> None:
    ring = programs.ring("ring")
    order(RECORD, 0, 60)
    assert records_of(ring.read(24 * 10)) == list(range(10))
    assert records_of(ring.read(READ_BYTES)) == list(range(10, 60))


def test_waiting_for_a_record(programs: Programs, order: Orders) -> None:
    ring = programs.ring("ring")
    begun = time.monotonic()
    assert not ring.wait(0.05)
    assert time.monotonic() - begun >= 0.04
    pid = os.fork()
    if pid == 0:
        order(RECORD, 5, 1)
        os._exit(0)
    assert ring.wait(30)
    os.waitpid(pid, 0)
    assert records_of(ring.read()) == [5]


def test_only_rings_are_read_as_rings(programs: Programs) -> None:
    with pytest.raises(ValueError, match="no ring"):
        programs.ring("hash")


def test_reading_costs_little(image: Image) -> None:
    """120,000 records of 192 bytes; three times the time that is hoped for."""
    with Programs(image, entries={"ring": 1 << 25}) as programs:
        orders, ring = Orders(programs), programs.ring("ring")
        for first in range(0, 120_000, 60):
            orders(RECORD, first, 60, 192)
        begun, keys = time.process_time(), []
        while records := ring.read():
            keys += [int.from_bytes(record[:4], "little") for record in records]
        assert time.process_time() - begun < 0.45
        assert keys == list(range(120_000))
        assert programs.variable("lost").value == 0
        orders.close()


# Failure ------------------------------------------------------------------------------------------------------------


def test_nothing_stays_open(image: Image) -> None:
    before = descriptors()
    with Programs(image, {"watched": 1}) as programs:
        for program in image.programs:
            if not program.obstacle and program.name not in ("refused", "on_nothing_raw"):
                programs.load(program.name)
        for name in ("on_fork", "on_exit", "each_task"):
            programs.attach(name)
        programs.ring("ring")
        programs.variable("lost")
        assert len(descriptors() - before) > 10
    assert descriptors() <= before


def test_nothing_stays_open_when_the_kernel_refuses(image: Image) -> None:
    before = descriptors()
    with Programs(image) as programs:
        with pytest.raises(Unsupported, match=r"refuses the eBPF program refused.*invalid mem access"):
            programs.attach("refused")
        with pytest.raises(Unsupported):
            programs.attach("on_nothing_raw")
        programs.attach("on_fork")
    assert descriptors() <= before


def test_a_ring_size_that_the_kernel_does_not_take(image: Image) -> None:
    before = descriptors()
    with Programs(image, entries={"ring": 5000}) as programs:
        with pytest.raises(Unsupported, match="ring"):
            programs.load("on_packet")
        programs.load("on_exit")
    assert descriptors() <= before


def test_without_capabilities_it_is_denied(image: Image) -> None:
    effective = libc.get_capabilities()[0]
    libc.set_effective(0)
    try:
        with Programs(image) as programs, pytest.raises(Denied) as denied:
            programs.attach("on_fork")
    finally:
        libc.set_effective(effective)
    assert denied.value.hint and "CAP_BPF" in denied.value.hint


CHILD = """
import os, sys
from hostscope.platforms.linux import program_cache
from hostscope.platforms.linux.loader import Programs
programs = Programs(program_cache.parse_entry(open(sys.argv[1], "rb").read()))
programs.attach("on_exit")
with open(f"/proc/self/fdinfo/{programs.load('on_exit')}") as file:
    print(next(line.split()[1] for line in file if line.startswith("prog_id")), flush=True)
sys.stdin.read()
"""


def exists(program_id: int) -> bool:
    try:
        os.close(bpf._bpf(PROG_GET_FD_BY_ID, struct.pack("=III", program_id, 0, 0)))
    except FileNotFoundError:
        return False
    return True


def test_everything_goes_with_a_killed_process(image: Image, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(program_cache.render_entry(image))
    command = [sys.executable, "-c", CHILD, str(tmp_path / "image")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        program_id = int(child.stdout.readline())
        assert exists(program_id)
        child.kill()
    deadline = time.monotonic() + 30
    while exists(program_id):  # the kernel lets go of it a moment later
        assert time.monotonic() < deadline


def test_an_image_survives_the_cache(image: Image) -> None:
    assert program_cache.parse_entry(program_cache.render_entry(image)) == image


def test_an_unknown_program_is_told(image: Image) -> None:
    with Programs(msgspec.structs.replace(image, programs=())) as programs, pytest.raises(Unsupported, match="on_fork"):
        programs.load("on_fork")
