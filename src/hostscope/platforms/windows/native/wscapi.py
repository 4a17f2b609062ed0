"""The Security Center's verdict (wscapi.dll; not on servers)."""

from ctypes import byref

from hostscope.platforms.windows.native.library import Library, SystemRefused
from hostscope.platforms.windows.native.types import DWORD, HRESULT, INT, POINTER

WSC_SECURITY_PROVIDER_FIREWALL = 0x1
WSC_SECURITY_PROVIDER_ANTIVIRUS = 0x4
WSC_SECURITY_PROVIDER_HEALTH_GOOD = 0
WSC_SECURITY_PROVIDER_HEALTH_NOTMONITORED = 1
WSC_SECURITY_PROVIDER_HEALTH_POOR = 2
WSC_SECURITY_PROVIDER_HEALTH_SNOOZE = 3

SIGNATURES = {"WscGetSecurityProviderHealth": (HRESULT, (DWORD, POINTER(INT)))}
wscapi = Library("wscapi", SIGNATURES)


def provider_health(provider: int) -> int | None:
    """WSC_SECURITY_PROVIDER_HEALTH of all products of a kind together; None when its service does not run (S_FALSE).

    Raises:
        SystemRefused
        Unsupported: there is no Security Center.
    """
    found = INT()
    result = wscapi.WscGetSecurityProviderHealth(provider, byref(found))
    if result < 0:
        raise SystemRefused("WscGetSecurityProviderHealth", result & 0xFFFFFFFF)
    return None if result else found.value
