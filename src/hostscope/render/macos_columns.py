"""Columns of what is particular to macOS' processes."""

from collections.abc import Callable

from hostscope.model.macos import MacosContext
from hostscope.model.process import Process
from hostscope.render.column import Column, Kind, Value, value_at


def _column(
    name: str,
    title: str,
    kind: Kind,
    path: str,
    field: str,
    doc: str,
    get: Callable[[MacosContext], Value] | None = None,
) -> Column[Process]:
    """One whose value stands in `Process.macos`, at `path` unless `get` makes it from what is there."""
    read = get or value_at(path)
    return Column(
        name, title, kind, f"macos.{path}", field, f"macOS: {doc}", lambda p: read(p.macos) if p.macos else None
    )


def _entitlements(macos: MacosContext) -> Value:
    return None if macos.entitlements is None else tuple(entry.name for entry in macos.entitlements)


MACOS_COLUMNS: tuple[Column[Process], ...] = (
    _column("architecture", "ARCHITECTURE", "text", "architecture", "exe", "arm64, arm64e, x86_64, i386"),
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
