"""Linux capabilities: their names, and what they let a process do to the host.

Pure: masks and facts in, names and powers out. Imports on every system.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

from msgspec import Struct

from hostscope.model.security import HostSecurity, Security
from hostscope.platforms.verdict import Verdict, all_of, any_of, judge_powers

CAPABILITY_NAMES: tuple[str, ...] = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
    "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
    "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
    "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
    "checkpoint_restore",
)  # fmt: skip
"""All capabilities in kernel order: the index is the bit. Source: include/uapi/linux/capability.h (Linux 5.9)."""

_BITS = {name: bit for bit, name in enumerate(CAPABILITY_NAMES)}


@lru_cache(maxsize=4096)
def names(mask: int) -> tuple[str, ...]:
    """Names of the bits of a 64-bit mask, in kernel order; a bit that has no name here is ``cap_NN``."""
    return tuple(_name(bit) for bit in range(mask.bit_length()) if mask >> bit & 1)


def _name(bit: int) -> str:
    return CAPABILITY_NAMES[bit] if bit < len(CAPABILITY_NAMES) else f"cap_{bit}"


def mask(names: Iterable[str]) -> int:
    """The mask with the bits of `names`; the reverse of `names`.

    Raises:
        KeyError: a name is no capability's.
    """
    found = 0
    for name in names:
        found |= 1 << _bit(name)
    return found


def _bit(name: str) -> int:
    number = name.removeprefix("cap_")
    if name in _BITS:
        return _BITS[name]
    if name != number and number.isascii() and number.isdigit() and len(CAPABILITY_NAMES) <= int(number) < 64:
        return int(number)
    raise KeyError(name)


class Facts(Struct, frozen=True, gc=False):
    """What `derive_powers` goes by. Hashable, and cheap to make: one is made for every process."""

    effective: int
    """Capability masks, as in /proc/PID/status."""
    permitted: int
    bounding: int
    uid: int
    """Real, effective and saved user, in the numbers of the reader's user namespace."""
    euid: int
    suid: int
    host_user_ns: bool | None
    """Whether its user namespace is the host's (the initial one, inode 4026531837); None when unknown."""
    host_net_ns: bool | None
    """Whether its network namespace is the one that `host.unprivileged_port_start` was read in."""
    no_new_privs: bool | None
    seccomp: str | None
    """``disabled strict filter``."""
    lsm_label: str | None
    container: bool
    host: HostSecurity


@lru_cache(maxsize=4096)
def derive_powers(facts: Facts) -> Security:
    """What a process with these facts may do to the host, each power with the facts that decided.

    A capability counts when it is permitted, for a process may make those effective by itself (capset(2)). It
    does not count against the host when the user namespace is not the host's: there it only rules what that
    namespace owns. Only the direct way is judged; what could be reached by way of another power (loading a module
    that does the rest) is not added up. A seccomp filter or a security module may still say no: their rules cannot
    be read from outside, so they stand in `confined_by` and change no answer, save for seccomp's strict mode.

    Source: capabilities(7), credentials(7), security/commoncap.c, security/yama/yama_lsm.c.
    """
    judges = _STRICT if facts.seccomp == "strict" else _JUDGES
    return judge_powers(judges, facts, _confined_by(facts))


def _capability(facts: Facts, name: str) -> Verdict:
    """Whether one capability counts against the host."""
    held = _held(facts, name)
    if held is None:
        return _regained(facts, name)
    if facts.host_user_ns is None:
        return Verdict(None, (held, "user namespace unknown"))
    if not facts.host_user_ns:
        return Verdict(False, (held, "user namespace is not the host's: rules only what that namespace owns"))
    return Verdict(True, (held,))


def _held(facts: Facts, name: str) -> str | None:
    bit = 1 << _BITS[name]
    if facts.effective & bit:
        return f"cap_{name} effective"
    if facts.permitted & bit:
        return f"cap_{name} permitted, not effective: the process can raise it"
    return None


def _regained(facts: Facts, name: str) -> Verdict:
    """A capability that is not held: execve(2) as uid 0 gives the whole bounding set back.

    Not with no_new_privs, and not with SECBIT_NOROOT, which cannot be read from outside: so it stays open.
    """
    missing = f"cap_{name} not held"
    in_reach = facts.bounding >> _BITS[name] & 1 and 0 in (facts.uid, facts.euid)
    if not in_reach or facts.no_new_privs or facts.host_user_ns is False:
        return Verdict(False, (missing,))
    return Verdict(None, (missing, "uid 0: executing a program brings it back, unless securebits forbid it"))


def _needs(name: str) -> Callable[[Facts], Verdict]:
    return lambda facts: _capability(facts, name)


def _become_root(facts: Facts) -> Verdict:
    setuid = _capability(facts, "setuid")
    if facts.host_user_ns is not False and 0 in (facts.uid, facts.euid, facts.suid):
        known = True if facts.host_user_ns else None
        setuid = any_of(setuid, Verdict(known, ("uid 0 already" if facts.euid == 0 else "may return to uid 0",)))
    if setuid.granted is False and not facts.no_new_privs:
        note = "no_new_privs is off: setuid programs can still raise it"
        return Verdict(False, (*setuid.because, note))
    return setuid


def _other_processes(facts: Facts) -> Verdict:
    """Reading and writing others' memory pass the same check (PTRACE_MODE_ATTACH), which Yama's 3 always refuses."""
    answer = _capability(facts, "sys_ptrace")
    if facts.host.yama is not None and facts.host.yama >= 3:
        return Verdict(False, (*answer.because, "yama ptrace_scope 3: nobody may attach"))
    return answer


def _load_kernel_code(facts: Facts) -> Verdict:
    answer = _capability(facts, "sys_module")
    if facts.host.module_loading is False:
        return Verdict(False, (*answer.because, "module loading is off or not built in"))
    if facts.host.lockdown in ("integrity", "confidentiality") and answer.granted is not False:
        return Verdict(answer.granted, (*answer.because, f"lockdown {facts.host.lockdown}: signed modules only"))
    return answer


def _load_bpf(facts: Facts) -> Verdict:
    both = all_of(_capability(facts, "bpf"), _capability(facts, "perfmon"))
    answer = any_of(both, _capability(facts, "sys_admin"))
    if facts.host.lockdown == "confidentiality" and answer.granted is not False:
        return Verdict(answer.granted, (*answer.because, "lockdown confidentiality: not to read kernel memory"))
    return answer


def _bind_low_ports(facts: Facts) -> Verdict:
    return any_of(_capability(facts, "net_bind_service"), _low_ports_open(facts))


def _low_ports_open(facts: Facts) -> Verdict:
    first = facts.host.unprivileged_port_start
    if not facts.host_net_ns or first is None:
        return Verdict(None, ("ip_unprivileged_port_start of its network namespace unknown",))
    return Verdict(first < 1024, (f"ip_unprivileged_port_start is {first}",))


_JUDGES: dict[str, Callable[[Facts], Verdict]] = {
    "become_root": _become_root,
    "load_kernel_code": _load_kernel_code,
    "load_bpf": _load_bpf,
    "inject_code": _other_processes,
    "read_other_memory": _other_processes,
    "bypass_file_permissions": _needs("dac_override"),
    "raw_network": _needs("net_raw"),
    "administer_network": _needs("net_admin"),
    "bind_low_ports": _bind_low_ports,
    "administer_system": _needs("sys_admin"),
    "kill_any": _needs("kill"),
    "change_time": _needs("sys_time"),
    "reboot": _needs("sys_boot"),
    "hide_from_audit": _needs("audit_control"),
}
_STRICT = dict.fromkeys(_JUDGES, lambda _: Verdict(False, ("seccomp strict: only read, write, exit and sigreturn",)))


def _confined_by(facts: Facts) -> tuple[str, ...]:
    module = _confining_module(facts.lsm_label, facts.host.lsms)
    held_back = {
        "seccomp": facts.seccomp in ("strict", "filter"),
        "no_new_privs": bool(facts.no_new_privs),
        "user namespace": facts.host_user_ns is False,
        module or "": module is not None,
        "container": facts.container,
    }
    return tuple(name for name, holds in held_back.items() if holds)


def _confining_module(label: str | None, lsms: tuple[str, ...] | None) -> str | None:
    """``apparmor:docker-default (enforce)`` and its like; None for a label that does not confine.

    Heuristic for SELinux: a type that ends in ``unconfined_t`` does not confine, every other does.
    """
    if not label or label == "unconfined" or label.endswith((" (unconfined)", " (complain)")):
        return None
    module = _module_of(label, lsms)
    if module == "selinux" and label.split(":")[2:3] and label.split(":")[2].endswith("unconfined_t"):
        return None
    return None if module == "smack" and label == "_" else f"{module}:{label}"


def _module_of(label: str, lsms: tuple[str, ...] | None) -> str:
    for module in ("selinux", "apparmor", "smack"):
        if lsms and module in lsms:
            return module
    if label.endswith((" (enforce)", " (kill)")):
        return "apparmor"
    return "selinux" if label.count(":") >= 2 else "lsm"
