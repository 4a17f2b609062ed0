"""Columns of what is particular to Windows' processes."""

from collections.abc import Callable
from operator import attrgetter

from hostscope.model.process import Process
from hostscope.model.windows import Charges, Job, Token, WindowsContext
from hostscope.render.column import Column, Kind, Value


def _column(
    name: str, title: str, kind: Kind, path: str, field: str, doc: str, get: Callable[[WindowsContext], Value]
) -> Column[Process]:
    """One whose value stands in `Process.windows`."""
    place = f"windows.{path}"
    return Column(name, title, kind, place, field, f"Windows: {doc}", lambda p: get(p.windows) if p.windows else None)


def _of_token(field: str) -> Callable[[WindowsContext], Value]:
    get: Callable[[Token], Value] = attrgetter(field)
    return lambda windows: get(windows.token) if windows.token else None


def _charged(field: str) -> Callable[[WindowsContext], Value]:
    get: Callable[[Charges], Value] = attrgetter(field)
    return lambda windows: get(windows.memory) if windows.memory else None


def _privileges(windows: WindowsContext) -> Value:
    held = windows.token.privileges if windows.token else None
    return None if held is None else tuple(one.name for one in held if one.state == "enabled")


def _mitigations(windows: WindowsContext) -> Value:
    found = windows.mitigations
    return None if found is None else tuple(policy.name for policy in found if policy.flags)


def _job(windows: WindowsContext) -> Value:
    return None if windows.job is None else _job_words(windows.job)


def _job_words(job: Job) -> tuple[str, ...]:
    silo = "server-silo" if job.server_silo else "silo" if job.silo else "job"
    return (silo, *job.limits)


WINDOWS_COLUMNS: tuple[Column[Process], ...] = (
    Column("user_sid", "USER SID", "text", "owner", "owner", "Windows: SID of the user",
           lambda p: p.owner.id if p.owner and p.windows else None),
    _column("integrity", "INTEGRITY", "text", "integrity", "security", "untrusted, low, medium, high, system",
            attrgetter("integrity")),
    _column("protection", "PROTECTION", "text", "protection", "security", "protected process type and signer, or none",
            attrgetter("protection")),
    _column("elevation", "ELEVATION", "text", "token.elevation", "security", "default, full or limited: UAC",
            _of_token("elevation")),
    _column("elevated", "ELEVATED", "bool", "token.elevated", "security", "whether its token is elevated",
            _of_token("elevated")),
    _column("logon", "LOGON", "text", "token.logon_session", "security", "logon session",
            _of_token("logon_session")),
    _column("logon_type", "LOGON TYPE", "text", "token.logon_type", "security", "interactive, service, network, ...",
            _of_token("logon_type")),
    _column("privileges", "PRIVILEGES", "list", "token.privileges", "security", "privileges that are enabled",
            _privileges),
    _column("app_container", "APPCONTAINER", "text", "token.app_container", "security", "SID of its AppContainer",
            _of_token("app_container")),
    _column("critical", "CRITICAL", "bool", "critical", "security", "whether its end stops the system",
            attrgetter("critical")),
    _column("isolated", "ISOLATED", "bool", "secure", "security", "whether it runs in isolated user mode",
            attrgetter("secure")),
    _column("mitigations", "MITIGATIONS", "list", "mitigations", "security", "mitigation policies that are on",
            _mitigations),
    _column("system_process", "SYSTEM", "text", "system_process", "security", "which of the system's own processes",
            attrgetter("system_process")),
    _column("arch", "ARCH", "text", "architecture", "exe", "x86, x64 or arm64", attrgetter("architecture")),
    _column("wow64", "WOW64", "bool", "wow64", "exe", "whether WOW64 runs it", attrgetter("wow64")),
    _column("appx", "APPX", "text", "package", "exe", "full name of its package", attrgetter("package")),
    _column("native_path", "NATIVE PATH", "text", "native_path", "exe", "executable by its device",
            attrgetter("native_path")),
    _column("virtual", "VIRTUAL", "text", "virtual", "state", "which process without a program", attrgetter("virtual")),
    _column("suspended", "SUSPENDED", "bool", "suspended", "state", "whether every thread is suspended",
            attrgetter("suspended")),
    _column("priority_class", "CLASS", "text", "priority", "schedule", "priority class", attrgetter("priority")),
    _column("private", "PRIVATE", "bytes", "memory.private_bytes", "memory", "private committed memory",
            _charged("private_bytes")),
    _column("commit", "COMMIT", "bytes", "memory.commit_bytes", "memory", "charge to memory and page file",
            _charged("commit_bytes")),
    _column("gdi", "GDI", "int", "gdi_objects", "open_files", "GDI objects", attrgetter("gdi_objects")),
    _column("user_objects", "USER OBJ", "int", "user_objects", "open_files", "USER objects",
            attrgetter("user_objects")),
    _column("job", "JOB", "list", "job", "cgroup", "the job it is in, with its limits", _job),
    _column("services", "SERVICES", "list", "services", "cgroup", "services that it hosts", attrgetter("services")),
    _column("service_group", "SERVICE GROUP", "text", "service_group", "cgroup", "of a service host",
            attrgetter("service_group")),
)  # fmt: skip
