"""What a request wants of recorded rows: the fields it names and no others, as from a live host."""

from typing import Any

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Process

GROUPS: dict[str, tuple[str, ...]] = {
    "state": ("state", "kernel", "windows.suspended", "windows.virtual"),
    "exe": (
        "exe",
        "windows.architecture",
        "windows.wow64",
        "windows.native_path",
        "windows.package",
        "macos.architecture",
        "macos.translated",
        "macos.bundle",
        "macos.guest",
    ),
    "argv": ("argv",),
    "cwd": ("cwd",),
    "root": ("root",),
    "owner": ("owner", "ids"),
    "groups": ("groups",),
    "session": ("session",),
    "threads": ("threads",),
    "schedule": ("schedule", "windows.priority"),
    "cpu": ("cpu",),
    "memory": ("memory", "windows.memory", "macos.footprint_bytes"),
    "memory_detail": ("memory.proportional_bytes", "memory.unique_bytes"),
    "io": ("io",),
    "open_files": ("open_files", "windows.handles", "windows.gdi_objects", "windows.user_objects"),
    "activity": ("activity", "macos.energy_nj"),
    "security": (
        "security",
        "linux.capabilities",
        "linux.no_new_privs",
        "linux.seccomp",
        "linux.login_uid",
        "linux.audit_session",
        "linux.dumpable",
        "linux.tracer_pid",
        "windows.integrity",
        "windows.protection",
        "windows.token",
        "windows.critical",
        "windows.secure",
        "windows.mitigations",
        "windows.system_process",
        "macos.signing",
        "macos.entitlements",
        "macos.sandboxed",
        "macos.responsible_pid",
        "macos.system_daemon",
        "macos.sip_protected",
        "macos.debuggable",
        "macos.debuggable_because",
        "macos.methods",
    ),
    "lsm": ("linux.lsm_label",),
    "namespaces": ("linux.namespaces", "linux.inner_pid"),
    "cgroup": (
        "linux.cgroup",
        "container",
        "service",
        "windows.job",
        "windows.services",
        "windows.service_group",
        "macos.coalition",
        "macos.launchd_job",
        "macos.launchd_job_method",
    ),
    "oom": ("linux.oom_score", "linux.oom_score_adj"),
    "digest": ("digest",),
    "signature": ("signature",),
    "ancestry": ("ancestry",),
}
"""Fields of `Process` by the group of `hostscope.model.request.FIELDS` that asks for them."""

COMPOSED = frozenset({"digest", "signature", "ancestry"})
"""Groups that collectors make of rows and other answers; a row lacks them in any case."""

SYSTEMS = ("linux", "windows", "macos")


class Selection:
    """Turns recorded rows into wanted ones."""

    def __init__(self, recorded: frozenset[str], wanted: frozenset[str], system: str) -> None:
        unwanted = [field for group in recorded - wanted for field in GROUPS.get(group, ())]
        self._dropped = frozenset(unwanted)
        self._clear: dict[str, None] = {field: None for field in unwanted if "." not in field}
        self._clear_inside: dict[str, dict[str, None]] = {}
        for record, _, field in (name.partition(".") for name in unwanted):
            if field and record not in self._clear:
                self._clear_inside.setdefault(record, {})[field] = None
        missing = (field for group in sorted(wanted - recorded - COMPOSED) for field in GROUPS[group])
        self._gaps = tuple(
            Gap(field, Reason.UNAVAILABLE, "not in this recording")
            for field in missing
            if (record := field.partition(".")[0]) == system or record not in SYSTEMS
        )

    def apply(self, process: Process) -> Process:
        """The row without what was not asked for, and with a gap for what the recording lacks."""
        if not self._dropped and not self._gaps:
            return process
        changes: dict[str, Any] = dict(self._clear)
        for record, fields in self._clear_inside.items():
            value = getattr(process, record)
            if value is not None:
                changes[record] = replace(value, **fields)
        kept = tuple(gap for gap in process.gaps if gap.field not in self._dropped)
        return replace(process, **changes, gaps=kept + self._gaps)
