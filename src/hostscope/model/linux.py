"""What is particular to Linux."""

from msgspec import Struct


class Capabilities(Struct, frozen=True, gc=False):
    """The five sets, by name without ``CAP_``, lower case, in kernel order; a bit without a name is ``cap_NN``."""

    inheritable: tuple[str, ...]
    permitted: tuple[str, ...]
    effective: tuple[str, ...]
    bounding: tuple[str, ...]
    ambient: tuple[str, ...]


class Namespaces(Struct, frozen=True, gc=False):
    """Inode of each namespace; None when it could not be read."""

    cgroup: int | None
    ipc: int | None
    mnt: int | None
    net: int | None
    pid: int | None
    time: int | None
    user: int | None
    uts: int | None
    foreign: tuple[str, ...] | None = ()
    """Names of those that differ from the host's (kthreadd's; inside a container PID 1's); None when those could not be
    read."""


class LinuxContext(Struct, frozen=True, gc=False):
    """Linux's own facts about a process."""

    capabilities: Capabilities | None = None
    no_new_privs: bool | None = None
    seccomp: str | None = None
    """``disabled strict filter``."""
    lsm_label: str | None = None
    """SELinux context, AppArmor profile or Smack label (/proc/PID/attr/current); None without such a module."""
    login_uid: int | None = None
    """The audit login user; None when never logged in."""
    audit_session: int | None = None
    namespaces: Namespaces | None = None
    inner_pid: int | None = None
    """The pid in the process's own PID namespace, when that is not ours."""
    cgroup: str | None = None
    """Path in the unified hierarchy, or in the name=systemd hierarchy on v1 hosts."""
    dumpable: str | None = None
    """``user root no``: who may read its memory and what owns its /proc files (prctl(2) PR_SET_DUMPABLE)."""
    tracer_pid: int | None = None
    """Thread that traces it; None when none does."""
    oom_score: int | None = None
    oom_score_adj: int | None = None
