"""The host on one page: what can be seen of it, and its counters."""

from collections.abc import Iterable, Iterator
from textwrap import wrap

from hostscope.model.host import Ability, HostCounters, HostInfo, Pressure
from hostscope.model.inspection import HostInspection
from hostscope.render.host_security import security_facts
from hostscope.render.page import Fact, describe, facts, grid, section
from hostscope.render.sanitise import sanitise
from hostscope.render.table import PLAIN, Style
from hostscope.render.units import render_bytes, render_duration, render_instant, render_ratio

_INDENT, _LEAST_ROOM = 2, 40


def render_host(inspection: HostInspection, style: Style = PLAIN) -> str:
    """The page: the host, its security state, our privileges, and each capability of hostscope."""
    security = inspection.security
    parts: list[Iterator[str]] = [
        section("Host", facts(_host(inspection.info)), style),
        section("Security state", facts(security_facts(security, inspection.info.system)) if security else [], style),
        section("Privileges held", [", ".join(inspection.privileges) or "none"], style),
        section("Capabilities", _abilities(inspection.abilities, style.width), style),
        section("Live commands, and what they keep once their sources are open", _live(inspection.abilities), style),
        *(
            section(f"To enable {names}", map(sanitise, way.splitlines()), style)
            for way, names in _ways(inspection.abilities)
        ),
        section("To enable one by itself", _by_itself(inspection.abilities), style),
        section("Could not be seen", _gaps(inspection), style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def _host(info: HostInfo) -> Iterable[Fact]:
    yield "name", info.hostname
    yield "system", info.os_name or info.system
    yield "kernel", f"{info.kernel} ({info.architecture})"
    yield "booted", f"{render_instant(info.booted_at_ns)} (boot {info.boot_id or '?'})"
    yield "machine", " ".join(part for part in (info.vendor, info.model) if part) or None
    yield "size", f"{info.cpus} processors, {render_bytes(info.memory_bytes)} of memory"


def render_ability(ability: Ability, style: Style = PLAIN) -> str:
    """The page of one capability of hostscope."""
    shown = facts([
        ("available", "yes" if ability.available else "no"),
        ("what and why", ability.detail),
        ("without it", ability.lost),
        ("takes", " ".join(ability.needs) or None),
        ("keeps afterwards", None if ability.keeps is None else " ".join(ability.keeps) or "nothing"),
    ])  # fmt: skip
    parts = [
        section(f"Capability {ability.name}", shown, style),
        section("To enable it", map(sanitise, (ability.enable or "").splitlines()), style),
        section("As a service", map(sanitise, (ability.unit or "").splitlines()), style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def _abilities(abilities: tuple[Ability, ...], width: int | None) -> list[str]:
    """Lines are broken to fit; below what is missing stands what goes without it."""
    before = max(len(one) for one in ("CAPABILITY", *(ability.name for ability in abilities))) + len("  HERE  ")
    room = max(_LEAST_ROOM, width - before - _INDENT) if width else None
    rows: list[tuple[str, str, str]] = []
    for ability in abilities:
        told = _broken(ability.detail, room)
        if ability.lost and not ability.available:
            told += _broken(f"without it: {ability.lost}", room)
        first = (ability.name, "yes" if ability.available else "no", told[0])
        rows += [first, *(("", "", line) for line in told[1:])]
    return grid(("CAPABILITY", "HERE", "WHAT, AND WHY"), rows)


def _broken(text: str, room: int | None) -> list[str]:
    return [text] if room is None else wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _by_itself(abilities: tuple[Ability, ...]) -> list[str]:
    if not any(ability.enable and ability.unit for ability in abilities):
        return []
    return ["hostscope doctor CAPABILITY shows its own line; hostscope doctor --unit CAPABILITY writes a service unit"]


def _live(abilities: tuple[Ability, ...]) -> list[str]:
    going_on = [(one.name, one.needs, one.keeps) for one in abilities if one.keeps is not None]
    rows = [(name, " ".join(needs) or "nothing", " ".join(keeps) or "nothing") for name, needs, keeps in going_on]
    return grid(("CAPABILITY", "TAKES", "KEEPS, AS FAR AS IT IS PERMITTED"), rows)


def _ways(abilities: tuple[Ability, ...]) -> Iterable[tuple[str, str]]:
    """What enables capabilities, with their names; of those that take the same privileges, the way of the first."""
    named: dict[tuple[str, ...], list[Ability]] = {}
    for ability in abilities:
        if ability.enable:
            named.setdefault(tuple(sorted(ability.needs)) or (ability.enable,), []).append(ability)
    return ((same[0].enable or "", ", ".join(one.name for one in same)) for same in named.values())


def _gaps(inspection: HostInspection) -> list[str]:
    security = inspection.security.gaps if inspection.security else ()
    gaps = (*inspection.info.gaps, *security, *inspection.gaps)
    return facts((gap.field, describe(gap)) for gap in dict.fromkeys(gaps))


def render_counters(counters: HostCounters, style: Style = PLAIN) -> str:
    """The counters on one page."""
    parts = [
        section(f"Counters at {render_instant(counters.at_ns)}", facts(_counters(counters)), style),
        section("Pressure (% of the time that some / all threads waited)", _pressures(counters), style),
        section("Disks since boot", _disks(counters), style),
        section("Could not be seen", facts((gap.field, describe(gap)) for gap in counters.gaps), style),
    ]
    return "".join(text for part in parts for text in part).lstrip("\n")


def _counters(c: HostCounters) -> Iterable[Fact]:
    times = {"user": c.cpu_user_ns, "system": c.cpu_system_ns, "idle": c.cpu_idle_ns,
             "waiting for storage": c.cpu_iowait_ns, "stolen": c.cpu_steal_ns}  # fmt: skip
    yield (
        "processor time",
        ", ".join(f"{name} {render_duration(value)}" for name, value in times.items() if value is not None),
    )
    yield "processors", str(c.cpu_count)
    if c.load_1m is not None and c.load_5m is not None and c.load_15m is not None:
        yield "load", f"{c.load_1m:.2f} {c.load_5m:.2f} {c.load_15m:.2f} (1, 5, 15 minutes)"
    yield "running threads", _number(c.processes_running)
    yield "forks since boot", _number(c.processes_created)
    yield "context switches", _number(c.context_switches)
    sizes = {"total": c.memory_total_bytes, "available": c.memory_available_bytes, "free": c.memory_free_bytes,
             "cached": c.memory_cached_bytes}  # fmt: skip
    yield "memory", ", ".join(f"{name} {render_bytes(size)}" for name, size in sizes.items() if size is not None)
    if c.swap_total_bytes is not None and c.swap_free_bytes is not None:
        yield "swap", f"total {render_bytes(c.swap_total_bytes)}, free {render_bytes(c.swap_free_bytes)}"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _pressures(counters: HostCounters) -> list[str]:
    named = {"cpu": counters.pressure_cpu, "memory": counters.pressure_memory, "io": counters.pressure_io}
    rows = [(name, *_shares(pressure)) for name, pressure in named.items() if pressure]
    return grid(("", "10 S", "60 S", "300 S"), rows)


def _shares(pressure: Pressure) -> Iterator[str]:
    pairs = (
        (pressure.some_10s_ratio, pressure.full_10s_ratio),
        (pressure.some_60s_ratio, pressure.full_60s_ratio),
        (pressure.some_300s_ratio, pressure.full_300s_ratio),
    )
    for some, full in pairs:
        yield f"{render_ratio(some)} / {'-' if full is None else render_ratio(full)}"


def _disks(counters: HostCounters) -> list[str]:
    rows = [
        (d.name, str(d.reads), render_bytes(d.read_bytes), str(d.writes), render_bytes(d.written_bytes),
         render_duration(d.busy_ns))
        for d in counters.disks
    ]  # fmt: skip
    return grid(("DISK", "READS", "READ", "WRITES", "WRITTEN", "BUSY"), rows)
