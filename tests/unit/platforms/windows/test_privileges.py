"""Enabling and disabling privileges, on a token made up for it; the real one is asked in tests/windows."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from hostscope.audit import AuditTrail
from hostscope.platforms.windows import live, privilege_names
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.privileges import Privileges
from hostscope.respond.preserve import OVERRIDE
from hostscope.session.local import OVERRIDE_FILE_PERMISSIONS
from tests.unit.platforms.windows.scripted_security import DEFAULT, DISABLED, ENABLED, NUMBERS, Kernel

DEBUG, PROFILE = "SeDebugPrivilege", "SeSystemProfilePrivilege"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(monkeypatch)
    made.token.privileges = {"SeChangeNotifyPrivilege": DEFAULT, DEBUG: DISABLED, PROFILE: DISABLED}
    return made


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit.jsonl")


def recorded(trail: AuditTrail) -> list[dict[str, Any]]:
    assert trail.verify() is None
    return [json.loads(line) for line in trail.path.read_bytes().splitlines()]


def enabled(kernel: Kernel) -> list[str]:
    return [name for name, bits in kernel.token.privileges.items() if bits & 2 and name != "SeChangeNotifyPrivilege"]


def test_privileges_are_enabled_for_the_block_only(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using((DEBUG,), "open a process"):
        assert enabled(kernel) == [DEBUG]
    assert enabled(kernel) == [] and kernel.opened == 0
    raised, lowered = recorded(trail)
    assert (raised["action"], raised["what"], raised["why"]) == ("privilege.raise", DEBUG, "open a process")
    assert DEBUG in raised["after"] and DEBUG not in raised["before"]
    assert (lowered["action"], lowered["outcome"]) == ("privilege.lower", "done") and DEBUG not in lowered["after"]


def test_an_error_disables_them_too(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(ZeroDivisionError), Privileges(trail).using((DEBUG,), "fail"):
        raise ZeroDivisionError
    assert enabled(kernel) == []


def test_blocks_nest_and_overlap(kernel: Kernel, trail: AuditTrail) -> None:
    privileges = Privileges(trail)
    outer, inner = privileges.using((DEBUG,), "outer"), privileges.using((DEBUG, PROFILE), "inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert enabled(kernel) == [DEBUG, PROFILE]
    inner.__exit__(None, None, None)
    assert enabled(kernel) == []


def test_threads_share_them(kernel: Kernel, trail: AuditTrail) -> None:
    """The token is the process's: what one thread still uses, another's end does not take away."""
    privileges, entered, leave = Privileges(trail), threading.Event(), threading.Event()

    def use() -> None:
        with privileges.using((DEBUG,), "elsewhere"):
            entered.set()
            assert leave.wait(60)

    other = threading.Thread(target=use)
    other.start()
    assert entered.wait(60)
    with privileges.using((DEBUG,), "here"):
        pass
    assert enabled(kernel) == [DEBUG]
    leave.set()
    other.join()
    assert enabled(kernel) == []


def test_what_was_enabled_stays_so(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.token.privileges[DEBUG] = ENABLED
    with Privileges(trail).using((DEBUG,), "use"):
        pass
    assert enabled(kernel) == [DEBUG]
    assert recorded(trail)[0]["outcome"] == "done; enabled before"


def test_what_is_not_assigned_is_left_out_and_named(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using((DEBUG, "SeTcbPrivilege"), "use"):
        assert enabled(kernel) == [DEBUG]
    assert recorded(trail)[0]["outcome"] == "done; not assigned: SeTcbPrivilege"


def test_without_anything_assigned_nothing_happens(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using(("SeTcbPrivilege",), "use"):
        assert enabled(kernel) == []
    assert not trail.path.exists()


def test_what_only_linux_has_is_left_out(kernel: Kernel, trail: AuditTrail) -> None:
    with Privileges(trail).using((*OVERRIDE_FILE_PERMISSIONS, *OVERRIDE), "write a file"):
        assert enabled(kernel) == []
    assert not trail.path.exists()


def test_a_refusal_is_recorded_and_told_and_looking_goes_on(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.refusals["AdjustTokenPrivileges"] = 5
    privileges, entered = Privileges(trail), False
    with privileges.using((DEBUG,), "use"):
        entered = True
        assert enabled(kernel) == []
    assert entered and len(recorded(trail)) == 1
    assert recorded(trail)[0]["outcome"].startswith("failed: AdjustTokenPrivileges failed with error 5")
    assert f"{DEBUG} could not be enabled: AdjustTokenPrivileges failed with error 5" in privileges.notes
    kernel.refusals.clear()
    with privileges.using((DEBUG,), "use"):
        assert enabled(kernel) == [DEBUG]
    assert enabled(kernel) == []


@pytest.mark.parametrize("call", ["OpenProcessToken", native.TokenPrivileges])
def test_looking_goes_on_where_our_own_token_is_closed(kernel: Kernel, trail: AuditTrail, call: str | int) -> None:
    privileges = Privileges(trail)
    kernel.refusals[call] = 5
    with privileges.using((DEBUG,), "use"):
        assert enabled(kernel) == []
    privileges.limit_to("watch")
    assert "our own privileges could not be read" in privileges.notes[0]
    assert [(one["action"], one["outcome"][:6]) for one in recorded(trail)] == [("privilege.drop", "failed")]


def test_what_cannot_be_disabled_again_is_told(kernel: Kernel, trail: AuditTrail) -> None:
    privileges = Privileges(trail)
    with privileges.using((DEBUG,), "use"):
        kernel.refusals |= {"AdjustTokenPrivileges": 5}
    assert any(note.startswith(f"{DEBUG} could not be disabled") for note in privileges.notes)
    lowered = recorded(trail)[-1]
    assert lowered["outcome"].startswith("failed") and DEBUG in lowered["after"]


def test_an_unknown_name_is_an_error(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(KeyError), Privileges(trail).using(("SeMagicPrivilege",), "use"):
        pass


def test_looking_goes_on_without_a_trail_and_says_so(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    privileges = Privileges(AuditTrail(tmp_path / "file" / "audit.jsonl"))
    with privileges.using((DEBUG,), "use"):
        assert enabled(kernel) == [DEBUG]
    assert all(note.startswith("not recorded (privilege.") for note in privileges.notes) and privileges.notes


def test_lower_all_keeps_what_is_in_use_and_what_opens_directories(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.token.privileges |= {"SeImpersonatePrivilege": DEFAULT}
    privileges = Privileges(trail)
    with privileges.using((DEBUG,), "use"):
        privileges.lower_all()
        assert enabled(kernel) == [DEBUG]
    assert privileges.held() == ("SeChangeNotifyPrivilege",)
    assert privileges.available((DEBUG, "SeTcbPrivilege")) == (DEBUG,)


def test_lower_all_says_what_stood_in_its_way(kernel: Kernel, trail: AuditTrail) -> None:
    kernel.refusals["OpenProcessToken"] = 5
    privileges = Privileges(trail)
    privileges.lower_all()
    assert privileges.notes[0].startswith("privileges could not be lowered")


def test_a_live_command_gives_up_what_it_never_needs_and_then_what_it_needs_no_more(
    kernel: Kernel, trail: AuditTrail
) -> None:
    kernel.token.privileges |= dict.fromkeys(("SeTcbPrivilege", "SeLoadDriverPrivilege"), DISABLED)
    privileges = Privileges(trail)
    privileges.limit_to("watch")
    assert set(kernel.token.privileges) == {"SeChangeNotifyPrivilege", DEBUG, PROFILE}
    privileges.settle("etw")
    assert set(kernel.token.privileges) == {"SeChangeNotifyPrivilege", DEBUG}
    begun, settled = recorded(trail)
    assert (begun["action"], begun["why"]) == ("privilege.drop", "watch begins")
    assert settled["what"] == PROFILE


def test_what_is_in_use_is_not_given_up(kernel: Kernel, trail: AuditTrail) -> None:
    privileges = Privileges(trail)
    with privileges.using((PROFILE,), "use"):
        privileges.limit_to("interfaces")
        assert PROFILE in kernel.token.privileges


def test_a_library_user_keeps_everything(kernel: Kernel, trail: AuditTrail) -> None:
    Privileges(trail).settle("etw")
    assert len(kernel.token.privileges) == 3 and not trail.path.exists()


def test_what_cannot_be_given_up_is_told(kernel: Kernel, trail: AuditTrail) -> None:
    privileges = Privileges(trail)
    kernel.refusals["AdjustTokenPrivileges"] = 5
    privileges.limit_to("interfaces")
    assert privileges.notes and "could not be given up" in privileges.notes[0]


def test_only_live_commands_can_be_limited_to(kernel: Kernel, trail: AuditTrail) -> None:
    with pytest.raises(KeyError):
        Privileges(trail).limit_to("doctor")


def test_tables_name_privileges() -> None:
    assert set(NUMBERS) <= set(privilege_names.NAMES)
    for command in live.LIVE.values():
        assert set(command.most) <= set(privilege_names.NAMES)
