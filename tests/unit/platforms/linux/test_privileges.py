"""Raising and lowering capabilities, on a kernel made up for it; the real one is asked in tests/system."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from hostscope.audit import AuditTrail
from hostscope.errors import Denied
from hostscope.platforms.linux import privileges
from hostscope.platforms.linux.capabilities import mask, names
from hostscope.platforms.linux.privileges import Held, Privileges

ALL = (1 << 41) - 1


class Kernel:
    """One thread's capabilities."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.permitted = mask(["bpf", "perfmon", "sys_ptrace"])
        self.effective = 0
        self.refuses = False
        self.others = 0
        monkeypatch.setattr(privileges, "read_held", lambda: Held(self.effective, self.permitted, ALL))
        monkeypatch.setattr(privileges, "_set_effective", self.set_effective)
        monkeypatch.setattr(privileges, "_limit_permitted", self.limit)
        monkeypatch.setattr(privileges, "_threads_beyond", lambda kept: self.others)

    def set_effective(self, wanted: int) -> None:
        if self.refuses or wanted & ~self.permitted:
            raise PermissionError(1, "Operation not permitted")
        self.effective = wanted

    def limit(self, kept: int) -> None:
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        self.permitted &= kept
        self.effective &= kept

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


def test_the_old_capability_is_raised_where_the_new_ones_are_not_permitted(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted = mask(["sys_admin", "net_raw"])
    with Privileges(trail).using(("bpf", "perfmon", "net_raw"), "load programs"):
        assert kernel.raised == ("net_raw", "sys_admin")
    assert kernel.raised == ()


# Live commands --------------------------------------------------------------------------------------------------------


def test_a_live_command_gives_up_what_it_never_needs_and_then_what_it_needs_no_more(
    kernel: Kernel, trail: AuditTrail
) -> None:
    kernel.permitted = ALL
    held = Privileges(trail)
    held.limit_to("watch")
    began = names(kernel.permitted)
    held.settle("ring-buffer")
    assert began == ("dac_read_search", "sys_ptrace", "sys_admin", "perfmon", "bpf")
    assert names(kernel.permitted) == ("dac_read_search", "sys_ptrace")
    first, second = recorded(trail)
    assert {first["action"], second["action"]} == {"privilege.drop"}
    assert (second["what"], second["after"]) == ("sys_admin perfmon bpf", "dac_read_search sys_ptrace")
    assert second["why"] == "watch has opened what it reads from"


def test_what_writes_files_keeps_the_right_to(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted = ALL
    held = Privileges(trail)
    held.limit_to("capture", writes=True)
    held.settle("unnamed")
    assert names(kernel.permitted) == ("dac_override",)


def test_what_is_in_use_stays(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted = ALL
    held = Privileges(trail)
    held.limit_to("watch")
    with held.using(("bpf",), "x"):
        held.settle("ring-buffer")
        assert kernel.raised == ("bpf",)
    assert names(kernel.permitted) == ("dac_read_search", "sys_ptrace", "bpf")


def test_a_library_user_keeps_everything(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted = ALL
    Privileges(trail).settle("ring-buffer")
    assert kernel.permitted == ALL
    assert not trail.path.exists()


def test_only_live_commands_can_be_limited_to(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(KeyError):
        Privileges(trail).limit_to("dump")


def test_what_cannot_be_given_up_is_told(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted, kernel.refuses = ALL, True
    held = Privileges(trail)
    held.limit_to("watch")
    assert recorded(trail)[0]["outcome"] == "failed: Operation not permitted"
    assert held.notes == ("privileges could not be given up: Operation not permitted",)


def test_threads_that_keep_more_are_told(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.permitted, kernel.others = ALL, 2
    held = Privileges(trail)
    held.limit_to("watch")
    assert recorded(trail)[0]["outcome"] == "done, but for 2 threads that had started before"
    assert "2 threads" in held.notes[0]
