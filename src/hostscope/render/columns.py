"""Every column of a process table, in the order that help shows them."""

from time import time_ns

from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.render.column import Column, Value, covers
from hostscope.render.macos_columns import MACOS_COLUMNS
from hostscope.render.windows_columns import WINDOWS_COLUMNS


def render_command(process: Process) -> str:
    """The command line; ``[name]`` for a process without one, and `` ?`` after it where it could not be read."""
    if not process.gaps:
        return " ".join(process.argv) if process.argv else f"[{process.name}]"
    gap = next((gap for gap in process.gaps if gap.field == "argv"), None)
    if process.argv:
        return " ".join(process.argv) + (" …" if gap and gap.reason is Reason.TRUNCATED else "")
    return f"[{process.name}]" + (" ?" if gap else "")


def _age_ns(process: Process) -> Value:
    return None if process.started_at_ns is None else max(0, time_ns() - process.started_at_ns)


def _cpu_ns(process: Process) -> Value:
    return process.cpu.user_ns + process.cpu.system_ns if process.cpu else None


def _user(process: Process) -> Value:
    user = process.ids.user if process.ids else process.owner
    return user.name or user.id if user else None


def _effective_user(process: Process) -> Value:
    return process.owner.name or process.owner.id if process.owner else None


def _uid(process: Process) -> Value:
    return int(process.ids.user.id) if process.ids else None


def _effective_uid(process: Process) -> Value:
    return int(process.ids.effective_user.id) if process.ids else None


def _gid(process: Process) -> Value:
    return int(process.ids.group.id) if process.ids else None


def _group(process: Process) -> Value:
    return process.ids.group.name or process.ids.group.id if process.ids else None


def _groups(process: Process) -> Value:
    return None if process.groups is None else tuple(group.name or group.id for group in process.groups)


def _terminal(process: Process) -> Value:
    if process.session is None:
        return None
    number = process.session.session if process.windows else None
    return process.session.terminal if number is None else f"session {number}"


def _exe_flags(process: Process) -> Value:
    exe = process.exe
    if exe is None:
        return None
    flags = ("deleted" * exe.deleted, "replaced" * bool(exe.replaced), "memfd" * exe.memfd)
    return tuple(flag for flag in flags if flag)


def _ancestry(process: Process) -> Value:
    if process.ancestry is None:
        return None
    return tuple(f"{ancestor.name}({ancestor.key.pid})" for ancestor in process.ancestry)


def _gaps(process: Process) -> Value:
    return tuple(f"{gap.field}:{gap.reason}" for gap in process.gaps)


COLUMNS: tuple[Column[Process], ...] = (
    # Identity
    Column("pid", "PID", "int", "key.pid", None, "process id", lambda p: p.key.pid),
    Column("ppid", "PPID", "int", "ppid", None, "parent's process id; 0 for none", lambda p: p.ppid),
    Column("key", "KEY", "text", "key", None, "identity: pid@start", lambda p: str(p.key)),
    Column("name", "NAME", "text", "name", None, "the kernel's short name", lambda p: p.name),
    Column("started", "STARTED", "instant", "started_at_ns", None, "start time, UTC", lambda p: p.started_at_ns),
    Column("age", "AGE", "duration", "started_at_ns", None, "time since the start", _age_ns),
    Column("ancestry", "ANCESTRY", "list", "ancestry", "ancestry", "parents, nearest first", _ancestry),
    # Program
    Column("command", "COMMAND", "text", "argv", "argv", "command line, or [name] without one", render_command),
    Column("argv", "ARGV", "text", "argv", "argv", "command line", lambda p: " ".join(p.argv) if p.argv else None),
    Column("argc", "ARGC", "int", "argv", "argv", "number of arguments", lambda p: len(p.argv) if p.argv else None),
    Column("exe", "EXE", "text", "exe", "exe", "path of the executable", lambda p: p.exe.path if p.exe else None),
    Column("exe_flags", "EXE FLAGS", "list", "exe", "exe", "deleted, replaced, memfd", _exe_flags),
    Column("cwd", "CWD", "text", "cwd", "cwd", "working directory", lambda p: p.cwd),
    Column("root", "ROOT", "text", "root", "root", "root directory", lambda p: p.root),
    Column("sha256", "SHA256", "text", "digest.sha256", "digest", "SHA-256 of the running image",
           lambda p: p.digest.sha256 if p.digest else None),
    Column("package", "PACKAGE", "text", "digest.package", "digest", "package that owns the executable",
           lambda p: p.digest.package if p.digest else None),
    Column("package_match", "INTACT", "bool", "digest.package_match", "digest", "whether the package's digest matches",
           lambda p: p.digest.package_match if p.digest else None),
    Column("filecaps", "FILECAPS", "list", "digest.file_capabilities", "digest", "capabilities of the executable",
           lambda p: p.digest.file_capabilities if p.digest else None),
    Column("signature", "SIGNATURE", "text", "signature", "signature", "valid, invalid, untrusted, adhoc, unsigned",
           lambda p: p.signature.status if p.signature else None),
    Column("signer", "SIGNER", "text", "signature", "signature", "who signed the executable, or whose package it is",
           lambda p: p.signature.signer if p.signature else None),
    Column("setuid", "SETUID", "bool", "digest.setuid", "digest", "whether the executable is setuid",
           lambda p: p.digest.setuid if p.digest else None),
    # State
    Column("state", "STATE", "text", "state", "state", "running, sleeping, zombie, ...", lambda p: p.state),
    Column("kernel", "KERNEL", "bool", "kernel", "state", "whether it is a thread of the kernel", lambda p: p.kernel),
    Column("threads", "THR", "int", "threads", "threads", "number of threads", lambda p: p.threads),
    Column("tty", "TTY", "text", "session.terminal", "session", "terminal; Windows: the terminal session", _terminal),
    Column("session", "SID", "int", "session.session", "session", "session id",
           lambda p: p.session.session if p.session else None),
    Column("pgid", "PGID", "int", "session.group", "session", "process group id",
           lambda p: p.session.group if p.session else None),
    # Users
    Column("user", "USER", "text", "ids.user", "owner", "real user", _user),
    Column("euser", "EUSER", "text", "owner", "owner", "effective user", _effective_user),
    Column("uid", "UID", "int", "ids.user", "owner", "real user id", _uid),
    Column("euid", "EUID", "int", "ids.effective_user", "owner", "effective user id", _effective_uid),
    Column("group", "GROUP", "text", "ids.group", "owner", "real group", _group),
    Column("gid", "GID", "int", "ids.group", "owner", "real group id", _gid),
    Column("groups", "GROUPS", "list", "groups", "groups", "supplementary groups", _groups),
    # Processor
    Column("cpu", "CPU", "duration", "cpu", "cpu", "processor time", _cpu_ns),
    Column("utime", "UTIME", "duration", "cpu.user_ns", "cpu", "processor time in user mode",
           lambda p: p.cpu.user_ns if p.cpu else None),
    Column("stime", "STIME", "duration", "cpu.system_ns", "cpu", "processor time in the kernel",
           lambda p: p.cpu.system_ns if p.cpu else None),
    Column("pcpu", "%CPU", "ratio", "cpu.ratio", "cpu", "share of one core between two samples",
           lambda p: p.cpu.ratio if p.cpu else None),
    Column("policy", "POLICY", "text", "schedule.policy", "schedule", "scheduling policy",
           lambda p: p.schedule.policy if p.schedule else None),
    Column("prio", "PRI", "int", "schedule.priority", "schedule", "scheduling priority",
           lambda p: p.schedule.priority if p.schedule else None),
    Column("nice", "NI", "int", "schedule.nice", "schedule", "nice value",
           lambda p: p.schedule.nice if p.schedule else None),
    Column("rtprio", "RTPRI", "int", "schedule.realtime_priority", "schedule", "real-time priority",
           lambda p: p.schedule.realtime_priority if p.schedule else None),
    # Memory
    Column("rss", "RSS", "bytes", "memory.resident_bytes", "memory", "resident memory",
           lambda p: p.memory.resident_bytes if p.memory else None),
    Column("vsz", "VSZ", "bytes", "memory.virtual_bytes", "memory", "virtual memory",
           lambda p: p.memory.virtual_bytes if p.memory else None),
    Column("shared", "SHR", "bytes", "memory.shared_bytes", "memory", "resident pages of files and shared memory",
           lambda p: p.memory.shared_bytes if p.memory else None),
    Column("swap", "SWAP", "bytes", "memory.swap_bytes", "memory", "swapped memory",
           lambda p: p.memory.swap_bytes if p.memory else None),
    Column("rss_peak", "PEAK", "bytes", "memory.peak_resident_bytes", "memory", "most resident memory so far",
           lambda p: p.memory.peak_resident_bytes if p.memory else None),
    Column("pss", "PSS", "bytes", "memory.proportional_bytes", "memory_detail", "proportional memory (slow)",
           lambda p: p.memory.proportional_bytes if p.memory else None),
    Column("uss", "USS", "bytes", "memory.unique_bytes", "memory_detail", "memory of its own (slow)",
           lambda p: p.memory.unique_bytes if p.memory else None),
    # Files, input and output
    Column("fds", "FDS", "int", "open_files", "open_files", "open descriptors", lambda p: p.open_files),
    Column("io_read", "READ", "bytes", "io.read_bytes", "io", "fetched from storage",
           lambda p: p.io.read_bytes if p.io else None),
    Column("io_write", "WRITTEN", "bytes", "io.written_bytes", "io", "sent towards storage",
           lambda p: p.io.written_bytes if p.io else None),
    Column("minflt", "MINFLT", "int", "activity.minor_faults", "activity", "page faults without storage",
           lambda p: p.activity.minor_faults if p.activity else None),
    Column("majflt", "MAJFLT", "int", "activity.major_faults", "activity", "page faults that needed storage",
           lambda p: p.activity.major_faults if p.activity else None),
    Column("vcsw", "VCSW", "int", "activity.voluntary_switches", "activity", "voluntary context switches, main thread",
           lambda p: p.activity.voluntary_switches if p.activity else None),
    Column("icsw", "ICSW", "int", "activity.involuntary_switches", "activity", "involuntary context switches",
           lambda p: p.activity.involuntary_switches if p.activity else None),
    Column("oom", "OOM", "int", "linux.oom_score", "oom", "OOM score",
           lambda p: p.linux.oom_score if p.linux else None),
    Column("oom_adj", "OOMADJ", "int", "linux.oom_score_adj", "oom", "OOM score adjustment",
           lambda p: p.linux.oom_score_adj if p.linux else None),
    # Security
    Column("powers", "POWERS", "list", "security", "security", "what it may do",
           lambda p: p.security.granted if p.security else None),
    Column("confined", "CONFINED BY", "list", "security", "security", "what holds it back",
           lambda p: p.security.confined_by if p.security else None),
    Column("caps", "CAPS", "list", "linux.capabilities", "security", "effective capabilities",
           lambda p: p.linux.capabilities.effective if p.linux and p.linux.capabilities else None),
    Column("permcaps", "PERMCAPS", "list", "linux.capabilities", "security", "permitted capabilities",
           lambda p: p.linux.capabilities.permitted if p.linux and p.linux.capabilities else None),
    Column("ambcaps", "AMBCAPS", "list", "linux.capabilities", "security", "ambient capabilities",
           lambda p: p.linux.capabilities.ambient if p.linux and p.linux.capabilities else None),
    Column("nnp", "NNP", "bool", "linux.no_new_privs", "security", "whether no_new_privs is set",
           lambda p: p.linux.no_new_privs if p.linux else None),
    Column("seccomp", "SECCOMP", "text", "linux.seccomp", "security", "disabled, strict or filter",
           lambda p: p.linux.seccomp if p.linux else None),
    Column("lsm", "LABEL", "text", "linux.lsm_label", "lsm", "label of the security module",
           lambda p: p.linux.lsm_label if p.linux else None),
    Column("loginuid", "LOGINUID", "int", "linux.login_uid", "security", "audit login user",
           lambda p: p.linux.login_uid if p.linux else None),
    Column("tracer", "TRACER", "int", "linux.tracer_pid", "security", "thread that traces it",
           lambda p: p.linux.tracer_pid if p.linux else None),
    Column("dumpable", "DUMPABLE", "text", "linux.dumpable", "security", "who may read its memory",
           lambda p: p.linux.dumpable if p.linux else None),
    # Isolation
    Column("container", "CONTAINER", "text", "container", "cgroup", "name of its container, or the start of its id",
           lambda p: (p.container.name or p.container.id[:12]) if p.container else None),
    Column("runtime", "RUNTIME", "text", "container.runtime", "cgroup", "what runs the container",
           lambda p: p.container.runtime if p.container else None),
    Column("image", "IMAGE", "text", "container.image", "cgroup", "image of the container",
           lambda p: p.container.image if p.container else None),
    Column("pod", "POD", "text", "container.pod", "cgroup", "pod of the container",
           lambda p: p.container.pod if p.container else None),
    Column("unit", "UNIT", "text", "service", "cgroup", "service unit",
           lambda p: p.service.name if p.service else None),
    Column("slice", "SLICE", "text", "service.slice", "cgroup", "slice of the unit",
           lambda p: p.service.slice if p.service else None),
    Column("cgroup", "CGROUP", "text", "linux.cgroup", "cgroup", "control group",
           lambda p: p.linux.cgroup if p.linux else None),
    Column("foreign", "FOREIGN NS", "list", "linux.namespaces", "namespaces", "namespaces that are not the host's",
           lambda p: p.linux.namespaces.foreign if p.linux and p.linux.namespaces else None),
    Column("netns", "NETNS", "int", "linux.namespaces", "namespaces", "network namespace",
           lambda p: p.linux.namespaces.net if p.linux and p.linux.namespaces else None),
    Column("pidns", "PIDNS", "int", "linux.namespaces", "namespaces", "PID namespace",
           lambda p: p.linux.namespaces.pid if p.linux and p.linux.namespaces else None),
    Column("mntns", "MNTNS", "int", "linux.namespaces", "namespaces", "mount namespace",
           lambda p: p.linux.namespaces.mnt if p.linux and p.linux.namespaces else None),
    Column("userns", "USERNS", "int", "linux.namespaces", "namespaces", "user namespace",
           lambda p: p.linux.namespaces.user if p.linux and p.linux.namespaces else None),
    Column("utsns", "UTSNS", "int", "linux.namespaces", "namespaces", "UTS namespace",
           lambda p: p.linux.namespaces.uts if p.linux and p.linux.namespaces else None),
    Column("ipcns", "IPCNS", "int", "linux.namespaces", "namespaces", "IPC namespace",
           lambda p: p.linux.namespaces.ipc if p.linux and p.linux.namespaces else None),
    Column("cgroupns", "CGROUPNS", "int", "linux.namespaces", "namespaces", "control group namespace",
           lambda p: p.linux.namespaces.cgroup if p.linux and p.linux.namespaces else None),
    Column("timens", "TIMENS", "int", "linux.namespaces", "namespaces", "time namespace",
           lambda p: p.linux.namespaces.time if p.linux and p.linux.namespaces else None),
    Column("inner_pid", "INNER PID", "int", "linux.inner_pid", "namespaces", "pid in its own PID namespace",
           lambda p: p.linux.inner_pid if p.linux else None),
    *WINDOWS_COLUMNS,
    *MACOS_COLUMNS,
    # What is missing
    Column("gaps", "GAPS", "list", "gaps", None, "fields that could not be read, and why", _gaps),
)  # fmt: skip

DEFAULT_COLUMNS = ("pid", "ppid", "user", "state", "threads", "cpu", "rss", "age", "tty", "command")

ALIASES: dict[str, str] = {
    "cpu%": "pcpu",
    "%cpu": "pcpu",
    "ni": "nice",
    "pri": "prio",
    "comm": "name",
    "cmd": "command",
    "args": "argv",
    "name": "process",
    "process": "name",
    "net_ns": "netns",
    "laddr": "local_address",
    "lport": "local_port",
    "raddr": "remote_address",
    "rport": "remote_port",
}
"""What people type who know `ps`, psutil, or another of our tables; a table's own names come before them."""

_GROUPS: dict[str, str] = {
    "signature": "signature",
    "linux.capabilities": "security", "linux.no_new_privs": "security", "linux.seccomp": "security",
    "linux.lsm_label": "lsm", "linux.login_uid": "security", "linux.audit_session": "security",
    "linux.namespaces": "namespaces", "linux.inner_pid": "namespaces", "linux.cgroup": "cgroup",
    "linux.dumpable": "security", "linux.tracer_pid": "security", "linux.oom_score": "oom",
    "linux.oom_score_adj": "oom", "memory.proportional_bytes": "memory_detail", "memory.unique_bytes": "memory_detail",
    "state": "state", "kernel": "state", "exe": "exe", "argv": "argv", "cwd": "cwd", "root": "root", "owner": "owner",
    "ids": "owner", "groups": "groups", "session": "session", "threads": "threads", "schedule": "schedule",
    "cpu": "cpu", "memory": "memory", "io": "io", "open_files": "open_files", "activity": "activity",
    "security": "security", "container": "cgroup", "service": "cgroup", "digest": "digest", "ancestry": "ancestry",
    "windows.architecture": "exe", "windows.wow64": "exe", "windows.native_path": "exe", "windows.package": "exe",
    "windows.virtual": "state", "windows.suspended": "state", "windows.priority": "schedule",
    "windows.memory": "memory", "windows.handles": "open_files", "windows.gdi_objects": "open_files",
    "windows.user_objects": "open_files", "windows.job": "cgroup", "windows.services": "cgroup",
    "windows.service_group": "cgroup", "windows": "security",
    "macos.architecture": "exe", "macos.translated": "exe", "macos.bundle": "exe", "macos.guest": "exe",
    "macos.footprint_bytes": "memory", "macos.energy_nj": "activity", "macos.coalition": "cgroup",
    "macos.launchd_job": "cgroup", "macos.launchd_job_method": "cgroup", "macos": "security",
}  # fmt: skip


def group_of(path: str) -> str | None:
    """The field group that fills a dotted field of `Process`; None for those that are always there."""
    return next((group for field, group in _GROUPS.items() if covers(field, path)), None)
