"""Columns of what is particular to macOS' processes."""

from functools import partial

from hostscope.model.macos import MacosContext
from hostscope.model.process import Process
from hostscope.render.column import Column, Value, column_of

_column = partial(column_of, "macos", "macOS")


def _entitlements(macos: MacosContext) -> Value:
    return None if macos.entitlements is None else tuple(entry.name for entry in macos.entitlements)


MACOS_COLUMNS: tuple[Column[Process], ...] = (
    _column("rosetta", "ROSETTA", "bool", "translated", "exe", "whether Rosetta translates it"),
    _column("bundle", "BUNDLE", "text", "bundle.identifier", "exe", "identifier of its bundle"),
    _column("bundle_version", "VERSION", "text", "bundle.version", "exe", "version of its bundle"),
    _column("guest", "GUEST", "text", "guest", "exe", "which virtual machine it runs"),
    _column("signing_id", "SIGNING ID", "text", "signing.identifier", "security", "signing identifier"),
    _column("team", "TEAM", "text", "signing.team_id", "security", "team that signed it"),
    _column("cdhash", "CDHASH", "text", "signing.cdhash", "security", "hash of its code directory"),
    _column("csflags", "CSFLAGS", "list", "signing.flags", "security", "what the kernel says of its signature"),
    _column("entitlements", "ENTITLEMENTS", "list", "entitlements", "security", "names of its entitlements",
            _entitlements),
    _column("sandboxed", "SANDBOXED", "bool", "sandboxed", "security", "whether a sandbox confines it"),
    _column("sip", "SIP", "text", "sip_protected.value", "security", "why System Integrity Protection shields it"),
    _column("debuggable", "DEBUGGABLE", "bool", "debuggable", "security", "whether root could take its task port"),
    _column("daemon", "DAEMON", "text", "system_daemon.value", "security", "which of the system's own it is"),
    _column("responsible", "RESPONSIBLE", "int", "responsible_pid", "security", "pid whose permissions count for it"),
    _column("launchd_job", "LAUNCHD JOB", "text", "launchd_job", "cgroup", "label of the job that it runs for"),
    _column("coalition", "COALITION", "int", "coalition", "cgroup", "resource coalition"),
    _column("footprint", "FOOTPRINT", "bytes", "footprint_bytes", "memory", "memory that it is charged for"),
    _column("energy", "ENERGY NJ", "int", "energy_nj", "activity", "billed energy in nanojoules"),
)  # fmt: skip
