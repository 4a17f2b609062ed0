"""The host's security state as facts of a page: only what the system at hand has."""

from collections.abc import Callable, Iterable

from hostscope.model.security import Antivirus, Defender, HostSecurity
from hostscope.render.page import Fact
from hostscope.render.units import render_instant


def security_facts(security: HostSecurity, system: str) -> Iterable[Fact]:
    """The facts of one system; none for a system that has none."""
    shown = SYSTEMS.get(system)
    return shown(security) if shown else ()


def _linux(security: HostSecurity) -> Iterable[Fact]:
    yield "security modules", None if security.lsms is None else ", ".join(security.lsms) or "none"
    unread = {gap.field for gap in security.gaps}
    yield "Yama ptrace_scope", str(security.yama) if security.yama is not None else _unless(unread, "yama", "no Yama")
    yield "lockdown", security.lockdown
    yield "hidepid", security.hidepid or _unless(unread, "hidepid", "off")
    yield "unprivileged BPF", _switch(security.unprivileged_bpf, "allowed", "not allowed")


def _windows(security: HostSecurity) -> Iterable[Fact]:
    yield "UAC", security.uac
    yield "LSA protection", security.lsa_protection
    yield "Credential Guard", security.credential_guard
    yield "secure kernel", _switch(security.virtualization_based, "runs", "does not run")
    yield "memory integrity", _switch(security.protected_code, "on", "off")
    yield "Secure Boot", _switch(security.secure_boot, "on", "off")
    yield "code integrity", None if security.code_integrity is None else ", ".join(security.code_integrity) or "off"
    yield "driver signatures", security.driver_signatures
    if security.defender:
        yield "Defender", _defender(security.defender)
        yield "not watched", ", ".join(security.defender.exclusions or ()) or None
    yield "antivirus", security.antivirus_health
    for product in security.antivirus or ():
        yield product.kind, _product(product)


def _macos(security: HostSecurity) -> Iterable[Fact]:
    for label, value in (("SIP allows", security.sip_allows), ("SIP blocks", security.sip_blocks)):
        yield label, None if value is None else ", ".join(value) or "nothing"
    if security.sip_paths:
        left_open = len(security.sip_open_paths or ())
        yield "SIP guards", f"{len(security.sip_paths)} paths, {left_open} left open below them"


def _defender(defender: Defender) -> str:
    updated = f" of {render_instant(defender.signatures_at_ns)}" if defender.signatures_at_ns else ""
    told = (
        _switch(defender.real_time, "real-time protection on", "real-time protection OFF"),
        _switch(defender.tamper_protection, "tamper protection on", "tamper protection off"),
        "passive" if defender.passive else None,
        f"signatures {defender.signatures}{updated}" if defender.signatures else None,
        f"protected: {' '.join(defender.protected_services)}" if defender.protected_services else None,
    )
    return ", ".join(filter(None, told)) or "installed"


def _product(product: Antivirus) -> str:
    told = (_switch(product.enabled, "on", "OFF"), _switch(product.up_to_date, "up to date", "out of date"))
    return ", ".join(filter(None, (product.name, *told)))


def _unless(unread: set[str], field: str, otherwise: str) -> str | None:
    """What it means that a field has no value; what could not be read stands with the gaps."""
    return None if field in unread else otherwise


def _switch(state: bool | None, on: str, off: str) -> str | None:
    return None if state is None else on if state else off


SYSTEMS: dict[str, Callable[[HostSecurity], Iterable[Fact]]] = {"linux": _linux, "windows": _windows, "macos": _macos}
"""By `HostInfo.system`."""
