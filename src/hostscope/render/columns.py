"""Every column of a process table, in the order that help shows them."""

from hostscope.model.gap import Reason
from hostscope.model.process import Process
from hostscope.render.column import Column, Value, column_at, covers, value_at
from hostscope.render.macos_columns import MACOS_COLUMNS
from hostscope.render.moment import now_ns
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
    return None if process.started_at_ns is None else max(0, now_ns() - process.started_at_ns)


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


def _architecture(process: Process) -> Value:
    context = process.windows or process.macos
    return context.architecture if context else None


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
    column_at("exe", "EXE", "text", "exe.path", "exe", "path of the executable"),
    Column("exe_flags", "EXE FLAGS", "list", "exe", "exe", "deleted, replaced, memfd", _exe_flags),
    Column("architecture", "ARCHITECTURE", "text", "windows.architecture", "exe",
           "Windows, macOS: x86, x64, arm64, arm64e, x86_64 or i386", _architecture, ("macos.architecture",)),
    Column("cwd", "CWD", "text", "cwd", "cwd", "working directory", lambda p: p.cwd),
    Column("root", "ROOT", "text", "root", "root", "root directory", lambda p: p.root),
    column_at("sha256", "SHA256", "text", "digest.sha256", "digest", "SHA-256 of the running image"),
    column_at("package", "PACKAGE", "text", "digest.package", "digest", "package that owns the executable"),
    column_at("package_match", "INTACT", "bool", "digest.package_match", "digest",
              "whether the package's digest matches"),
    column_at("filecaps", "FILECAPS", "list", "digest.file_capabilities", "digest", "capabilities of the executable"),
    column_at("signature", "SIGNATURE", "text", "signature.status", "signature",
              "valid, invalid, untrusted, adhoc, unsigned"),
    column_at("signer", "SIGNER", "text", "signature.signer", "signature",
              "who signed the executable, or whose package it is"),
    column_at("setuid", "SETUID", "bool", "digest.setuid", "digest", "whether the executable is setuid"),
    # State
    Column("state", "STATE", "text", "state", "state", "running, sleeping, zombie, ...", lambda p: p.state),
    Column("kernel", "KERNEL", "bool", "kernel", "state", "whether it is a thread of the kernel", lambda p: p.kernel),
    Column("threads", "THR", "int", "threads", "threads", "number of threads", lambda p: p.threads),
    Column("tty", "TTY", "text", "session.terminal", "session", "terminal; Windows: the terminal session", _terminal),
    column_at("session", "SID", "int", "session.session", "session", "session id"),
    column_at("pgid", "PGID", "int", "session.group", "session", "process group id"),
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
    column_at("utime", "UTIME", "duration", "cpu.user_ns", "cpu", "processor time in user mode"),
    column_at("stime", "STIME", "duration", "cpu.system_ns", "cpu", "processor time in the kernel"),
    column_at("pcpu", "%CPU", "ratio", "cpu.ratio", "cpu", "share of one core between two samples"),
    column_at("policy", "POLICY", "text", "schedule.policy", "schedule", "scheduling policy"),
    column_at("prio", "PRI", "int", "schedule.priority", "schedule", "scheduling priority"),
    column_at("nice", "NI", "int", "schedule.nice", "schedule", "nice value"),
    column_at("rtprio", "RTPRI", "int", "schedule.realtime_priority", "schedule", "real-time priority"),
    # Memory
    column_at("rss", "RSS", "bytes", "memory.resident_bytes", "memory", "resident memory"),
    column_at("vsz", "VSZ", "bytes", "memory.virtual_bytes", "memory", "virtual memory"),
    column_at("shared", "SHR", "bytes", "memory.shared_bytes", "memory", "resident pages of files and shared memory"),
    column_at("swap", "SWAP", "bytes", "memory.swap_bytes", "memory", "swapped memory"),
    column_at("rss_peak", "PEAK", "bytes", "memory.peak_resident_bytes", "memory", "most resident memory so far"),
    column_at("pss", "PSS", "bytes", "memory.proportional_bytes", "memory_detail", "proportional memory (slow)"),
    column_at("uss", "USS", "bytes", "memory.unique_bytes", "memory_detail", "memory of its own (slow)"),
    # Files, input and output
    Column("fds", "FDS", "int", "open_files", "open_files", "open descriptors", lambda p: p.open_files),
    column_at("io_read", "READ", "bytes", "io.read_bytes", "io", "fetched from storage"),
    column_at("io_write", "WRITTEN", "bytes", "io.written_bytes", "io", "sent towards storage"),
    column_at("minflt", "MINFLT", "int", "activity.minor_faults", "activity", "page faults without storage"),
    column_at("majflt", "MAJFLT", "int", "activity.major_faults", "activity", "page faults that needed storage"),
    column_at("vcsw", "VCSW", "int", "activity.voluntary_switches", "activity",
              "voluntary context switches, main thread"),
    column_at("icsw", "ICSW", "int", "activity.involuntary_switches", "activity", "involuntary context switches"),
    column_at("oom", "OOM", "int", "linux.oom_score", "oom", "OOM score"),
    column_at("oom_adj", "OOMADJ", "int", "linux.oom_score_adj", "oom", "OOM score adjustment"),
    # Security
    Column("powers", "POWERS", "list", "security", "security", "what it may do", value_at("security.granted")),
    Column("confined", "CONFINED BY", "list", "security", "security", "what holds it back",
           value_at("security.confined_by")),
    column_at("caps", "CAPS", "list", "linux.capabilities.effective", "security",
              "effective capabilities, such as sys_admin"),
    column_at("permcaps", "PERMCAPS", "list", "linux.capabilities.permitted", "security", "permitted capabilities"),
    column_at("ambcaps", "AMBCAPS", "list", "linux.capabilities.ambient", "security", "ambient capabilities"),
    column_at("nnp", "NNP", "bool", "linux.no_new_privs", "security", "whether no_new_privs is set"),
    column_at("seccomp", "SECCOMP", "text", "linux.seccomp", "security", "disabled, strict or filter"),
    column_at("lsm", "LABEL", "text", "linux.lsm_label", "lsm", "label of the security module"),
    column_at("loginuid", "LOGINUID", "int", "linux.login_uid", "security", "audit login user"),
    column_at("tracer", "TRACER", "int", "linux.tracer_pid", "security", "thread that traces it"),
    column_at("dumpable", "DUMPABLE", "text", "linux.dumpable", "security", "who may read its memory"),
    # Isolation
    Column("container", "CONTAINER", "text", "container", "cgroup", "name of its container, or the start of its id",
           lambda p: (p.container.name or p.container.id[:12]) if p.container else None),
    column_at("runtime", "RUNTIME", "text", "container.runtime", "cgroup", "what runs the container"),
    column_at("image", "IMAGE", "text", "container.image", "cgroup", "image of the container"),
    column_at("pod", "POD", "text", "container.pod", "cgroup", "pod of the container"),
    column_at("unit", "UNIT", "text", "service.name", "cgroup", "service unit"),
    column_at("slice", "SLICE", "text", "service.slice", "cgroup", "slice of the unit"),
    column_at("cgroup", "CGROUP", "text", "linux.cgroup", "cgroup", "control group"),
    column_at("foreign", "FOREIGN NS", "list", "linux.namespaces.foreign", "namespaces",
              "namespaces that are not the host's"),
    column_at("netns", "NETNS", "int", "linux.namespaces.net", "namespaces", "network namespace"),
    column_at("pidns", "PIDNS", "int", "linux.namespaces.pid", "namespaces", "PID namespace"),
    column_at("mntns", "MNTNS", "int", "linux.namespaces.mnt", "namespaces", "mount namespace"),
    column_at("userns", "USERNS", "int", "linux.namespaces.user", "namespaces", "user namespace"),
    column_at("utsns", "UTSNS", "int", "linux.namespaces.uts", "namespaces", "UTS namespace"),
    column_at("ipcns", "IPCNS", "int", "linux.namespaces.ipc", "namespaces", "IPC namespace"),
    column_at("cgroupns", "CGROUPNS", "int", "linux.namespaces.cgroup", "namespaces", "control group namespace"),
    column_at("timens", "TIMENS", "int", "linux.namespaces.time", "namespaces", "time namespace"),
    column_at("inner_pid", "INNER PID", "int", "linux.inner_pid", "namespaces", "pid in its own PID namespace"),
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
    "arch": "architecture",
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
