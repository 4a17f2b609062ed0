"""What hostscope says it can do, on hosts made up for it."""

from pathlib import Path

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Unsupported
from hostscope.model.host import Ability
from hostscope.platforms.windows import abilities
from hostscope.platforms.windows.native import iphlpapi, membership, wscapi
from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.privileges import Privileges
from tests.unit.platforms.windows.scripted import script
from tests.unit.platforms.windows.scripted_security import DISABLED, CodeIntegrity, Kernel


class Host:
    """Who we are on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.kernel = Kernel(monkeypatch)
        self.administrator = 0
        self.groups: set[str] = set()
        self.raw: OSError | None = SystemRefused("socket", abilities.WSAEACCES)
        self.trail = AuditTrail(folder / "audit.jsonl")
        CodeIntegrity(monkeypatch)
        script(monkeypatch, membership.shell32, IsUserAnAdmin=lambda: self.administrator)
        script(monkeypatch, wscapi.wscapi, WscGetSecurityProviderHealth=lambda provider, into: 1)
        script(monkeypatch, iphlpapi.iphlpapi, GetPerTcpConnectionEStats=lambda *_: 0)
        monkeypatch.setattr(abilities, "_is_member", lambda sid: sid in self.groups)
        monkeypatch.setattr(abilities, "_open_raw_socket", self._raw)

    def _raw(self) -> None:
        if self.raw:
            raise self.raw

    def told(self) -> dict[str, Ability]:
        return {ability.name: ability for ability in Privileges(self.trail).abilities()}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_an_ordinary_user(host: Host) -> None:
    told = host.told()
    able = {name for name, ability in told.items() if ability.available}
    assert able == {"every_process", "services", "code_integrity", "audit_trail"}
    for name, ability in told.items():
        assert ability.available or ability.lost, name
    helped = {name for name, ability in told.items() if not ability.available and ability.enable}
    assert set(told) - able - helped == {"protected_processes", "security_center"}  # nothing gives these
    assert told["full_detail"].needs == ("SeDebugPrivilege",)
    assert "Debug programs" in (told["full_detail"].enable or "")


def test_an_elevated_administrator(host: Host) -> None:
    host.administrator, host.raw = 1, None
    host.kernel.token.privileges = {"SeDebugPrivilege": DISABLED}
    told = host.told()
    assert {name for name, one in told.items() if not one.available} == {"protected_processes", "security_center"}
    assert "only a driver" in told["protected_processes"].detail
    assert "no loopback" in told["capture"].detail
    assert all(ability.enable is None for ability in told.values())


def test_an_administrator_without_the_debug_privilege(host: Host) -> None:
    host.administrator = 1
    told = host.told()
    assert not told["full_detail"].available and told["etw"].available


def test_who_may_trace_without_being_an_administrator(host: Host) -> None:
    host.groups.add(abilities.TRACERS)
    told = host.told()
    assert told["etw"].available and not told["tcp_statistics"].available
    host.groups.add(abilities.HYPER_V)
    assert host.told()["container_state"].available


def test_a_host_without_raw_sockets_is_no_question_of_rights(host: Host) -> None:
    host.raw = SystemRefused("socket", 10043)
    told = host.told()["capture"]
    assert told.enable is None and "no raw sockets that hear everything (error 10043)" in told.detail
    found = abilities.raw_sockets(_unsupported)
    assert not found.available and found.detail == "no such thing"


def test_a_host_without_statistics_of_connections(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.administrator = 1
    monkeypatch.setattr(iphlpapi, "iphlpapi", Library("nowhere", iphlpapi.SIGNATURES))
    told = host.told()["tcp_statistics"]
    assert (told.available, told.enable) == (False, None) and told.lost


def _unsupported() -> None:
    raise Unsupported("no such thing")


def test_one_that_is_protected_itself(host: Host) -> None:
    host.kernel.level = 0x31
    assert host.told()["protected_processes"].available


def test_without_a_trail(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    host.trail = AuditTrail(tmp_path / "file" / "x" / "audit.jsonl")
    assert not host.told()["audit_trail"].available


def test_looking_changes_nothing(host: Host, tmp_path: Path) -> None:
    host.told()
    assert list(tmp_path.iterdir()) == [] and host.kernel.opened == 0
