"""What is particular to Windows, on a process's page."""

from collections.abc import Iterable

from hostscope.model.process import Process
from hostscope.model.windows import Job, Mitigation, Token
from hostscope.render.page import Fact, missing
from hostscope.render.units import render_bytes


def windows_facts(process: Process) -> Iterable[Fact]:
    """Nothing for other systems' processes."""
    windows, gaps = process.windows, process.gaps
    if windows is None:
        return
    yield "without a program", windows.virtual
    yield "system process", windows.system_process
    yield "device path", windows.native_path
    yield "architecture", _architecture(windows.architecture, windows.wow64)
    yield "package", windows.package
    yield "priority", windows.priority
    yield "suspended", "yes" if windows.suspended else None
    yield ("integrity", windows.integrity) if windows.integrity else missing(gaps, "windows.integrity", "integrity")
    yield "protection", windows.protection
    yield "critical", "yes: its end stops the system" if windows.critical else None
    yield "isolated", "yes: it runs in isolated user mode" if windows.secure else None
    if windows.token:
        yield from _token(windows.token)
    yield "mitigations", _mitigations(windows.mitigations)
    yield "job", _job(windows.job) if windows.job else None
    yield "services", ", ".join(windows.services or ()) or None
    yield "service group", windows.service_group
    if charges := windows.memory:
        sizes = {
            "private": charges.private_bytes, "private in memory": charges.private_resident_bytes,
            "commit": charges.commit_bytes, "peak commit": charges.peak_commit_bytes,
            "paged pool": charges.paged_pool_bytes, "nonpaged pool": charges.nonpaged_pool_bytes,
        }  # fmt: skip
        yield "charges", ", ".join(f"{name} {render_bytes(size)}" for name, size in sizes.items() if size is not None)
    if windows.gdi_objects is not None or windows.user_objects is not None:
        yield "GUI objects", f"{windows.gdi_objects or 0} of GDI, {windows.user_objects or 0} of USER"


def _architecture(name: str | None, wow64: bool | None) -> str | None:
    return f"{name}, under WOW64" if name and wow64 else name


def _token(token: Token) -> Iterable[Fact]:
    yield "elevation", _elevation(token)
    session = f"{token.logon_session} ({token.logon_type})" if token.logon_type else token.logon_session
    yield "logon session", session
    yield "AppContainer", token.app_container
    yield "capabilities", ", ".join(token.app_capabilities or ()) or None
    yield "restricted", "yes" if token.restricted else None
    yield "virtualised", "yes: UAC redirects its writes to files and registry" if token.virtualised else None
    yield "UI access", "yes: it may drive windows of higher integrity" if token.ui_access else None
    denying = [group.name or group.sid for group in token.groups or () if "deny-only" in group.attributes]
    yield "only to deny", ", ".join(denying) or None
    if token.privileges is not None:
        enabled = [privilege.name for privilege in token.privileges if privilege.state == "enabled"]
        others = [privilege.name for privilege in token.privileges if privilege.state == "disabled"]
        yield "enabled", ", ".join(enabled) or "no privilege"
        yield "may enable", ", ".join(others) or None
    if token.impersonating:
        yield "impersonating", "threads " + ", ".join(map(str, token.impersonating))


def _elevation(token: Token) -> str | None:
    if token.elevation is None:
        return None
    return (
        token.elevation + (", elevated" if token.elevated else "") + (", with a linked token" if token.linked else "")
    )


def _mitigations(mitigations: tuple[Mitigation, ...] | None) -> str | None:
    on = [f"{policy.name} ({', '.join(policy.flags)})" for policy in mitigations or () if policy.flags]
    return None if mitigations is None else ", ".join(on) or "none"


def _job(job: Job) -> str:
    parts = ["in one"]
    if job.server_silo:
        parts.append(f"of the Windows container {job.container_id or '(unknown)'}")
    elif job.silo:
        parts.append("a silo")
    return ", ".join([*parts, *job.limits])
