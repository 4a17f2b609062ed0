"""Counters, performance counters by name, and what the host is, on scripted answers."""

import ctypes
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, Unavailable, UsageError
from hostscope.model.gap import Reason
from hostscope.platforms.windows import counters, security_center, system
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.native import ntdll, pdh, performance, wbem
from hostscope.platforms.windows.native.library import SystemRefused, set_last_error
from hostscope.platforms.windows.parse_counters import parse_page_files, parse_switches, parse_times
from tests.unit.platforms.windows.scripted import script

UNKNOWN = -0x3FFFF447  # PDH_CSTATUS_NO_COUNTER, as a LONG


def processor(idle: int, kernel: int, user: int) -> bytes:
    return bytes(performance.SYSTEM_PROCESSOR_PERFORMANCE_INFORMATION(idle, kernel, user))


def page_file(step: int, total: int, used: int) -> bytes:
    return struct.pack("<IIII16x", step, total, used, used)


def kernel(patch: pytest.MonkeyPatch, **answers: bytes | int) -> None:
    """Classes of system information: bytes, or the NTSTATUS that refuses one."""
    classes = {getattr(performance, f"System{name}"): answer for name, answer in answers.items()}

    def query(kind: int, buffer: Any, size: int, needed: Any) -> int:
        answer = classes.get(kind, 0xC0000003)
        if isinstance(answer, int):
            return answer - 2**32
        needed._obj.value = len(answer)
        buffer[: len(answer)] = answer
        return 0

    script(patch, ntdll.ntdll, NtQuerySystemInformation=query)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def status(found: Any) -> int:
        found._obj.ullTotalPhys, found._obj.ullAvailPhys = 8 << 30, 3 << 30
        return 1

    def info(found: Any, size: int) -> int:
        found._obj.PageSize, found._obj.SystemCache = 4096, 1000
        return 1

    script(monkeypatch, performance.kernel32, GlobalMemoryStatusEx=status, GetActiveProcessorCount=lambda group: 2)
    script(monkeypatch, performance.psapi, GetPerformanceInfo=info)
    script(monkeypatch, pdh.pdh, PdhOpenQueryW=lambda *_: 0, PdhCloseQuery=lambda _: 0,
           PdhAddEnglishCounterW=lambda *_: UNKNOWN, PdhCollectQueryData=lambda _: 0)  # fmt: skip
    kernel(
        monkeypatch,
        ProcessorPerformanceInformation=processor(600, 700, 50) + processor(500, 900, 70),
        PerformanceInformation=bytes(296) + struct.pack("<IIII", 4_000_000_000, 0, 0, 0),
        PageFileInformation=page_file(32, 100, 40) + page_file(0, 50, 10),
    )
    return monkeypatch


def test_the_kernels_time_there_includes_the_idle_one(machine: pytest.MonkeyPatch) -> None:
    found = counters.Counters().read()
    assert (found.cpu_user_ns, found.cpu_system_ns, found.cpu_idle_ns) == (12_000, 50_000, 110_000)
    assert (found.cpu_iowait_ns, found.load_1m, found.pressure_cpu) == (None, None, None)
    assert (found.cpu_count, found.context_switches) == (2, 4_000_000_000)
    assert (found.memory_total_bytes, found.memory_cached_bytes) == (8 << 30, 4_096_000)
    assert (found.swap_total_bytes, found.swap_free_bytes) == (150 * 4096, 100 * 4096)


def test_what_is_not_told_is_a_gap(machine: pytest.MonkeyPatch) -> None:
    kernel(machine, ProcessorPerformanceInformation=processor(1, 2, 3))
    found = counters.Counters().read()
    reasons = {gap.field: gap.reason for gap in found.gaps}
    assert reasons["swap_total_bytes"] is reasons["context_switches"] is Reason.UNSUPPORTED
    assert reasons["disks"] is Reason.UNAVAILABLE and reasons["processes_created"] is Reason.UNSUPPORTED
    assert found.swap_total_bytes is None and found.context_switches is None and found.disks == ()


@pytest.mark.parametrize(("answer", "error"), [(0xC0000022, Denied), (bytes(8), Unavailable)])
def test_without_processor_times_there_is_no_answer(
    machine: pytest.MonkeyPatch, answer: bytes | int, error: type[Exception]
) -> None:
    kernel(machine, ProcessorPerformanceInformation=answer)
    with pytest.raises(error):
        counters.Counters().read()


class Query:
    """PDH with a script: instances and values by path."""

    def __init__(self, patch: pytest.MonkeyPatch, **values: dict[str, tuple[int, float]]) -> None:
        self.counters = {"\\Disk(*)\\Reads": {"0 C:": (7, 1.5), "1 D:": (9, 2.5)}, "\\Memory\\Free": {"": (5, 0.5)}}
        self.paths: list[str] = []
        self.collected = 0
        self.bad_status = 0
        script(
            patch, pdh.pdh, PdhOpenQueryW=lambda *_: 0, PdhCloseQuery=lambda _: 0, PdhAddEnglishCounterW=self.add,
            PdhCollectQueryData=self.collect, PdhGetRawCounterArrayW=self.raw,
            PdhGetFormattedCounterArrayW=self.formatted, PdhGetFormattedCounterValue=self.value,
        )  # fmt: skip

    def add(self, query: Any, path: str, user: int, counter: Any) -> int:
        if path not in self.counters:
            return UNKNOWN
        self.paths.append(path)
        counter._obj.value = len(self.paths)
        return 0

    def collect(self, query: Any) -> int:
        self.collected += 1
        return 0

    def raw(self, counter: int, size: Any, count: Any, buffer: Any) -> int:
        return self.array(pdh.PDH_RAW_COUNTER_ITEM_W, counter, size, count, buffer)

    def formatted(self, counter: int, form: int, size: Any, count: Any, buffer: Any) -> int:
        return self.array(pdh.PDH_FMT_COUNTERVALUE_ITEM_W, counter, size, count, buffer)

    def value(self, counter: int, form: int, kind: Any, found: Any) -> int:
        ((_, value),) = self.counters[self.paths[counter - 1]].values()
        found._obj.CStatus, found._obj.doubleValue = self.bad_status, value
        return 0

    def array(self, kind: Any, counter: int, size: Any, count: Any, buffer: Any) -> int:
        instances = self.counters[self.paths[counter - 1]]
        if buffer is None:
            size._obj.value = 1024
            return pdh.PDH_MORE_DATA - 2**32
        items, at = (kind * len(instances)).from_buffer(buffer), 1024
        for item, (name, (raw, value)) in zip(items, instances.items(), strict=True):
            text = name.encode("utf-16-le") + b"\0\0"
            at -= len(text)
            buffer[at : at + len(text)] = text
            item.szName = ctypes.addressof(buffer) + at
            if hasattr(item, "RawValue"):
                item.RawValue.FirstValue, item.RawValue.CStatus = raw, self.bad_status
            else:
                item.FmtValue.doubleValue, item.FmtValue.CStatus = value, self.bad_status
        count._obj.value = len(instances)
        return 0


def test_counters_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    query = Query(monkeypatch)
    found = list(counters.Counters().named(("\\Disk(*)\\Reads", "\\Memory\\Free"), 0))
    assert [(row.path, row.instance, row.value) for row in found] == [
        ("\\Disk(*)\\Reads", "0 C:", 1.5),
        ("\\Disk(*)\\Reads", "1 D:", 2.5),
        ("\\Memory\\Free", None, 0.5),
    ]
    assert query.collected == 2


def test_a_counter_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    Query(monkeypatch)
    with pytest.raises(UsageError, match="there is no counter"):
        list(counters.Counters().named(("\\Nobody\\Has",), 0))


def test_a_value_that_is_not_valid_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    query = Query(monkeypatch)
    query.bad_status = 0xC0000BBA
    rows = list(counters.Counters().named(("\\Memory\\Free", "\\Disk(*)\\Reads"), 0))
    assert {(row.value, row.gaps[0].detail) for row in rows} == {(None, "PDH status 0xC0000BBA")}


def test_disks_are_sums_by_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    query = Query(monkeypatch)
    query.counters = {path: {"0 C:": (number, 0.0), "_Total": (99, 0.0)} for number, path in
                      enumerate(counters.DISKS.values(), 1)}  # fmt: skip
    (disk,) = counters.read_disks()
    assert (disk.name, disk.reads, disk.read_bytes, disk.read_time_ns, disk.busy_ns) == ("0 C:", 1, 2, 300, 700)


def test_what_the_host_is(machine: pytest.MonkeyPatch) -> None:
    def version(found: Any) -> int:
        found._obj.dwMajorVersion, found._obj.dwBuildNumber = 10, 22_631
        return 0

    def name(kind: int, text: Any, size: Any) -> int:
        for place, unit in enumerate("HÖST"):
            text[place] = ord(unit)
        return 1

    def native(found: Any) -> None:
        found._obj.wProcessorArchitecture = performance.PROCESSOR_ARCHITECTURE_ARM64

    values = {"ProductName": "Windows 10 Pro", "DisplayVersion": "23H2", "UBR": 4169, "SystemProductName": "Mach 1"}
    machine.setattr(system, "read_values", lambda key, names: {n: values[n] for n in names if n in values})
    machine.setattr(system, "read_boot", lambda: Boot("b00t", 5))
    script(machine, performance.ntdll, RtlGetVersion=version)
    script(machine, performance.kernel32, GetComputerNameExW=name, GetNativeSystemInfo=native)
    info = system.System().info()
    assert (info.hostname, info.os_name, info.kernel) == ("HÖST", "Windows 11 Pro 23H2", "10.0.22631.4169")
    assert (info.architecture, info.vendor, info.model, info.pid_ns) == ("arm64", None, "Mach 1", 0)
    assert not info.gaps


def test_a_name_that_is_refused(machine: pytest.MonkeyPatch) -> None:
    script(machine, performance.ntdll, RtlGetVersion=lambda _: 0)
    script(machine, performance.kernel32, GetComputerNameExW=lambda *_: set_last_error(5) or 0,
           GetNativeSystemInfo=lambda _: None)  # fmt: skip
    with pytest.raises(Denied):
        system.System().info()


def test_products_of_the_security_center(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(namespace: str, wql: str, properties: tuple[str, ...]) -> list[dict[str, wbem.Value]]:
        rows = {"AntiVirusProduct": ("Guard", 0x41000, "guard.exe"), "FirewallProduct": ("Wall", 0x40010, None)}
        return [dict(zip(properties, row, strict=True)) for name, row in rows.items() if wql.endswith(name)]

    monkeypatch.setattr(wbem, "query", query)
    guard, wall = security_center.products()
    assert (guard.name, guard.kind, guard.enabled, guard.up_to_date) == ("Guard", "antivirus", True, True)
    assert (wall.kind, wall.enabled, wall.up_to_date, wall.program) == ("firewall", False, False, None)
    assert guard.source == "security-center"


def test_without_a_security_center_the_registry_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[dict[str, wbem.Value]]:
        raise SystemRefused("IWbemLocator::ConnectServer", security_center.WBEM_E_INVALID_NAMESPACE)

    monkeypatch.setattr(wbem, "query", refuse)
    monkeypatch.setattr(security_center, "read_products", lambda: ())
    assert security_center.products() == ()


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    for parse in (parse_times, parse_switches, parse_page_files):
        try:
            parse(raw)
        except ValueError:
            continue


def test_page_files_that_lead_in_circles() -> None:
    with pytest.raises(ValueError, match="do not end"):
        parse_page_files(struct.pack("<IIII", 16, 1, 1, 1) * 80)
