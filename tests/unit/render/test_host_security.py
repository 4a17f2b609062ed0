"""The host's security state on its page, for each system."""

import pytest

from hostscope.model.gap import Gap, Reason
from hostscope.model.security import Antivirus, Defender, HostSecurity
from hostscope.render.host_security import SYSTEMS, security_facts

KEPT = HostSecurity(
    uac="default", lsa_protection="locked", credential_guard="on", virtualization_based=True, protected_code=False,
    secure_boot=True, code_integrity=("enabled",), driver_signatures="enforced",
    defender=Defender(False, True, None, "1.4", 1_725_526_400_000_000_000, None, ("WinDefend",), ("C:\\Temp",)),
    antivirus=(Antivirus("Other", "antivirus", True, False, None, "registry"),), antivirus_health="good",
)  # fmt: skip


def shown(security: HostSecurity, system: str) -> dict[str, str]:
    return {label: value for label, value in security_facts(security, system) if value is not None}


def test_windows() -> None:
    assert shown(KEPT, "windows") == {
        "UAC": "default", "LSA protection": "locked", "Credential Guard": "on", "secure kernel": "runs",
        "memory integrity": "off", "Secure Boot": "on", "code integrity": "enabled", "driver signatures": "enforced",
        "Defender": "real-time protection OFF, tamper protection on, signatures 1.4 of 2024-09-05T08:53:20Z, "
                    "protected: WinDefend",
        "not watched": "C:\\Temp", "antivirus": "Other, on, out of date",
    }  # fmt: skip
    assert ("antivirus", "good") in security_facts(KEPT, "windows")


def test_linux_and_macos_show_their_own() -> None:
    assert shown(HostSecurity(yama=2, lockdown="integrity", lsms=("selinux",)), "linux")["Yama ptrace_scope"] == "2"
    guarded = HostSecurity(
        sip_allows=(), sip_blocks=("debugging",), sip_paths=("/usr", "/bin"), sip_open_paths=("/usr/x",)
    )
    assert shown(guarded, "macos") == {
        "SIP allows": "nothing",
        "SIP blocks": "debugging",
        "SIP guards": "2 paths, 1 left open below them",
    }


def test_what_could_not_be_read_is_called_nothing() -> None:
    """Where securityfs is not mounted lockdown may well be in force."""
    whole = shown(HostSecurity(lockdown="none"), "linux")
    assert (whole["Yama ptrace_scope"], whole["lockdown"], whole["hidepid"]) == ("no Yama", "none", "off")
    unread = tuple(Gap(field, Reason.UNAVAILABLE) for field in ("yama", "lockdown", "hidepid"))
    assert not {"Yama ptrace_scope", "lockdown", "hidepid"} & shown(HostSecurity(gaps=unread), "linux").keys()


@pytest.mark.parametrize("system", [*SYSTEMS, "plan9"])
def test_what_is_unknown_is_left_out(system: str) -> None:
    assert not {"UAC", "Defender", "SIP allows"} & shown(HostSecurity(), system).keys()
