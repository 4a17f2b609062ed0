"""Capability names and the powers that follow."""

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hostscope.model.security import POWERS, HostSecurity, Power
from hostscope.platforms.linux.capabilities import CAPABILITY_NAMES, Facts, derive_powers, mask, names

EVERYTHING = (1 << 41) - 1
HOST = HostSecurity(yama=1, lockdown="none", module_loading=True, unprivileged_port_start=1024, lsms=("apparmor",))
PLAIN = Facts(
    effective=0,
    permitted=0,
    bounding=EVERYTHING,
    uid=1000,
    euid=1000,
    suid=1000,
    host_user_ns=True,
    host_net_ns=True,
    no_new_privs=False,
    seccomp="disabled",
    lsm_label=None,
    container=False,
    host=HOST,
)


def facts(*effective: str, host: dict[str, Any] | None = None, **changes: Any) -> Facts:
    held = mask(effective)
    changes.setdefault("permitted", held)
    return replace(PLAIN, effective=held, host=replace(HOST, **(host or {})), **changes)


def power(name: str, given: Facts) -> Power:
    (found,) = (power for power in derive_powers(given).powers if power.name == name)
    return found


def test_names_are_the_kernels_in_order() -> None:
    assert len(CAPABILITY_NAMES) == 41
    assert (CAPABILITY_NAMES[0], CAPABILITY_NAMES[21], CAPABILITY_NAMES[40]) == (
        "chown",
        "sys_admin",
        "checkpoint_restore",
    )


def test_names_agree_with_libcap() -> None:
    try:
        libcap = ctypes.CDLL("libcap.so.2")
    except OSError:
        pytest.skip("libcap is not installed")
    libcap.cap_to_name.argtypes, libcap.cap_to_name.restype = [ctypes.c_int], ctypes.c_char_p
    assert [libcap.cap_to_name(bit).decode() for bit in range(41)] == [f"cap_{name}" for name in CAPABILITY_NAMES]


@given(st.integers(0, 2**64 - 1))
def test_masks_and_names_are_one_to_one(bits: int) -> None:
    assert mask(names(bits)) == bits


def test_unknown_bits_have_a_number() -> None:
    assert names(1 << 45 | 1) == ("chown", "cap_45")


@pytest.mark.parametrize("wrong", ["nothing", "cap_1", "cap_64", "45", "cap_chown"])
def test_wrong_names_are_refused(wrong: str) -> None:
    with pytest.raises(KeyError):
        mask([wrong])


def test_every_power_is_answered_with_a_reason() -> None:
    for given_facts in (PLAIN, facts("sys_admin"), facts(seccomp="strict"), facts(host_user_ns=None, uid=0)):
        powers = derive_powers(given_facts).powers
        assert tuple(power.name for power in powers) == tuple(POWERS)
        assert all(power.because for power in powers)


def test_an_ordinary_user_has_none() -> None:
    assert derive_powers(PLAIN).granted == ()
    assert all(power.granted is False for power in derive_powers(PLAIN).powers)


def test_root_has_all() -> None:
    root = replace(PLAIN, effective=EVERYTHING, permitted=EVERYTHING, uid=0, euid=0, suid=0)
    assert derive_powers(root).granted == tuple(POWERS)


@pytest.mark.parametrize(
    ("capabilities", "granted"),
    [
        (("setuid",), {"become_root"}),
        (("sys_module",), {"load_kernel_code"}),
        (("bpf",), set()),
        (("bpf", "perfmon"), {"load_bpf"}),
        (("sys_admin",), {"load_bpf", "administer_system"}),
        (("sys_ptrace",), {"inject_code", "read_other_memory"}),
        (("dac_override",), {"bypass_file_permissions"}),
        (("dac_read_search",), set()),
        (("net_raw",), {"raw_network"}),
        (("net_admin",), {"administer_network"}),
        (("net_bind_service",), {"bind_low_ports"}),
        (("kill",), {"kill_any"}),
        (("sys_time",), {"change_time"}),
        (("sys_boot",), {"reboot"}),
        (("audit_control",), {"hide_from_audit"}),
    ],
)
def test_what_one_capability_gives(capabilities: tuple[str, ...], granted: set[str]) -> None:
    assert set(derive_powers(facts(*capabilities)).granted) == granted


def test_a_permitted_capability_counts_and_says_so() -> None:
    found = power("raw_network", facts(permitted=mask(["net_raw"])))
    assert found.granted is True
    assert found.because == ("cap_net_raw permitted, not effective: the process can raise it",)


def test_capabilities_in_a_user_namespace_do_not_count() -> None:
    inside = replace(PLAIN, effective=EVERYTHING, permitted=EVERYTHING, host_user_ns=False)
    assert derive_powers(inside).granted == ()
    assert "user namespace is not the host's" in power("raw_network", inside).because[1]
    assert "user namespace" in derive_powers(inside).confined_by


def test_an_unknown_user_namespace_leaves_it_open() -> None:
    found = power("raw_network", facts("net_raw", host_user_ns=None))
    assert (found.granted, found.because) == (None, ("cap_net_raw effective", "user namespace unknown"))


def test_uid_0_without_capabilities_may_get_them_back() -> None:
    bare = facts(uid=0, euid=0, suid=0)
    assert power("become_root", bare) == Power("become_root", True, ("uid 0 already",))
    assert power("raw_network", bare).granted is None
    assert power("raw_network", replace(bare, no_new_privs=True)).granted is False
    assert power("raw_network", replace(bare, bounding=0)).granted is False
    assert power("raw_network", replace(bare, host_user_ns=False)).granted is False


def test_a_saved_uid_0_may_be_returned_to() -> None:
    assert power("become_root", facts(suid=0)).because == ("may return to uid 0",)


def test_setuid_programs_are_mentioned_but_not_claimed() -> None:
    found = power("become_root", PLAIN)
    assert found.granted is False and "setuid programs" in found.because[-1]
    assert "setuid programs" not in power("become_root", facts(no_new_privs=True)).because[-1]


def test_yama_3_forbids_attaching_to_everybody() -> None:
    for name in ("inject_code", "read_other_memory"):
        assert power(name, facts("sys_ptrace", host={"yama": 2})).granted is True
        assert power(name, facts("sys_ptrace", host={"yama": 3})).granted is False


def test_lockdown_and_modules() -> None:
    locked = power("load_kernel_code", facts("sys_module", host={"lockdown": "integrity"}))
    assert locked.granted is True and "signed modules only" in locked.because[-1]
    assert power("load_kernel_code", facts("sys_module", host={"module_loading": False})).granted is False
    secret = power("load_bpf", facts("sys_admin", host={"lockdown": "confidentiality"}))
    assert secret.granted is True and "lockdown" in secret.because[-1]


def test_low_ports_follow_the_sysctl_of_the_network_namespace() -> None:
    assert power("bind_low_ports", facts(host={"unprivileged_port_start": 80})).granted is True
    assert power("bind_low_ports", facts(host={"unprivileged_port_start": None})).granted is None
    assert power("bind_low_ports", facts(host_net_ns=False)).granted is None
    assert power("bind_low_ports", facts("net_bind_service", host_net_ns=False)).granted is True


def test_seccomp_strict_forbids_everything() -> None:
    strict = replace(PLAIN, effective=EVERYTHING, permitted=EVERYTHING, seccomp="strict")
    assert derive_powers(strict).granted == ()
    assert derive_powers(strict).confined_by == ("seccomp",)


@pytest.mark.parametrize(
    ("label", "lsms", "confined"),
    [
        (None, None, None),
        ("unconfined", ("apparmor",), None),
        ("docker-default (enforce)", ("capability", "apparmor"), "apparmor:docker-default (enforce)"),
        ("docker-default (enforce)", None, "apparmor:docker-default (enforce)"),
        ("chrome (unconfined)", ("apparmor",), None),
        ("man (complain)", ("apparmor",), None),
        ("system_u:system_r:sshd_t:s0", ("selinux",), "selinux:system_u:system_r:sshd_t:s0"),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", ("selinux",), None),
        ("a:b:c", None, "selinux:a:b:c"),
        ("odd", ("selinux",), "selinux:odd"),
        ("_", ("smack",), None),
        ("Web", ("smack",), "smack:Web"),
        ("Web", None, "lsm:Web"),
    ],
)
def test_confining_modules(label: str | None, lsms: tuple[str, ...] | None, confined: str | None) -> None:
    answer = derive_powers(facts(lsm_label=label, host={"lsms": lsms}))
    assert answer.confined_by == ((confined,) if confined else ())


def test_confinement_is_listed() -> None:
    answer = derive_powers(facts(seccomp="filter", no_new_privs=True, container=True))
    assert answer.confined_by == ("seccomp", "no_new_privs", "container")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from([0, 1000]))
def test_more_capabilities_never_take_a_power_away(effective: int, permitted: int, more: int, uid: int) -> None:
    few = replace(PLAIN, effective=effective, permitted=permitted, uid=uid)
    many = replace(few, effective=effective | more, permitted=permitted | more)
    assert set(derive_powers(few).granted) <= set(derive_powers(many).granted)
