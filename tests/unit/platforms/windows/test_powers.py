"""What tokens allow, by made-up facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.security import POWERS
from hostscope.platforms.windows.powers import ADMINISTRATORS, LEVELS, NETWORK_OPERATORS, SYSTEM, Facts, derive_powers
from hostscope.platforms.windows.privilege_names import NAMES

USER = "S-1-5-21-1-2-3-1001"


def facts(**changes: object) -> Facts:
    """An ordinary process, with changes."""
    known: dict[str, object] = {
        "user": USER, "groups": frozenset({"S-1-1-0"}), "denied_groups": frozenset(), "integrity": "medium",
        "privileges": (("SeChangeNotifyPrivilege", "enabled"), ("SeShutdownPrivilege", "disabled")),
        "app_container": False, "restricted": False,
    }  # fmt: skip
    return Facts(**(known | changes))  # type: ignore[arg-type]


def granted(**changes: object) -> dict[str, bool | None]:
    return {power.name: power.granted for power in derive_powers(facts(**changes)).powers}


def because(name: str, **changes: object) -> tuple[str, ...]:
    return next(power.because for power in derive_powers(facts(**changes)).powers if power.name == name)


def test_an_ordinary_process_may_listen_and_shut_down() -> None:
    assert [name for name, held in granted().items() if held] == ["bind_low_ports", "reboot"]
    assert derive_powers(facts()).confined_by == ()


def test_an_elevated_administrator_may_do_everything_but_load_bpf() -> None:
    privileges = tuple(
        (name, "disabled")
        for name in ("SeDebugPrivilege", "SeLoadDriverPrivilege", "SeBackupPrivilege", "SeRestorePrivilege",
                     "SeSystemtimePrivilege", "SeShutdownPrivilege", "SeSecurityPrivilege", "SeImpersonatePrivilege")
    )  # fmt: skip
    held = granted(privileges=privileges, integrity="high", groups=frozenset({ADMINISTRATORS}))
    assert [name for name, able in held.items() if not able] == ["load_bpf"]


def test_strong_privileges_cannot_be_enabled_below_high_integrity() -> None:
    debug = (("SeDebugPrivilege", "disabled"),)
    assert granted(privileges=debug)["inject_code"] is False
    assert because("inject_code", privileges=debug)[-1] == "medium integrity: cannot be enabled below high"
    assert granted(privileges=debug, integrity="high")["inject_code"] is True
    assert granted(privileges=debug, integrity=None)["inject_code"] is None
    assert granted(privileges=(("SeDebugPrivilege", "enabled"),))["inject_code"] is True


def test_a_removed_privilege_is_none() -> None:
    assert granted(privileges=(("SeDebugPrivilege", "removed"),), integrity="high")["inject_code"] is False


@pytest.mark.parametrize(
    "name", ["SeTcbPrivilege", "SeImpersonatePrivilege", "SeAssignPrimaryTokenPrivilege", "SeDebugPrivilege"]
)
def test_becoming_the_system(name: str) -> None:
    assert granted(privileges=((name, "enabled"),), integrity="high")["become_root"] is True
    assert because("become_root", privileges=((name, "enabled"),)) == (f"{name} enabled",)


def test_the_system_is_it_already() -> None:
    assert because("become_root", user=SYSTEM) == ("runs as SYSTEM already",)
    assert granted(user=SYSTEM, groups=None)["administer_system"] is True


def test_the_limited_half_of_an_administrator() -> None:
    limited = {"denied_groups": frozenset({ADMINISTRATORS}), "elevation": "limited"}
    assert granted(**limited)["administer_system"] is False
    assert because("become_root", **limited)[-1] == "the limited half of an administrator's logon: UAC can raise it"
    assert derive_powers(facts(**limited)).confined_by == ("limited token",)


def test_a_restricted_token_leaves_memberships_open_and_privileges_as_they_are() -> None:
    held = granted(restricted=True, groups=frozenset({ADMINISTRATORS}))
    assert held["raw_network"] is None and held["reboot"] is True
    assert derive_powers(facts(restricted=True)).confined_by == ("restricted token",)


def test_an_app_container_listens_with_a_capability_only() -> None:
    assert granted(app_container=True)["bind_low_ports"] is False
    assert granted(app_container=True, capabilities=frozenset({"S-1-15-3-3"}))["bind_low_ports"] is True
    assert granted(app_container=True)["reboot"] is None


def test_network_operators() -> None:
    held = granted(groups=frozenset({NETWORK_OPERATORS}))
    assert held["administer_network"] is True and held["raw_network"] is False


def test_files_in_spite_of_their_permissions_take_both_or_ownership() -> None:
    assert granted(privileges=(("SeBackupPrivilege", "enabled"),))["bypass_file_permissions"] is False
    both = (("SeBackupPrivilege", "enabled"), ("SeRestorePrivilege", "enabled"))
    assert granted(privileges=both)["bypass_file_permissions"] is True
    assert granted(privileges=(("SeTakeOwnershipPrivilege", "enabled"),))["bypass_file_permissions"] is True


def test_what_could_not_be_read_stays_open() -> None:
    held = granted(privileges=None, groups=None, user=None, app_container=None)
    assert {name for name, able in held.items() if able is None} == POWERS.keys() - {"load_bpf"}


def test_what_confines() -> None:
    found = derive_powers(facts(app_container=True, integrity="low", job=True))
    assert found.confined_by == ("appcontainer", "low integrity", "job")


@given(
    st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(["enabled", "disabled", "removed"]))),
    st.sampled_from([None, *LEVELS]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, True, False]),
)
def test_every_power_has_a_reason(
    privileges: list[tuple[str, str]], integrity: str | None, app: bool | None, restricted: bool | None
) -> None:
    found = derive_powers(
        facts(privileges=tuple(privileges), integrity=integrity, app_container=app, restricted=restricted)
    )
    assert [power.name for power in found.powers] == list(POWERS)
    assert all(power.because for power in found.powers)
