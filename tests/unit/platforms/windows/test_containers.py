"""Containers and machines of Windows, by what the compute service would say and by shapes."""

import ctypes
import json
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.errors import Denied, Unavailable
from hostscope.model.container import Container
from hostscope.platforms.windows import parse_compute as parse
from hostscope.platforms.windows.containers import LXSS, Containers
from hostscope.platforms.windows.native import compute
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_security import Registry

DOCKER = "4fa6c1d9f9f3a8f36a7ff3ea8d1c4e9d2b5a7c8e9f0a1b2c3d4e5f6a7b8c9d0e"
MACHINE = "2c1d9f00-aaaa-4bbb-8ccc-0123456789ab"
SYSTEMS = [
    {"Id": DOCKER, "SystemType": "Container", "Owner": "docker", "State": "Running"},
    {"Id": MACHINE.upper(), "SystemType": "VirtualMachine", "Owner": "WSL", "Name": "WSL"},
    {"Id": "linux", "SystemType": "Container", "Owner": "x", "RuntimeOsType": "Linux"},
    {"Id": "vm", "SystemType": "VirtualMachine", "Owner": "vmms", "Name": "dc01"},
    {"no": "id"}, 7,
]  # fmt: skip
DISTRIBUTION = "{12345678-1234-1234-1234-123456789abc}"
FOLDER = "C:\\Users\\a\\AppData\\Local\\Packages\\Debian\\LocalState"


class Service:
    """The Host Compute Service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systems: Any = SYSTEMS
        self.processes = {DOCKER: [{"ProcessId": 4321, "ImageName": "cmd.exe"}]}
        self.refusal = 0
        self.runs = True
        self.held: list[Any] = []
        self.opened = 0
        self._system = ""
        script(monkeypatch, compute.vmcompute, HcsEnumerateComputeSystems=self._enumerate,
               HcsOpenComputeSystem=self._open, HcsGetComputeSystemProperties=self._properties,
               HcsCloseComputeSystem=self._close)  # fmt: skip
        script(monkeypatch, compute._ole32, CoTaskMemFree=lambda buffer: self.held.pop())

    def _tell(self, told: Any, into: Any) -> int:
        if self.refusal:
            return ctypes.c_int32(self.refusal).value
        raw = (json.dumps(told) + "\0").encode("utf-16-le")
        self.held.append(ctypes.create_string_buffer(raw, len(raw)))
        into._obj.value = ctypes.addressof(self.held[-1])
        return 0

    def _enumerate(self, query: str, into: Any, result: Any) -> int:
        return self._tell(self.systems, into)

    def _open(self, identifier: str, into: Any, result: Any) -> int:
        self._system, self.opened = identifier, self.opened + 1
        into._obj.value = 1
        return 0

    def _properties(self, system: int, query: str, into: Any, result: Any) -> int:
        return self._tell({"ProcessList": self.processes.get(self._system, [])}, into)

    def _close(self, system: int) -> int:
        self.opened -= 1
        return 0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service(monkeypatch)
    yield made
    assert made.held == [] and made.opened == 0


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    monkeypatch.setenv("PROGRAMDATA", str(tmp_path))
    values: dict[str, int | str | bytes] = {"DistributionName": "Debian", "BasePath": FOLDER, "Version": 1}
    return Registry(monkeypatch, {f"HKU\\S-1-5-21-1\\{LXSS}\\{DISTRIBUTION}": values})


def containers(service: Service) -> Containers:
    return Containers(lambda: service.runs)


def test_everything_that_there_is(service: Service) -> None:
    found = {one.id: one for one in containers(service).containers()}
    assert {name: one.runtime for name, one in found.items()} == {
        DISTRIBUTION.strip("{}"): "wsl1", DOCKER: "docker", MACHINE: "wsl", "linux": "unknown", "vm": "hyper-v",
    }  # fmt: skip
    assert found["vm"].name == "dc01" and found[DISTRIBUTION.strip("{}")].name == "Debian"
    assert {one.source for one in found.values()} == {"state"}


def test_a_service_that_does_not_run_is_not_started(service: Service) -> None:
    service.runs, service.refusal = False, 0x80070005
    assert [one.name for one in containers(service).containers()] == ["Debian"]
    assert containers(service).at(4321, "cmd.exe") is None


def test_refusals_come_after_what_is_known_without_it(service: Service) -> None:
    service.refusal = 0x80070005
    found = containers(service).containers()
    assert next(found).name == "Debian"
    with pytest.raises(Denied):
        next(found)


def test_nonsense_is_unavailable(service: Service) -> None:
    service.systems = {"not": "a list"}
    with pytest.raises(Unavailable, match="is no list"):
        list(containers(service).containers())


def test_processes_are_found_by_the_services_own_list(service: Service) -> None:
    found = containers(service)
    assert found.at(4321, "cmd.exe") == Container("docker", DOCKER, source="state")
    assert found.at(4322, "cmd.exe") is None


def test_a_refusing_service_leaves_shapes(service: Service) -> None:
    service.refusal = 0x80070005
    path = f"\\Device\\VhdHardDisk{{{MACHINE}}}\\Windows\\System32\\cmd.exe"
    assert containers(service).at(1, "cmd.exe", native_path=path) == Container("unknown", MACHINE, source="heuristic")


def test_machines_by_their_account_and_by_their_command_line(service: Service) -> None:
    found = containers(service)
    other = uuid.UUID("01234567-89ab-4cde-8f01-23456789abcd")
    sid = "-".join(("S-1-5-83-1", *map(str, struct.unpack("<4I", other.bytes_le))))
    assert found.at(9, "vmmemWSL", user=sid) == Container("hyper-v", str(other), source="state")
    worker = ("vmwp.exe", MACHINE.upper())
    assert found.at(9, "vmwp.exe", worker) == Container("wsl", MACHINE, name="WSL", source="state")
    assert found.at(9, "vmwp.exe", ("vmwp.exe", "-x")) is None
    assert found.at(9, "other.exe", ("other.exe", MACHINE)) is None


def test_linux_programs_of_wsl_1(service: Service) -> None:
    path = f"\\Device\\HarddiskVolume3{FOLDER[2:]}\\rootfs\\usr\\bin\\bash"
    found = containers(service)
    assert found.at(9, "bash", native_path=path, subsystem=True) == Container(
        "wsl1", DISTRIBUTION.strip("{}"), name="Debian", source="heuristic"
    )
    assert found.at(9, "bash", native_path="\\Device\\X", subsystem=True) == Container(
        "wsl1", "wsl1", source="heuristic"
    )
    assert found.at(9, "bash", native_path=path, subsystem=False) is None


def test_names_of_docker(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "docker\\containers" / DOCKER
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(json.dumps({"Name": "/web", "Config": {"Image": "nanoserver"}}))
    found = containers(service).describe(Container("docker", DOCKER))
    assert (found.name, found.image) == ("web", "nanoserver")
    other = Container("docker", "..\\..\\x")
    assert containers(service).describe(other) == other


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["Id", "Owner", "ProcessList", "ProcessId", "Name", "Config"]), inner, max_size=4
    ),
).map(lambda told: json.dumps(told).encode("utf-16-le")))  # fmt: skip
def test_any_answer_is_records_or_a_value_error(raw: bytes) -> None:
    for parser in (parse.parse_systems, parse.parse_process_list, parse.parse_docker):
        try:
            parser(raw)
        except ValueError:
            continue


@given(st.text(max_size=60))
def test_any_text_is_a_machine_or_none(text: str) -> None:
    assert parse.machine_of(f"S-1-5-83-1-{text}") is None or text.count("-") == 3
    parse.machine_in(("x", text))
    parse.disk_of(f"\\Device\\VhdHardDisk{text}")
