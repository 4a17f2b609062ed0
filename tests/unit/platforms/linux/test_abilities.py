"""What `doctor` says can be done, on kernels and with privileges made up for it; tests/system tries real ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hostscope.audit import AuditTrail
from hostscope.model.host import Ability
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import abilities, iterator, obstacles
from hostscope.platforms.linux.abilities import Ourselves, judge, list_abilities, setpriv_line, unit_text
from hostscope.platforms.linux.ability_table import NEEDS, Need
from hostscope.platforms.linux.capabilities import CAPABILITY_NAMES, mask
from hostscope.platforms.linux.live import LIVE, kernel_version
from hostscope.platforms.live import Live

ALL = (1 << 41) - 1
SAFE = HostSecurity(None, None, ())


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit.jsonl")


@pytest.fixture(autouse=True)
def willing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel on which only privileges can be missing."""
    monkeypatch.setattr(obstacles, "state", lambda: SAFE)
    monkeypatch.setattr(obstacles, "BTF", "/")
    monkeypatch.setattr(obstacles, "find_spec", lambda name: name)
    monkeypatch.setattr(obstacles, "kernel_version", lambda release: (6, 18))
    monkeypatch.setattr(iterator, "obstacle", lambda: None)
    monkeypatch.setattr(obstacles, "_in_first_user_namespace", lambda: True)
    yield


def ability(name: str, permitted: int, trail: AuditTrail, bounding: int = ALL) -> Ability:
    (found,) = (
        found for found in list_abilities(Ourselves(permitted, bounding, 1000, 1000), trail) if found.name == name
    )
    return found


def need(name: str) -> Need:
    return next(one for one in NEEDS if one.name == name)


def test_missing_capabilities_come_with_their_command(trail: AuditTrail) -> None:
    found = ability("iterator", 0, trail)
    assert not found.available
    assert found.detail == "every process in one read, by eBPF: not permitted CAP_BPF CAP_PERFMON"
    assert found.enable is not None
    assert found.enable.startswith("sudo setpriv --reuid=1000 --regid=1000 ")
    assert found.enable.endswith(
        "--inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon --bounding-set=-all,+bpf,+perfmon "
        "hostscope ps --method iterator"
    )
    assert found.lost and found.needs == ("bpf", "perfmon")


@pytest.mark.parametrize("name", [one.name for one in NEEDS])
def test_with_what_it_takes_it_is_available_and_needs_no_way(name: str, trail: AuditTrail) -> None:
    found = ability(name, mask(need(name).privileges), trail)
    assert (found.available, found.enable) == (True, None)


@pytest.mark.parametrize(("name", "left_out"), [(one.name, cap) for one in NEEDS for cap in one.privileges])
def test_each_one_missing_is_named(name: str, left_out: str, trail: AuditTrail) -> None:
    kept = [one for one in need(name).privileges if one != left_out]
    found = ability(name, mask(kept), trail)
    assert not found.available
    assert found.detail.endswith(f"not permitted CAP_{left_out.upper()}")


def test_the_old_capability_stands_in_for_the_new_ones(trail: AuditTrail) -> None:
    assert ability("iterator", mask(["sys_admin"]), trail).detail.endswith("CAP_SYS_ADMIN permitted")
    assert ability("traffic_wire", mask(["sys_admin", "net_raw"]), trail).available
    assert not ability("traffic_wire", mask(["sys_admin"]), trail).available
    assert not ability("capture", mask(["sys_admin"]), trail).available


def test_inside_a_container_its_options_are_named(trail: AuditTrail) -> None:
    found = ability("full_detail", 0, trail, bounding=mask(["sys_ptrace"]))
    assert found.enable is not None
    assert "--cap-add=DAC_READ_SEARCH" in found.enable and "SYS_PTRACE" not in found.enable


def test_every_ability_has_a_detail_and_a_name_of_its_own(trail: AuditTrail) -> None:
    found = list_abilities(Ourselves(0, 0, 1000, 1000), trail)
    assert len({one.name for one in found}) == len(found)
    assert all(one.detail for one in found)
    assert all(one.lost for one in found if not one.available)


def test_what_stands_in_the_way_is_said_instead_of_a_way(monkeypatch: pytest.MonkeyPatch, trail: AuditTrail) -> None:
    monkeypatch.setattr(obstacles, "state", lambda: replace(SAFE, lockdown="confidentiality"))
    found = ability("traffic", 0, trail)
    assert not found.available and found.enable is None
    assert "lockdown=confidentiality" in found.detail
    assert ability("capture", mask(["net_raw"]), trail).available


def test_obstacles(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (obstacles.of_programs, obstacles.of_accounting, obstacles.of_connector, obstacles.of_tracing,
              obstacles.of_page_scan, obstacles.of_rules)  # fmt: skip
    assert [check() for check in checks] == [None] * 6
    monkeypatch.setattr(obstacles, "state", lambda: replace(SAFE, yama=3))
    assert "ptrace_scope=3" in (obstacles.of_tracing() or "")
    monkeypatch.setattr(obstacles, "state", lambda: replace(SAFE, yama=2))
    assert obstacles.of_tracing() is None
    monkeypatch.setattr(obstacles, "find_spec", lambda name: None)
    assert "yara-x is not installed" in (obstacles.of_rules() or "")
    monkeypatch.setattr(obstacles, "_in_first_user_namespace", lambda: False)
    assert "user namespace" in (obstacles.of_programs() or "") and "user namespace" in (obstacles.of_connector() or "")
    monkeypatch.setattr(obstacles, "BTF", "/nowhere")
    assert "type information" in (obstacles.of_programs() or "")
    monkeypatch.setattr(obstacles, "kernel_version", lambda release: (5, 4))
    assert "5.4 has no process iterators (5.8 has)" in (obstacles.of_programs() or "")
    assert "6.3 has" in (obstacles.of_accounting() or "") and "6.7 has" in (obstacles.of_page_scan() or "")


def test_privileges_are_judged_after_obstacles() -> None:
    blocked = replace(need("dump"), obstacles=(lambda: None, lambda: "no such thing"))
    assert judge(Ourselves(ALL, ALL, 0, 0), blocked).detail == "memory of other users' processes: no such thing"


def test_an_unwritable_trail_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = ability("audit_trail", 0, AuditTrail(tmp_path / "file" / "audit.jsonl"))
    assert not found.available and found.enable is not None
    assert ability("audit_trail", 0, AuditTrail(tmp_path / "new" / "audit.jsonl")).available
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.18-rc1", (5, 18)), ("unknown", (0, 0)), ("", (0, 0))]
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_lines_are_quoted() -> None:
    line = setpriv_line(("bpf",), 4_000_000, 5, ["echo", "a b"])
    assert line.endswith("--clear-groups --inh-caps=+bpf --ambient-caps=+bpf --bounding-set=-all,+bpf echo 'a b'")


def test_units_have_these_capabilities_and_no_others() -> None:
    unit = unit_text(need("traffic"), 4_000_000)
    assert unit is not None
    assert "ExecStart=hostscope traffic --method accounting --format ndjson\nUser=4000000\n" in unit
    assert "\nAmbientCapabilities=CAP_BPF CAP_PERFMON\nCapabilityBoundingSet=CAP_BPF CAP_PERFMON\n" in unit
    assert "\nDynamicUser=yes\n" in (unit_text(need("traffic"), 0) or "")
    assert "\nType=oneshot\n" in (unit_text(need("network_namespaces"), 0) or "")


def test_what_takes_a_target_or_no_privilege_is_no_service() -> None:
    assert unit_text(need("dump"), 0) is unit_text(need("traffic_polling"), 0) is None


@pytest.mark.parametrize("command", LIVE)
def test_live_commands_keep_capabilities_that_there_are(command: str) -> None:
    live = LIVE[command]
    assert set(live.most) <= set(CAPABILITY_NAMES)
    assert all(set(kept) <= set(live.most) for kept in live.keeps.values())


def test_a_method_without_a_line_keeps_what_opened_it() -> None:
    live = Live(("bpf", "net_raw"), {"a": ("kill",)})
    assert (live.kept("a"), live.kept("b"), live.kept(None)) == (("kill",), ("bpf", "net_raw"), ("bpf", "net_raw"))
    assert live.most == ("bpf", "net_raw", "kill")


def test_abilities_of_live_commands_know_what_these_keep() -> None:
    assert need("traffic").keeps == LIVE["traffic"].keeps["accounting"]
    assert need("dump").keeps is None
    assert {one.live[0] for one in NEEDS if one.live} == LIVE.keys() - {"services"}
    assert abilities.STREAMS
