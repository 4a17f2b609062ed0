"""What a token lets a process do to the host. Pure: facts in, powers out; imports on every system.

A privilege counts when the token has it, enabled or not, for a process may enable its own (AdjustTokenPrivileges). Not
below high integrity, where Windows refuses to enable the strongest. Accesses of an AppContainer and of a restricted
token are checked a second time, against what hardly any object grants: what membership in a group is worth there
stays open (None). Only the direct way is judged; what follows from another power is not added up.

Source: Windows Internals 7, chapter 7 (privileges, integrity levels, AppContainers); Microsoft's privilege constants.
"""

from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from hostscope.model.security import Security
from hostscope.platforms.verdict import Verdict, all_of, any_of, judge_powers

SYSTEM = "S-1-5-18"
ADMINISTRATORS = "S-1-5-32-544"
NETWORK_OPERATORS = "S-1-5-32-556"
SERVER_CAPABILITIES = frozenset({"S-1-15-3-2", "S-1-15-3-3"})
"""``internetClientServer`` and ``privateNetworkClientServer``: an AppContainer that may listen."""
LEVELS = ("untrusted", "low", "medium", "medium-plus", "high", "system", "protected")
STRONG = frozenset({
    "SeCreateTokenPrivilege", "SeTcbPrivilege", "SeTakeOwnershipPrivilege", "SeLoadDriverPrivilege",
    "SeBackupPrivilege", "SeRestorePrivilege", "SeImpersonatePrivilege", "SeRelabelPrivilege", "SeDebugPrivilege",
    "SeDelegateSessionUserImpersonatePrivilege",
})  # fmt: skip
"""Cannot be enabled below high integrity."""


class Facts(Struct, frozen=True, gc=False):
    """What `derive_powers` goes by. Hashable: processes of a host share a few dozen of them."""

    user: str | None
    """SID."""
    groups: frozenset[str] | None
    """SIDs of the groups that are enabled; None when they could not be read."""
    denied_groups: frozenset[str]
    """Those that can only deny: the limited half of an administrator's logon has its strong groups so."""
    privileges: tuple[tuple[str, str], ...] | None
    """Name and state of each; None when they could not be read."""
    integrity: str | None
    app_container: bool | None
    capabilities: frozenset[str] = frozenset()
    restricted: bool | None = None
    elevation: str | None = None
    job: bool | None = None


@lru_cache(maxsize=4096)
def derive_powers(facts: Facts) -> Security:
    """Each power with the facts that decided, and what holds the process back."""
    return judge_powers(_JUDGES, facts, _confined_by(facts))


def _confined_by(facts: Facts) -> tuple[str, ...]:
    low = facts.integrity in ("untrusted", "low")
    found = (
        ("appcontainer", facts.app_container),
        ("restricted token", facts.restricted),
        (f"{facts.integrity} integrity", low),
        ("limited token", facts.elevation == "limited"),
        ("job", facts.job),
    )
    return tuple(word for word, holds in found if holds)


def _privilege(facts: Facts, name: str) -> Verdict:
    """Whether one privilege counts against the host."""
    if facts.privileges is None:
        return Verdict(None, ("privileges of the token unknown",))
    state = dict(facts.privileges).get(name)
    if state is None or state == "removed":
        return Verdict(False, (f"{name} not held",))
    if facts.app_container:
        return Verdict(None, (f"{name} {state}", _set_apart(facts) or ""))
    return _usable(facts, name, state)


def _usable(facts: Facts, name: str, state: str) -> Verdict:
    if state == "enabled":
        return Verdict(True, (f"{name} enabled",))
    held = f"{name} disabled: the process can enable it"
    if name not in STRONG:
        return Verdict(True, (held,))
    if facts.integrity is None:
        return Verdict(None, (f"{name} disabled", "integrity level unknown"))
    if LEVELS.index(facts.integrity) < LEVELS.index("high"):
        return Verdict(False, (f"{name} disabled", f"{facts.integrity} integrity: cannot be enabled below high"))
    return Verdict(True, (held,))


def _set_apart(facts: Facts) -> str | None:
    """Why accesses are checked a second time."""
    if facts.app_container:
        return "appcontainer: reaches only what names it"
    return "restricted token: reaches only what grants its restricting SIDs too" if facts.restricted else None


def _administrator(facts: Facts) -> Verdict:
    """Whether it counts as a member of Administrators."""
    if facts.user is None and facts.groups is None:
        return Verdict(None, ("user and groups unknown",))
    is_system, groups = facts.user == SYSTEM, facts.groups
    if groups is None and not is_system:
        return Verdict(None, ("groups of the token unknown",))
    who = "runs as SYSTEM" if is_system else "member of Administrators"
    if is_system or ADMINISTRATORS in (groups or ()):
        confined = _set_apart(facts)
        return Verdict(None, (who, confined)) if confined else Verdict(True, (who,))
    if ADMINISTRATORS in facts.denied_groups:
        return Verdict(False, ("Administrators can only deny: the limited half of an administrator's logon",))
    return Verdict(False, ("no member of Administrators",))


def _needs(*names: str) -> Callable[[Facts], Verdict]:
    return lambda facts: any_of(*(_privilege(facts, name) for name in names))


def _become_root(facts: Facts) -> Verdict:
    if facts.user == SYSTEM and not _set_apart(facts):
        return Verdict(True, ("runs as SYSTEM already",))
    answer = _needs(
        "SeTcbPrivilege", "SeCreateTokenPrivilege", "SeAssignPrimaryTokenPrivilege", "SeDebugPrivilege",
        "SeImpersonatePrivilege", "SeDelegateSessionUserImpersonatePrivilege",
    )(facts)  # fmt: skip
    if answer.granted is False and ADMINISTRATORS in facts.denied_groups:
        return Verdict(False, (*answer.because, "the limited half of an administrator's logon: UAC can raise it"))
    return answer


def _other_processes(facts: Facts) -> Verdict:
    answer = _privilege(facts, "SeDebugPrivilege")
    note = "protected processes excepted"
    return Verdict(answer.granted, (*answer.because, note)) if answer.granted else answer


def _files(facts: Facts) -> Verdict:
    both = all_of(_privilege(facts, "SeBackupPrivilege"), _privilege(facts, "SeRestorePrivilege"))
    return any_of(both, _privilege(facts, "SeTakeOwnershipPrivilege"))


def _networks(facts: Facts) -> Verdict:
    operator = facts.groups is not None and NETWORK_OPERATORS in facts.groups and not _set_apart(facts)
    if operator:
        return Verdict(True, ("member of Network Configuration Operators",))
    return _administrator(facts)


def _low_ports(facts: Facts) -> Verdict:
    if facts.app_container is None:
        return Verdict(None, ("whether it is in an AppContainer is unknown",))
    if facts.app_container:
        able = bool(facts.capabilities & SERVER_CAPABILITIES)
        return Verdict(able, ("appcontainer " + ("with" if able else "without") + " a server capability",))
    return Verdict(True, ("Windows reserves no ports for privileged processes",))


def _bpf(facts: Facts) -> Verdict:
    return Verdict(False, ("Windows' kernel has no eBPF of its own",))


_JUDGES: dict[str, Callable[[Facts], Verdict]] = {
    "become_root": _become_root,
    "load_kernel_code": _needs("SeLoadDriverPrivilege"),
    "load_bpf": _bpf,
    "inject_code": _other_processes,
    "read_other_memory": _other_processes,
    "bypass_file_permissions": _files,
    "raw_network": _administrator,
    "administer_network": _networks,
    "bind_low_ports": _low_ports,
    "administer_system": _administrator,
    "kill_any": _other_processes,
    "change_time": _needs("SeSystemtimePrivilege"),
    "reboot": _needs("SeShutdownPrivilege"),
    "hide_from_audit": _needs("SeSecurityPrivilege"),
}
