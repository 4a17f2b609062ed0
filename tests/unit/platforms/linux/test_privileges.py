"""Raising and lowering capabilities, on a kernel made up for it; the real one is asked in tests/system."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Denied
from hostscope.model.host import Ability
from hostscope.platforms.linux import abilities, privileges
from hostscope.platforms.linux.abilities import Ourselves, kernel_version, list_abilities, setpriv_line, unit_lines
from hostscope.platforms.linux.capabilities import mask, names
from hostscope.platforms.linux.privileges import Held, Privileges

ALL = (1 << 41) - 1


class Kernel:
    """One thread's capabilities."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.permitted = mask(["bpf", "perfmon", "sys_ptrace"])
        self.effective = 0
        self.refuses = False
        monkeypatch.setattr(privileges, "read_held", lambda: Held(self.effective, self.permitted, ALL))
        monkeypatch.setattr(privileges, "_set_effective", self.set_effective)

    def set_effective(self, wanted: int) -> None:
        if self.refuses or wanted & ~self.permitted:
            raise PermissionError(1, "Operation not permitted")
        self.effective = wanted

    @property
    def raised(self) -> tuple[str, ...]:
        return names(self.effective)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit.jsonl")


def recorded(trail: AuditTrail) -> list[dict[str, Any]]:
    assert trail.verify() is None
    return [json.loads(line) for line in trail.path.read_bytes().splitlines()]


def test_capabilities_are_in_effect_for_the_block_only(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using(("bpf", "perfmon"), "load programs"):
        assert kernel.raised == ("perfmon", "bpf")
    assert kernel.raised == ()
    up, down = recorded(trail)
    assert (up["action"], up["what"], up["why"]) == ("privilege.raise", "bpf perfmon", "load programs")
    assert (up["before"], up["after"], up["outcome"]) == ("", "perfmon bpf", "done")
    assert (down["action"], down["before"], down["after"]) == ("privilege.lower", "perfmon bpf", "")


def test_an_error_lowers_them_too(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(ZeroDivisionError), Privileges(trail).using(("bpf",), "fail"):
        raise ZeroDivisionError
    assert kernel.raised == ()
    assert len(recorded(trail)) == 2


def test_blocks_nest(kernel: Kernel, trail: AuditTrail) -> None:
    held = Privileges(trail)
    with held.using(("bpf",), "outer"):
        with held.using(("bpf", "sys_ptrace"), "inner"):
            assert kernel.raised == ("sys_ptrace", "bpf")
        assert kernel.raised == ("bpf",)
    assert kernel.raised == ()


def test_blocks_overlap(kernel: Kernel, trail: AuditTrail) -> None:
    """Generators that are read in turn leave their blocks in any order."""
    held = Privileges(trail)
    first, second = held.using(("bpf",), "first"), held.using(("bpf", "sys_ptrace"), "second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert kernel.raised == ("sys_ptrace", "bpf")
    second.__exit__(None, None, None)
    assert kernel.raised == ()
    assert [line["outcome"] for line in recorded(trail)] == ["done", "done", "done: still used", "done"]


def test_what_was_in_effect_stays_so_and_is_recorded(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.effective = mask(["bpf"])
    with Privileges(trail).using(("bpf",), "as root"):
        assert kernel.raised == ("bpf",)
    assert kernel.raised == ("bpf",)
    assert recorded(trail)[0]["outcome"] == "done; in effect before"


def test_an_interrupt_while_the_raise_is_recorded_lowers_again(
    kernel: Kernel, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts = [KeyboardInterrupt()]

    def append(self: AuditTrail, action: str, **facts: object) -> None:
        if interrupts:
            raise interrupts.pop()

    monkeypatch.setattr(AuditTrail, "try_append", append)
    with pytest.raises(KeyboardInterrupt), Privileges(trail).using(("bpf",), "load programs"):
        raise AssertionError("the block was entered")
    assert kernel.raised == ()


def test_what_is_not_permitted_is_left_out_and_named(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using(("sys_ptrace", "dac_read_search"), "read"):
        assert kernel.raised == ("sys_ptrace",)
    assert recorded(trail)[0]["outcome"] == "done; not permitted: dac_read_search"


def test_without_anything_permitted_nothing_happens(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted = 0
    with Privileges(trail).using(("sys_ptrace",), "read"):
        assert kernel.raised == ()
    assert not trail.path.exists()


def test_a_refusal_is_recorded_and_raised(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.refuses = True
    with pytest.raises(Denied, match="cannot raise bpf"), Privileges(trail).using(("bpf",), "try"):
        pytest.fail("the block must not run")
    (line,) = recorded(trail)
    assert line["outcome"] == "failed: Operation not permitted"


def test_an_unknown_name_is_an_error(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(KeyError), Privileges(trail).using(("be_nice",), "x"):
        pytest.fail("the block must not run")


def test_looking_goes_on_without_a_trail_and_says_so(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    held = Privileges(AuditTrail(tmp_path / "file" / "audit.jsonl"))
    with held.using(("bpf",), "x"):
        assert kernel.raised == ("bpf",)
    assert kernel.raised == ()
    assert [note.split(":")[0] for note in held.notes] == [
        "not recorded (privilege.raise)",
        "not recorded (privilege.lower)",
    ]


def test_leaving_a_block_in_another_thread_is_told(kernel: Kernel, trail: AuditTrail) -> None:
    held = Privileges(trail)
    block = held.using(("bpf",), "x")
    entering = threading.Thread(target=block.__enter__)
    entering.start()
    entering.join()
    block.__exit__(None, None, None)
    assert "another thread" in recorded(trail)[1]["outcome"]
    assert held.notes


def test_lower_all(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.effective = kernel.permitted
    held = Privileges(trail)
    held.lower_all()
    assert kernel.raised == ()
    assert held.available(("bpf", "sys_admin", "perfmon")) == ("bpf", "perfmon")


def test_lower_all_keeps_what_is_in_use(kernel: Kernel, trail: AuditTrail) -> None:
    held = Privileges(trail)
    with held.using(("bpf",), "x"):
        held.lower_all()
        assert kernel.raised == ("bpf",)
    assert kernel.raised == ()


def test_lower_all_keeps_the_program_loadable(
    kernel: Kernel, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.permitted = kernel.effective = mask(["dac_read_search", "bpf"])
    monkeypatch.setattr(privileges, "_loadable", lambda: {"/private"} if kernel.effective else set())
    held = Privileges(trail)
    held.lower_all()
    assert kernel.raised == ("dac_read_search",)
    assert "private directory" in held.notes[0]


def test_held_names_root(kernel: Kernel, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.effective = mask(["bpf"])
    monkeypatch.setattr(privileges.os, "geteuid", lambda: 0)
    assert Privileges(trail).held() == ("root", "bpf")
    monkeypatch.setattr(privileges.os, "geteuid", lambda: 1000)
    assert Privileges(trail).held() == ("bpf",)


# Abilities ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel on which only privileges can be missing."""
    monkeypatch.setattr(abilities, "_iterator_obstacle", lambda we, kernel: None)
    yield


def ability(name: str, permitted: int, trail: AuditTrail, bounding: int = ALL) -> Ability:
    we = Ourselves(permitted, bounding, 1000, 1000, True)
    (found,) = (found for found in list_abilities(we, trail) if found.name == name)
    return found


def test_missing_capabilities_come_with_their_commands(able: None, trail: AuditTrail) -> None:
    found = ability("iterator", 0, trail)
    assert (found.available, found.detail) == (
        False,
        "every process in one read, by eBPF: not permitted CAP_BPF CAP_PERFMON",
    )
    assert found.enable is not None
    assert found.enable.startswith("sudo setpriv --reuid=1000 --regid=1000 ")
    assert "--inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon hostscope ps\n[Service]\n" in found.enable
    assert "AmbientCapabilities=CAP_BPF CAP_PERFMON" in found.enable


@pytest.mark.parametrize("capabilities", [("bpf", "perfmon"), ("sys_admin",)])
def test_either_set_gives_the_iterator(able: None, trail: AuditTrail, capabilities: tuple[str, ...]) -> None:
    assert ability("iterator", mask(capabilities), trail).available
    assert not ability("iterator", mask(["bpf"]), trail).available


def test_inside_a_container_its_options_are_named(able: None, trail: AuditTrail) -> None:
    found = ability("full_detail", 0, trail, bounding=mask(["sys_ptrace"]))
    assert found.enable is not None
    assert "--cap-add=DAC_READ_SEARCH" in found.enable and "SYS_PTRACE" not in found.enable


@pytest.mark.parametrize("name", ["full_detail", "environment", "digest"])
def test_reading_others_takes_both(trail: AuditTrail, name: str) -> None:
    assert ability(name, mask(["sys_ptrace", "dac_read_search"]), trail).available
    assert not ability(name, mask(["sys_ptrace"]), trail).available


def test_every_ability_has_a_detail_and_a_name_of_its_own(trail: AuditTrail) -> None:
    found = list_abilities(Ourselves(0, 0, 1000, 1000, False), trail)
    assert len({one.name for one in found}) == len(found)
    assert all(one.detail for one in found)


def test_obstacles_of_the_iterator(monkeypatch: pytest.MonkeyPatch) -> None:
    we = Ourselves(ALL, ALL, 0, 0, True)
    assert "5.4 has no" in (abilities._iterator_obstacle(we, (5, 4)) or "")
    monkeypatch.setattr(abilities, "BTF", "/nowhere")
    assert "type information" in (abilities._iterator_obstacle(we, (6, 1)) or "")
    monkeypatch.setattr(abilities, "BTF", "/")
    inside = Ourselves(ALL, ALL, 0, 0, False)
    assert "user namespace" in (abilities._iterator_obstacle(inside, (6, 1)) or "")


def test_an_unwritable_trail_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = ability("audit_trail", 0, AuditTrail(tmp_path / "file" / "audit.jsonl"))
    assert not found.available and found.enable is not None
    assert not (tmp_path / "new").exists()
    assert ability("audit_trail", 0, AuditTrail(tmp_path / "new" / "audit.jsonl")).available
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.18-rc1", (5, 18)), ("unknown", (0, 0)), ("", (0, 0))]
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_lines_are_quoted() -> None:
    line = setpriv_line(("bpf",), 4_000_000, 5, ["echo", "a b"])
    assert line.endswith("--clear-groups --inh-caps=+bpf --ambient-caps=+bpf echo 'a b'")
    assert unit_lines(("bpf",), 7).splitlines() == [
        "[Service]", "User=7", "AmbientCapabilities=CAP_BPF", "CapabilityBoundingSet=CAP_BPF",
    ]  # fmt: skip
