"""The host's own security state: UAC, LSA protection, virtualisation-based security, code integrity, antivirus."""

from hostscope.model.gap import Gap, Reason
from hostscope.model.security import HostSecurity
from hostscope.platforms.windows import antivirus, registry
from hostscope.platforms.windows.attempts import attempt, value_of
from hostscope.platforms.windows.native import integrity

UAC = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"
LSA = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa"
SECURE_BOOT = r"HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State"
SWITCH = {0: "off", 1: "locked", 2: "on"}
"""RunAsPPL and LsaCfgFlags: 1 also writes a firmware variable, which only the firmware's owner takes back."""
CI_ENABLED, CI_TEST_SIGNING = 0x1, 0x2
CODE_INTEGRITY = (
    ("enabled", CI_ENABLED), ("test-signing", CI_TEST_SIGNING), ("user-mode", 0x4), ("user-mode-audit", 0x8),
    ("test-build", 0x20), ("preproduction-build", 0x40), ("debug-mode", 0x80), ("flight-build", 0x100),
    ("flighting", 0x200), ("hvci", 0x400), ("hvci-audit", 0x800), ("hvci-strict", 0x1000), ("isolated", 0x2000),
)  # fmt: skip
"""CODEINTEGRITY_OPTION_…; Source: phnt ntexapi.h."""
UAC_LEVELS = {(0, 0): "never-notify", (0, 1): "never-notify", (2, 1): "always-notify", (5, 1): "default",
              (5, 0): "no-dimming"}  # fmt: skip
"""By ConsentPromptBehaviorAdmin and PromptOnSecureDesktop: the four places of the slider."""


class Security:
    """Implements `hostscope.platforms.base.Security`."""

    def __init__(self, products: antivirus.Products | None = None) -> None:
        """`products` asks the Security Center (WMI); without it, what that keeps in the registry is read."""
        self._products = products

    def state(self) -> HostSecurity:
        """The state now. Cost: three calls of the kernel, and some forty values of the registry."""
        gaps: list[Gap] = []
        options = value_of(attempt("code_integrity", integrity.read_code_integrity), gaps)
        isolation = value_of(attempt("virtualization_based", integrity.read_isolation), gaps)
        if isolation is None:
            gaps.append(Gap("protected_code", gaps[-1].reason, gaps[-1].detail))
        return HostSecurity(
            uac=value_of(attempt("uac", _uac), gaps),
            lsa_protection=value_of(attempt("lsa_protection", _switch, "RunAsPPL"), gaps),
            credential_guard=value_of(attempt("credential_guard", _switch, "LsaCfgFlags"), gaps),
            virtualization_based=isolation[0] if isolation else None,
            protected_code=isolation[1] if isolation else None,
            secure_boot=value_of(attempt("secure_boot", _secure_boot), gaps),
            code_integrity=None if options is None else option_words(options),
            driver_signatures=_driver_signatures(options, gaps),
            defender=value_of(attempt("defender", antivirus.read_defender), gaps),
            antivirus=value_of(attempt("antivirus", antivirus.read_products, self._products), gaps),
            antivirus_health=value_of(attempt("antivirus_health", antivirus.read_health), gaps),
            gaps=tuple(gaps),
        )


def option_words(options: int) -> tuple[str, ...]:
    """The options of code integrity that are on."""
    return tuple(word for word, bit in CODE_INTEGRITY if options & bit)


def uac_word(enabled: int, consent: int, dimmed: int) -> str:
    """The place of the slider; a policy that it has no place for as ``consent N``."""
    if not enabled:
        return "off"
    return UAC_LEVELS.get((consent, int(bool(dimmed))), f"consent {consent}")


def _uac() -> str:
    """Values that are not there count as Windows' own defaults."""
    names = ("EnableLUA", "ConsentPromptBehaviorAdmin", "PromptOnSecureDesktop")
    values = registry.read_values(UAC, names)
    enabled, consent, dimmed = (values.get(name, default) for name, default in zip(names, (1, 5, 1), strict=True))
    if not (isinstance(enabled, int) and isinstance(consent, int) and isinstance(dimmed, int)):
        raise ValueError("a value of UAC's policy is no number")
    return uac_word(enabled, consent, dimmed)


def _switch(name: str) -> str:
    found = registry.read_number(LSA, name) or 0
    return SWITCH.get(found, f"value {found}")


def _secure_boot() -> bool | None:
    """By the kernel; before Windows 8, and where it does not tell, by what the loader left in the registry."""
    try:
        return integrity.read_secure_boot()
    except OSError:
        found = registry.read_number(SECURE_BOOT, "UEFISecureBootEnabled")
        if found is None:
            raise
        return bool(found)


def _driver_signatures(options: int | None, gaps: list[Gap]) -> str | None:
    if options is None:
        gaps.append(Gap("driver_signatures", Reason.UNAVAILABLE, "the options of code integrity are unknown"))
        return None
    if not options & CI_ENABLED:
        return "off"
    return "test" if options & CI_TEST_SIGNING else "enforced"
