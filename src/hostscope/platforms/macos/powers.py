"""What a process may do to the host, from its ids, its sandbox and System Integrity Protection. Pure: facts in.

Root decides on macOS, there are no capabilities; what a sandbox profile lets root do is not known from outside, so a
sandboxed root's powers stay open (None). System Integrity Protection takes some things from root; the facts say so.
Source: bsd/kern/kern_credential.c, kern_authorization.c and priv_check in xnu; Apple Platform Security.
"""

from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from hostscope.model.security import Security
from hostscope.platforms.verdict import Verdict, judge_powers

TASK_PORTS = frozenset({"com.apple.system-task-ports", "com.apple.system-task-ports.control"})
"""Entitlements of Apple's own that give the task port of any process."""


class Facts(Struct, frozen=True, gc=False):
    """What `derive_powers` goes by. Hashable: processes of a host share a few of them."""

    uid: int
    """Effective."""
    ruid: int
    svuid: int
    sandboxed: bool | None
    """None: not asked, or not answered."""
    sip_allows: tuple[str, ...] | None
    """As `HostSecurity.sip_allows`."""
    hardened: bool | None = None
    library_validation: bool | None = None
    task_ports: bool | None = None
    """Has an entitlement to others' task ports; None when entitlements are not known."""


@lru_cache(maxsize=4096)
def derive_powers(facts: Facts) -> Security:
    """Each power with the facts that decided, and what holds the process back."""
    return judge_powers(_JUDGES, facts, _confined_by(facts))


def _confined_by(facts: Facts) -> tuple[str, ...]:
    found = (
        ("sandbox", facts.sandboxed),
        ("hardened runtime", facts.hardened),
        ("library validation", facts.library_validation),
        ("System Integrity Protection", facts.sip_allows == ()),
    )
    return tuple(word for word, holds in found if holds)


def _root(facts: Facts) -> Verdict:
    if facts.uid != 0:
        return Verdict(False, (f"effective user {facts.uid} is not root",))
    if facts.sandboxed:
        return Verdict(None, ("root", "sandboxed: its profile may refuse"))
    return Verdict(True, ("root",))


def _become_root(facts: Facts) -> Verdict:
    if facts.uid != 0 and 0 in (facts.ruid, facts.svuid):
        return Verdict(None if facts.sandboxed else True, ("real or saved user is root",))
    return _root(facts)


def _shielded(facts: Facts, bit: str, answer: Verdict, shield: str) -> Verdict:
    """Root's answer where System Integrity Protection takes a part away, unless it allows it."""
    if not answer.granted or (facts.sip_allows is not None and bit in facts.sip_allows):
        return answer
    unknown = facts.sip_allows is None
    why = "System Integrity Protection is not known" if unknown else shield
    return Verdict(answer.granted, (*answer.because, why))


def _load_kernel_code(facts: Facts) -> Verdict:
    answer = _root(facts)
    if not answer.granted:
        return answer
    if facts.sip_allows is None:
        return Verdict(None, ("root", "System Integrity Protection is not known"))
    allowed = "untrusted-kexts" in facts.sip_allows
    why = "untrusted extensions are allowed" if allowed else "System Integrity Protection: approved extensions only"
    return Verdict(allowed, ("root", why))


def _load_bpf(facts: Facts) -> Verdict:
    return Verdict(False, ("macOS has no eBPF",))


def _others(facts: Facts) -> Verdict:
    """Task ports of other users' processes."""
    if facts.task_ports:
        return Verdict(True, ("entitled to task ports",))
    shield = "not of programs that System Integrity Protection or the hardened runtime shields"
    return _shielded(facts, "task-for-pid", _root(facts), shield)


def _files(facts: Facts) -> Verdict:
    return _shielded(facts, "unrestricted-filesystem", _root(facts), "not what System Integrity Protection guards")


def _low_ports(facts: Facts) -> Verdict:
    if facts.sandboxed:
        return Verdict(None, ("sandboxed: its profile may refuse",))
    if facts.uid == 0:
        return Verdict(True, ("root",))
    return Verdict(True, ("anybody may since macOS 10.14, on all addresses at once",))


_JUDGES: dict[str, Callable[[Facts], Verdict]] = {
    "become_root": _become_root,
    "load_kernel_code": _load_kernel_code,
    "load_bpf": _load_bpf,
    "inject_code": _others,
    "read_other_memory": _others,
    "bypass_file_permissions": _files,
    "raw_network": _root,
    "administer_network": _root,
    "bind_low_ports": _low_ports,
    "administer_system": _root,
    "kill_any": _root,
    "change_time": _root,
    "reboot": _root,
    "hide_from_audit": _root,
}
