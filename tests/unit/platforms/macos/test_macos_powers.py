"""What facts mean for a Mac's process."""

import pytest

from hostscope.model.security import POWERS
from hostscope.platforms.macos.powers import Facts, derive_powers

ROOT = Facts(0, 0, 0, False, ())


def granted(facts: Facts) -> dict[str, bool | None]:
    security = derive_powers(facts)
    assert [power.name for power in security.powers] == list(POWERS)
    assert all(power.because for power in security.powers)
    return {power.name: power.granted for power in security.powers}


def test_root_under_sip() -> None:
    found = granted(ROOT)
    assert found["become_root"] and found["raw_network"] and found["kill_any"]
    assert found["load_kernel_code"] is False and found["load_bpf"] is False
    assert derive_powers(ROOT).confined_by == ("System Integrity Protection",)


def test_root_without_sip() -> None:
    facts = Facts(0, 0, 0, False, ("untrusted-kexts", "unrestricted-filesystem", "task-for-pid"))
    assert granted(facts)["load_kernel_code"] is True
    assert derive_powers(facts).confined_by == ()
    because = {power.name: power.because for power in derive_powers(facts).powers}
    assert because["bypass_file_permissions"] == ("root",)


def test_an_ordinary_user() -> None:
    found = granted(Facts(501, 501, 501, False, ()))
    assert [name for name, value in found.items() if value] == ["bind_low_ports"]
    assert [name for name, value in found.items() if value is None] == []


@pytest.mark.parametrize("ids", [(501, 0, 501), (501, 501, 0)])
def test_a_user_who_can_become_root_again(ids: tuple[int, int, int]) -> None:
    found = granted(Facts(*ids, False, ()))
    assert found["become_root"] is True and found["kill_any"] is False


def test_a_sandbox_leaves_roots_powers_open() -> None:
    found = granted(Facts(0, 0, 0, True, ()))
    assert found["raw_network"] is None and found["bind_low_ports"] is None and found["become_root"] is None
    assert "sandbox" in derive_powers(Facts(0, 0, 0, True, ())).confined_by


def test_entitlements_to_task_ports() -> None:
    assert granted(Facts(501, 501, 501, None, (), task_ports=True))["inject_code"] is True


def test_what_is_not_known_stays_open() -> None:
    assert granted(Facts(0, 0, 0, None, None))["load_kernel_code"] is None
