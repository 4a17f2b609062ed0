"""``python -m tests.bench.memory``: dumps beside gcore, reading beside memcpy, YARA over live memory beside a file.

Contestants take turns in one run, so that a slow moment of the machine meets each; the ratios are what to read.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy
import yara_x

from hostscope.collectors.scan import scan
from hostscope.dumps.pieces import PIECE_BYTES
from hostscope.model.dump import Dump, DumpRequest
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms import open_host
from hostscope.platforms.base_memory import AddressSpace
from hostscope.platforms.control import open_control
from hostscope.respond.dump import FIELDS, dump_all
from tests.bench.__main__ import compile_peer, show, stating_disturbance

GIB = 1 << 30
HOST = open_host()
RULE = 'rule needle { strings: $a = "a needle that is not there" $b = /secret[0-9]{8}/ condition: any of them }'
ROUNDS = 5


class Target:
    """A memhog: its process and where its memory is."""

    def __init__(self, child: "subprocess.Popen[bytes]", address: int) -> None:
        self.child = child
        self.address = address
        self.process: Process = HOST.processes.read(child.pid, ProcessRequest(fields=FIELDS))

    def longest_ns(self) -> int:
        """Longest pause of the busy thread since the last question."""
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())


@contextmanager
def memhog(program: str, resident_mb: int, virtual_mb: int, *more: str) -> Iterator[Target]:
    """A process with so much memory."""
    command = [program, str(resident_mb), str(virtual_mb), *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        yield Target(child, int(child.stdout.readline(), 16))
        child.stdin.close()


def dumped(targets: list[Target], folder: str, request: DumpRequest) -> list[Dump]:
    """Dumps, left for `emptied`."""
    tasks = [(target.process, f"{folder}/{target.child.pid}.core") for target in targets]
    return list(dump_all(HOST, open_control(HOST.name), tasks, request, nullcontext, True, lambda *_: None))


def gcore(target: Target, folder: str) -> None:
    """gdb's dump, left for `emptied`."""
    subprocess.run(["gcore", "-o", f"{folder}/gcore", str(target.child.pid)], check=True, capture_output=True)


def emptied(folder: str) -> None:
    """Removes what was dumped: to free 2 GiB of tmpfs takes 0.3 s, which belong to nobody's dump."""
    for file in os.scandir(folder):
        os.unlink(file)


def gcore_with_digest(target: Target, folder: str) -> None:
    """The same work as ours with digests."""
    gcore(target, folder)
    with open(f"{folder}/gcore.{target.child.pid}", "rb") as file:
        hashlib.file_digest(file, "sha256")


def timed(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    after: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each turn of each, taking turns, `after` uncounted behind each; one uncounted turn first."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, work in contestants.items():
            began = time.perf_counter()
            work()
            if turn:
                taken[name].append(time.perf_counter() - began)
            after()
    return taken


def medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Of each contestant's turns."""
    return {name: statistics.median(times) for name, times in taken.items()}


def report_dumps(program: str, folders: dict[str, str], scale: int) -> None:
    """2 GiB resident, and 2 of 8 GiB in runs of 64 KiB."""
    for place, folder in folders.items():
        counts = place == "disk"
        report_dump(program, f"dump of {2 / scale:g} GiB to {place}", folder, (2048 // scale, 2048 // scale),
                    2 if counts else None)  # fmt: skip
        report_dump(program, f"dump of {2 / scale:g} in {8 / scale:g} GiB mapped to {place}", folder,
                    (2048 // scale, 8192 // scale), 10 if counts else None)  # fmt: skip


def report_dump(program: str, work: str, folder: str, sizes: tuple[int, int], target: int | None) -> None:
    """Ours and gcore's doing the same: neither with digests, both with them.

    The best turns are shown beside the medians: memory that the host of a virtual machine took back costs whoever
    touches it first several times the dump, and who writes much to a disk waits for it sooner or later.
    """
    with memhog(program, *sizes) as hog:
        contestants = {
            "gcore": partial(gcore, hog, folder),
            "--hash none": lambda: dumped([hog], folder, DumpRequest(hash="none")),
            "gcore and SHA-256": partial(gcore_with_digest, hog, folder),
            "with digests": lambda: dumped([hog], folder, DumpRequest()),
        }
        taken = timed(contestants, ROUNDS, partial(emptied, folder))
    middle = medians(taken)
    for ours, theirs in (("--hash none", "gcore"), ("with digests", "gcore and SHA-256"), ("with digests", "gcore")):
        ratio, best = middle[theirs] / middle[ours], min(taken[theirs]) / min(taken[ours])
        same = target if (ours, theirs) != ("with digests", "gcore") else None
        figure = f"{ratio:.1f} x {theirs} ({middle[ours]:.2f} / {middle[theirs]:.2f} s; best turns {best:.1f} x)"
        show(f"{work}, {ours}", figure, f">= {same} x" if same else "", ratio >= same if same else None)


def report_reading(program: str, scale: int) -> None:
    """Two threads, no output, beside memcpy by one."""
    with ExitStack() as stack:
        target = stack.enter_context(memhog(program, 2048 // scale, 2048 // scale))
        space = stack.enter_context(HOST.memory.open(target.process.key))
        size = 2 * GIB // scale
        source = numpy.ones(min(size, 1 << 28), numpy.uint8)
        copy = numpy.empty_like(source)

        def memcpy() -> None:
            for _ in range(size // source.size):
                numpy.copyto(copy, source)

        found = medians(timed({"memcpy": memcpy, "read": lambda: read_all(space, target.address, size)}, 7))
    ratio = found["memcpy"] / found["read"]
    rates = f"{size / found['read'] / GIB:.1f} / {size / found['memcpy'] / GIB:.1f} GiB/s"
    show("reading alone, two threads", f"{ratio:.2f} x memcpy ({rates})", ">= 0.75 x", ratio >= 0.75)


def read_all(space: AddressSpace, address: int, size: int) -> None:
    """As a dump does, without writing."""
    own = threading.local()

    def job(start: int) -> None:
        if not hasattr(own, "buffer"):
            own.buffer = memoryview(bytearray(1 << 20))
        for at in range(start, min(start + PIECE_BYTES, address + size), 1 << 20):
            assert space.read(at, own.buffer) == 1 << 20

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(job, range(address, address + size, PIECE_BYTES)))


def report_pause(program: str, folder: str, scale: int) -> None:
    """How long a busy thread stands still."""
    kinds: dict[str, Callable[[Target], object]] = {
        "idle": lambda _: time.sleep(1),
        "dump, no registers": lambda target: dumped([target], folder, DumpRequest(registers=False)),
        "dump": lambda target: dumped([target], folder, DumpRequest()),
        "gcore": lambda target: gcore(target, folder),
    }
    longest: dict[str, list[float]] = {name: [] for name in kinds}
    with memhog(program, 2048 // scale, 2048 // scale, "busy") as target:
        for _ in range(ROUNDS):
            for name, work in kinds.items():
                target.longest_ns()
                work(target)
                longest[name].append(target.longest_ns() / 1e6)
                emptied(folder)
    median = {name: statistics.median(times) for name, times in longest.items()}
    for name, found in longest.items():
        counts = name == "dump, no registers"
        show(f"longest pause of a busy thread: {name}", f"{median[name]:.1f} ms (worst of runs {max(found):.1f})",
             "< 15 ms" if counts else "", median[name] < 15 if counts else None)  # fmt: skip


def report_many(program: str, folder: str) -> None:
    """A hundred processes of 5 to 50 MB, at the same time."""
    with ExitStack() as stack:
        sizes = [5 + number * 45 // 99 for number in range(100)]
        targets = [stack.enter_context(memhog(program, size, size)) for size in sizes]
        turns = timed({"ours": lambda: dumped(targets, folder, DumpRequest())}, 3, partial(emptied, folder))
        found = medians(turns)["ours"]
    each = found * 10
    show("dump of 100 processes of 5-50 MB", f"{each:.1f} ms each ({sum(sizes) / 1024 / found:.2f} GiB/s)", "<= 50 ms",
         each <= 50)  # fmt: skip


def report_scan(program: str, folder: str, scale: int) -> None:
    """One GiB of live memory beside a file of the same bytes."""
    rules, image = f"{folder}/needle.yar", f"{folder}/image"
    Path(rules).write_text(RULE)
    with memhog(program, 1024 // scale, 1024 // scale) as target:
        with HOST.memory.open(target.process.key) as space, open(image, "wb") as file:
            for at in range(0, GIB // scale, 1 << 24):
                file.write(space.read_bytes(target.address + at, 1 << 24))
        scanner = yara_x.Scanner(yara_x.compile(RULE))
        found = medians(
            timed(
                {
                    "file": lambda: scanner.scan_file(image),
                    "live": lambda: scan(HOST, [str(target.child.pid)], rules, executable=False).rows(),
                }
            )
        )
    os.unlink(image)
    ratio = found["live"] / found["file"]
    figure = f"{ratio:.2f} x yara-x on a file ({found['live']:.2f} / {found['file']:.2f} s)"
    show(f"YARA over {1 / scale:g} GiB of live memory", figure, "<= 1.3 x", ratio <= 1.3)


def main() -> None:
    """The whole report; a number as argument divides the sizes."""
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    if not shutil.which("gcore"):
        raise SystemExit("gcore is missing: apt-get install gdb")
    with stating_disturbance(), ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        disk = stack.enter_context(tempfile.TemporaryDirectory())
        program = compile_peer("memhog", disk)
        dumps = f"{disk}/dumps"
        os.mkdir(dumps)
        report_reading(program, scale)
        report_dumps(program, {"tmpfs": memory, "disk": dumps}, scale)
        report_pause(program, memory, scale)
        report_many(program, memory)
        report_scan(program, disk, scale)


if __name__ == "__main__":
    main()
