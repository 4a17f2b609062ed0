"""The host's counters from fixed texts."""

from pathlib import Path

import pytest

from hostscope.errors import Unavailable
from hostscope.model.gap import Reason
from hostscope.model.host import DiskCounters, Pressure
from hostscope.platforms.linux.clock import TICK_NS
from hostscope.platforms.linux.counters import Counters
from hostscope.platforms.linux.parse_host import parse_cpus, parse_disks, parse_meminfo, parse_pressure

STAT = b"""cpu  100 20 30 4000 50 6 7 8 9 10
cpu0 50 10 15 2000 25 3 3 4 4 5
cpu1 50 10 15 2000 25 3 4 4 5 5
intr 261744 0 0
ctxt 436371
btime 1795324770
processes 15701
procs_running 4
procs_blocked 0
"""
MEMINFO = b"""MemTotal:       1000 kB
MemFree:         400 kB
MemAvailable:    600 kB
Cached:          100 kB
SwapTotal:       200 kB
SwapFree:        150 kB
HugePages_Total:       3
"""
DISKS = b"""   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 10 1 20 30 40 2 50 60 0 70 80 0 0 0 0 0 0
"""
PRESSURE = b"some avg10=1.50 avg60=0.09 avg300=0.10 total=5188673\nfull avg10=0.01 avg60=0.08 avg300=100.00 total=4\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "pressure").mkdir()
    files = {"stat": STAT, "meminfo": MEMINFO, "loadavg": b"0.05 0.04 1.25 4/101 5147\n", "diskstats": DISKS}
    for name, text in (files | {f"pressure/{name}": PRESSURE for name in ("cpu", "memory", "io")}).items():
        (tmp_path / name).write_bytes(text)
    return tmp_path


def test_all_counters(proc: Path) -> None:
    found = Counters(str(proc)).read()
    ticks = (found.cpu_user_ns, found.cpu_system_ns, found.cpu_idle_ns, found.cpu_iowait_ns, found.cpu_steal_ns)
    assert ticks == tuple(number * TICK_NS for number in (120, 43, 4000, 50, 8))
    assert (found.cpu_count, found.context_switches, found.processes_created, found.processes_running) == (
        2, 436371, 15701, 4,
    )  # fmt: skip
    assert (found.load_1m, found.load_5m, found.load_15m) == (0.05, 0.04, 1.25)
    assert (found.memory_total_bytes, found.memory_free_bytes, found.memory_available_bytes) == (
        1024000, 409600, 614400,
    )  # fmt: skip
    assert (found.memory_cached_bytes, found.swap_total_bytes, found.swap_free_bytes) == (102400, 204800, 153600)
    assert found.pressure_io == Pressure(0.015, 0.0009, 0.001, 0.0001, 0.0008, 1.0)
    assert found.disks == (DiskCounters("vda", 10, 20 * 512, 30_000_000, 40, 50 * 512, 60_000_000, 70_000_000),)
    assert found.gaps == ()


def test_a_kernel_without_pressure(proc: Path) -> None:
    for name in ("cpu", "memory", "io"):
        (proc / "pressure" / name).unlink()
    found = Counters(str(proc)).read()
    assert found.pressure_cpu is None
    assert [(gap.field, gap.reason) for gap in found.gaps] == [
        (f"pressure_{name}", Reason.UNSUPPORTED) for name in ("cpu", "memory", "io")
    ]


def test_nonsense_in_one_file_is_a_gap(proc: Path) -> None:
    (proc / "loadavg").write_bytes(b"high\n")
    found = Counters(str(proc)).read()
    assert found.load_1m is None
    assert [gap.field for gap in found.gaps] == ["load_1m", "load_5m", "load_15m"]
    assert {gap.reason for gap in found.gaps} == {Reason.UNAVAILABLE}


@pytest.mark.parametrize("name", ["stat", "meminfo"])
def test_without_the_essential_files_there_is_no_answer(proc: Path, name: str) -> None:
    (proc / name).unlink()
    with pytest.raises(Unavailable, match="No such file") as failed:
        Counters(str(proc)).read()
    assert failed.value.hint == "is /proc mounted with subset=pid?"


def test_meminfo_without_a_total(proc: Path) -> None:
    (proc / "meminfo").write_bytes(b"MemFree: 1 kB\n")
    with pytest.raises(Unavailable, match="MemTotal"):
        Counters(str(proc)).read()


def test_old_kernels_lack_full_cpu_pressure() -> None:
    assert parse_pressure(PRESSURE.splitlines()[0]).full_10s_ratio is None


def test_meminfo_counts_have_no_unit() -> None:
    assert parse_meminfo(MEMINFO)["HugePages_Total"] == 3


@pytest.mark.parametrize("raw", [b"", b"cpu 1 2 3", b"cpu a b c d e f g h"])
def test_a_stat_without_cpu_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse_cpus(raw)


def test_a_short_disk_line_is_an_error() -> None:
    with pytest.raises(ValueError):
        parse_disks(b"254 0 vda 10 1\n")
