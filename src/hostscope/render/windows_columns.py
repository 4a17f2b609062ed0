"""Columns of what is particular to Windows' processes."""

from functools import partial

from hostscope.model.process import Process
from hostscope.model.windows import Job, WindowsContext
from hostscope.render.column import Column, Value, column_of

_column = partial(column_of, "windows", "Windows")


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
    _column("integrity", "INTEGRITY", "text", "integrity", "security", "untrusted, low, medium, high, system"),
    _column("protection", "PROTECTION", "text", "protection", "security", "protected process type and signer, or none"),
    _column("elevation", "ELEVATION", "text", "token.elevation", "security", "default, full or limited: UAC"),
    _column("elevated", "ELEVATED", "bool", "token.elevated", "security", "whether its token is elevated"),
    _column("logon", "LOGON", "text", "token.logon_session", "security", "logon session"),
    _column("logon_type", "LOGON TYPE", "text", "token.logon_type", "security", "interactive, service, network, ..."),
    _column("privileges", "PRIVILEGES", "list", "token.privileges", "security", "privileges that are enabled",
            _privileges),
    _column("app_container", "APPCONTAINER", "text", "token.app_container", "security", "SID of its AppContainer"),
    _column("critical", "CRITICAL", "bool", "critical", "security", "whether its end stops the system"),
    _column("isolated", "ISOLATED", "bool", "secure", "security", "whether it runs in isolated user mode"),
    _column("mitigations", "MITIGATIONS", "list", "mitigations", "security", "mitigation policies that are on",
            _mitigations),
    _column("system_process", "SYSTEM", "text", "system_process", "security", "which of the system's own processes"),
    _column("wow64", "WOW64", "bool", "wow64", "exe", "whether WOW64 runs it"),
    _column("appx", "APPX", "text", "package", "exe", "full name of its package"),
    _column("native_path", "NATIVE PATH", "text", "native_path", "exe", "executable by its device"),
    _column("virtual", "VIRTUAL", "text", "virtual", "state", "which process without a program"),
    _column("suspended", "SUSPENDED", "bool", "suspended", "state", "whether every thread is suspended"),
    _column("priority_class", "CLASS", "text", "priority", "schedule", "priority class"),
    _column("private", "PRIVATE", "bytes", "memory.private_bytes", "memory", "private committed memory"),
    _column("commit", "COMMIT", "bytes", "memory.commit_bytes", "memory", "charge to memory and page file"),
    _column("gdi", "GDI", "int", "gdi_objects", "open_files", "GDI objects"),
    _column("user_objects", "USER OBJ", "int", "user_objects", "open_files", "USER objects"),
    _column("job", "JOB", "list", "job", "cgroup", "the job it is in, with its limits", _job),
    _column("services", "SERVICES", "list", "services", "cgroup", "services that it hosts"),
    _column("service_group", "SERVICE GROUP", "text", "service_group", "cgroup", "of a service host"),
)  # fmt: skip
