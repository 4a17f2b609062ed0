"""Antivirus products, and Microsoft Defender by its settings; their keys can be watched."""

import threading
from collections.abc import Callable, Iterator

from hostscope.errors import HostError
from hostscope.model.event import SecurityChange
from hostscope.model.security import Antivirus, Defender
from hostscope.platforms.windows import registry
from hostscope.platforms.windows.clock import filetime_ns
from hostscope.platforms.windows.native import wscapi

DEFENDER = r"HKLM\SOFTWARE\Microsoft\Windows Defender"
POLICIES = r"HKLM\SOFTWARE\Policies\Microsoft\Windows Defender"
REAL_TIME = r"\Real-Time Protection"
SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
PROVIDERS = r"HKLM\SOFTWARE\Microsoft\Security Center\Provider"
KINDS = {"Av": "antivirus", "As": "antispyware", "Fw": "firewall"}
"""Keys below `PROVIDERS`."""
DEFENDER_SERVICES = ("WinDefend", "WdNisSvc", "MDCoreSvc", "Sense")
EXCLUSIONS = ("Paths", "Extensions", "Processes", "IpAddresses")
HEALTH = {0: "good", 1: "not-monitored", 2: "poor", 3: "snoozed"}
TAMPER_ON = (1, 5)
"""TamperProtection: 0 and 4 are off, 1 and 5 on; by an administrator and by the service's own word."""
STATE_ON, STATE_OUTDATED = 0x1000, 0x10
"""Of a product's state: bits 12 to 15 (0 off, 1 on, 2 snoozed, 3 expired) and 4 to 7 (not 0: out of date)."""

WATCHED: dict[str, tuple[str, ...]] = {
    DEFENDER: ("DisableAntiSpyware", "DisableAntiVirus", "PassiveMode", "ProductStatus"),
    f"{DEFENDER}{REAL_TIME}": (
        "DisableRealtimeMonitoring", "DisableBehaviorMonitoring", "DisableOnAccessProtection", "DisableIOAVProtection",
        "DisableScriptScanning",
    ),
    f"{DEFENDER}\\Features": ("TamperProtection",),
    f"{DEFENDER}\\Signature Updates": ("AVSignatureVersion",),
    POLICIES: ("DisableAntiSpyware", "DisableAntiVirus"),
    f"{POLICIES}{REAL_TIME}": ("DisableRealtimeMonitoring", "DisableBehaviorMonitoring", "DisableOnAccessProtection"),
    f"{SERVICES}\\WinDefend": ("Start", "LaunchProtected", "ImagePath"),
    r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa": ("RunAsPPL", "LsaCfgFlags"),
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System": ("EnableLUA", "ConsentPromptBehaviorAdmin"),
    **{f"{place}\\Exclusions\\{kind}": registry.EVERY for place in (DEFENDER, POLICIES) for kind in EXCLUSIONS},
}  # fmt: skip
"""Values that malware switches protection off with, by key."""

Products = Callable[[], tuple[Antivirus, ...]]


def read_defender() -> Defender | None:
    r"""Defender's settings; None where it is not installed.

    Raises:
        SystemRefused: 5 when its keys are closed to us.
        ValueError
    """
    values = registry.read_values(DEFENDER, ("InstallLocation", "ProductAppDataPath", "PassiveMode"))
    if not values:
        return None
    passive, place = values.get("PassiveMode"), values.get("InstallLocation")
    updates = registry.read_values(f"{DEFENDER}\\Signature Updates", ("AVSignatureVersion", "SignaturesLastUpdated"))
    version, updated = updates.get("AVSignatureVersion"), updates.get("SignaturesLastUpdated")
    return Defender(
        real_time=_real_time(),
        tamper_protection=_tamper(),
        passive=bool(passive) if isinstance(passive, int) else None,
        signatures=version if isinstance(version, str) else None,
        signatures_at_ns=_instant(updated) if isinstance(updated, bytes) else None,
        platform=place if isinstance(place, str) else None,
        protected_services=tuple(name for name in DEFENDER_SERVICES if _launches_protected(name)),
        exclusions=_exclusions(),
    )


def read_products(products: Products | None = None) -> tuple[Antivirus, ...]:
    """Products by the Security Center; without `products` (WMI), or its answer, by what it keeps in the registry.

    Raises:
        SystemRefused
        ValueError
        Unsupported
    """
    if products is None:
        return _registered()
    try:
        return products()
    except (OSError, HostError):
        if found := _registered():
            return found
        raise


def _registered() -> tuple[Antivirus, ...]:
    return tuple(
        product
        for key, kind in KINDS.items()
        for name in registry.names_below(f"{PROVIDERS}\\{key}")
        if (product := _product(f"{PROVIDERS}\\{key}\\{name}", kind))
    )


def read_health() -> str | None:
    """What the Security Center says of all antivirus products together; None when its service does not run.

    Raises:
        SystemRefused
        Unsupported: there is none (servers).
    """
    found = wscapi.provider_health(wscapi.WSC_SECURITY_PROVIDER_ANTIVIRUS)
    return None if found is None else HEALTH.get(found, f"health {found}")


def watch_keys(stop: threading.Event, refused: registry.Refused | None = None) -> Iterator[SecurityChange]:
    """Changes of the settings in `WATCHED` until `stop`; see `registry.watch_values`."""
    return registry.watch_values(WATCHED, stop, refused)


def state_of(state: int) -> tuple[bool, bool]:
    """Whether a product is on, and up to date, by its state. Heuristic: the bits are not documented."""
    return state & 0xF000 == STATE_ON, not state & 0xF0 & STATE_OUTDATED


def _real_time() -> bool | None:
    """A policy is stronger than the setting; without either it is on."""
    for key in (f"{POLICIES}{REAL_TIME}", f"{DEFENDER}{REAL_TIME}"):
        disabled = registry.read_number(key, "DisableRealtimeMonitoring")
        if disabled is not None:
            return disabled == 0
    return True


def _tamper() -> bool | None:
    found = registry.read_number(f"{DEFENDER}\\Features", "TamperProtection")
    return None if found is None else found in TAMPER_ON


def _launches_protected(service: str) -> bool:
    return bool(registry.read_number(f"{SERVICES}\\{service}", "LaunchProtected"))


def _exclusions() -> tuple[str, ...] | None:
    found = [name for kind in EXCLUSIONS for name in registry.value_names(f"{DEFENDER}\\Exclusions\\{kind}")]
    return tuple(found)


def _product(key: str, kind: str) -> Antivirus | None:
    values = registry.read_values(key, ("DISPLAYNAME", "STATE", "PRODUCTEXE"))
    name, state, program = values.get("DISPLAYNAME"), values.get("STATE"), values.get("PRODUCTEXE")
    if not isinstance(name, str):
        return None
    on, fresh = state_of(state) if isinstance(state, int) else (None, None)
    return Antivirus(name, kind, on, fresh, program if isinstance(program, str) else None, "registry")


def _instant(raw: bytes) -> int | None:
    return filetime_ns(int.from_bytes(raw, "little")) if len(raw) == 8 else None
