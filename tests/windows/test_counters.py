"""Counters and system information of a live system, beside what Python and psutil say."""

import platform
import socket
import time

import psutil
import pytest

from hostscope.errors import UsageError
from hostscope.platforms.windows.counters import Counters
from hostscope.platforms.windows.native import pdh, wbem
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.system import System
from tests.windows.missing import skip_missing, unless_missing


def test_the_machine() -> None:
    info = System().info()
    assert info.hostname.casefold() == socket.gethostname().casefold()
    assert info.kernel.startswith(platform.version())
    assert info.architecture == {"AMD64": "x64", "ARM64": "arm64"}[platform.machine()]
    assert (info.cpus, info.memory_bytes) == (psutil.cpu_count(), psutil.virtual_memory().total)
    # Wine's kernel starts with its first program, while its uptime is that of the Linux below: psutil's boot time.
    assert 0 < info.booted_at_ns <= time.time_ns()


def test_processor_times_are_those_that_others_see() -> None:
    before = psutil.cpu_times()
    found = Counters().read()
    after = psutil.cpu_times()
    for ours, name in ((found.cpu_user_ns, "user"), (found.cpu_idle_ns, "idle")):
        assert getattr(before, name) - 0.1 <= ours / 1e9 <= getattr(after, name) + 0.1
    assert found.memory_total_bytes == psutil.virtual_memory().total
    assert abs(found.at_ns - time.time_ns()) < 60e9


def test_a_counter_by_its_name() -> None:
    with unless_missing():
        (row,) = Counters().named(("\\System\\System Up Time",), 0)
    assert row.instance is None and not row.gaps
    if row.value is not None and 0 < row.value < 1e-300:
        skip_missing("PdhGetFormattedCounterValue", "gives a whole number's bits as a fraction")
    assert row.value is not None and row.value > 0


def test_no_counter_of_that_name() -> None:
    with pytest.raises(UsageError, match="there is no counter"):
        list(Counters().named(("\\Nobody\\Has This",), 0))


def test_raw_values_by_instance() -> None:
    with unless_missing(), pdh.opened_query() as query:
        counter = pdh.add_counter(query, "\\Processor(_Total)\\% Processor Time")
        pdh.collect(query)
    assert counter


def test_management_instrumentation_lists_the_same_processes() -> None:
    with unless_missing():
        rows = wbem.query("ROOT\\CIMV2", "SELECT Name, ProcessId FROM Win32_Process", ("Name", "ProcessId"))
    listed = {process.pid: process.name for process in read_processes()}
    same = [row for row in rows if listed.get(int(row["ProcessId"] or 0)) == row["Name"]]
    assert len(same) >= 3 and len(same) >= len(rows) - 2


def test_a_namespace_that_is_not_there() -> None:
    with pytest.raises(OSError, match="0x8004100E"):
        wbem.query("ROOT\\NoSuchNamespace", "SELECT * FROM Nothing", ())
