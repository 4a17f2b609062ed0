"""What is particular to macOS, on a process's page."""

from collections.abc import Iterable

from hostscope.model.macos import Bundle, CodeSigning, Fact, MacosContext
from hostscope.model.process import Process
from hostscope.render import page
from hostscope.render.page import missing
from hostscope.render.units import render_bytes


def macos_facts(process: Process) -> Iterable[page.Fact]:
    """Nothing for other systems' processes."""
    macos, gaps = process.macos, process.gaps
    if macos is None:
        return
    yield "architecture", f"{macos.architecture}, under Rosetta" if macos.translated else macos.architecture
    yield ("signature", _signature(macos.signing)) if macos.signing else missing(gaps, "macos.signing", "signature")
    if macos.entitlements is None:
        yield missing(gaps, "macos.entitlements", "entitlements")
    else:
        yield "entitlements", "; ".join(f"{entry.name} = {entry.value}" for entry in macos.entitlements) or "none"
    yield "sandboxed", {None: None, True: "yes", False: "no"}[macos.sandboxed]
    yield "protected", _fact(macos.sip_protected)
    yield "debuggable", _debuggable(macos)
    yield "system daemon", _fact(macos.system_daemon)
    yield "launchd job", _job(macos)
    yield "bundle", _bundle(macos.bundle) if macos.bundle else None
    yield "virtual machine", macos.guest
    yield "responsible", None if macos.responsible_pid in (None, process.pid) else str(macos.responsible_pid)
    yield "coalition", None if macos.coalition is None else str(macos.coalition)
    yield "footprint", None if macos.footprint_bytes is None else render_bytes(macos.footprint_bytes)
    yield "energy", None if macos.energy_nj is None else f"{macos.energy_nj / 1e9:.3f} J"


def _signature(signing: CodeSigning) -> str:
    told = (
        signing.identifier,
        f"team {signing.team_id}" if signing.team_id else None,
        f"cdhash {signing.cdhash}" if signing.cdhash else None,
        " ".join(signing.flags) or "unsigned",
    )
    return ", ".join(filter(None, told))


def _fact(fact: Fact | None) -> str | None:
    """A heuristic says so."""
    if fact is None:
        return None
    return fact.value if fact.method == "kernel" else f"{fact.value} ({fact.method})"


def _debuggable(macos: MacosContext) -> str | None:
    if macos.debuggable is None:
        return None
    because = f" ({', '.join(macos.debuggable_because)})" if macos.debuggable_because else ""
    return ("by root" if macos.debuggable else "no") + because


def _job(macos: MacosContext) -> str | None:
    guessed = macos.launchd_job and macos.launchd_job_method == "heuristic"
    return f"{macos.launchd_job} (heuristic)" if guessed else macos.launchd_job


def _bundle(bundle: Bundle) -> str:
    told = (
        bundle.identifier or bundle.path,
        bundle.version and f"version {bundle.version}",
        bundle.build and f"build {bundle.build}",
        "without a window" if bundle.agent else None,
        "provisioned" if bundle.provisioned else None,
    )
    return ", ".join(filter(None, told))
