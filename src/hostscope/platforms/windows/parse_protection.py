"""Marks of processes and jobs, in words. Pure: numbers in, words out."""

import re
from functools import lru_cache

from hostscope.model.windows import Mitigation

TYPES = {1: "ppl", 2: "pp"}
SIGNERS = (
    "none", "authenticode", "codegen", "antimalware", "lsa", "windows", "wintcb", "winsystem", "app",
)  # fmt: skip
"""PS_PROTECTED_SIGNER."""

SECURE, SUBSYSTEM = 1 << 7, 1 << 8
"""Flags of PROCESS_EXTENDED_BASIC_INFORMATION: isolated user mode (a trustlet); a pico process (WSL 1)."""

POLICIES: dict[int, tuple[str, str, tuple[str, ...]]] = {
    0: ("dep", "DEP", ("Enable", "DisableAtlThunkEmulation")),
    1: ("aslr", "ASLR",
        ("EnableBottomUpRandomization", "EnableForceRelocateImages", "EnableHighEntropy", "DisallowStrippedImages")),
    2: ("acg", "DYNAMIC_CODE", ("ProhibitDynamicCode", "AllowThreadOptOut", "AllowRemoteDowngrade",
                                "AuditProhibitDynamicCode")),
    3: ("strict-handles", "STRICT_HANDLE_CHECK",
        ("RaiseExceptionOnInvalidHandleReference", "HandleExceptionsPermanentlyEnabled")),
    4: ("system-calls", "SYSTEM_CALL_DISABLE", ("DisallowWin32kSystemCalls", "AuditDisallowWin32kSystemCalls",
                                                "DisallowFsctlSystemCalls", "AuditDisallowFsctlSystemCalls")),
    6: ("extension-points", "EXTENSION_POINT_DISABLE", ("DisableExtensionPoints",)),
    7: ("cfg", "CONTROL_FLOW_GUARD", ("EnableControlFlowGuard", "EnableExportSuppression", "StrictMode", "EnableXfg",
                                      "EnableXfgAuditMode")),
    8: ("signed-only", "BINARY_SIGNATURE", ("MicrosoftSignedOnly", "StoreSignedOnly", "MitigationOptIn",
                                            "AuditMicrosoftSignedOnly", "AuditStoreSignedOnly")),
    9: ("fonts", "FONT_DISABLE", ("DisableNonSystemFonts", "AuditNonSystemFontLoading")),
    10: ("image-load", "IMAGE_LOAD", ("NoRemoteImages", "NoLowMandatoryLabelImages", "PreferSystem32Images",
                                      "AuditNoRemoteImages", "AuditNoLowMandatoryLabelImages")),
    12: ("payload", "PAYLOAD_RESTRICTION",
         ("EnableExportAddressFilter", "AuditExportAddressFilter", "EnableExportAddressFilterPlus",
          "AuditExportAddressFilterPlus", "EnableImportAddressFilter", "AuditImportAddressFilter",
          "EnableRopStackPivot", "AuditRopStackPivot", "EnableRopCallerCheck", "AuditRopCallerCheck",
          "EnableRopSimExec", "AuditRopSimExec")),
    13: ("child-processes", "CHILD_PROCESS", ("NoChildProcessCreation", "AuditNoChildProcessCreation",
                                              "AllowSecureProcessCreation")),
    14: ("side-channels", "SIDE_CHANNEL_ISOLATION",
         ("SmtBranchTargetIsolation", "IsolateSecurityDomain", "DisablePageCombine",
          "SpeculativeStoreBypassDisable", "RestrictCoreSharing")),
    15: ("cet", "USER_SHADOW_STACK",
         ("EnableUserShadowStack", "AuditUserShadowStack", "SetContextIpValidation", "AuditSetContextIpValidation",
          "EnableUserShadowStackStrictMode", "BlockNonCetBinaries", "BlockNonCetBinariesNonEhcont",
          "AuditBlockNonCetBinaries", "CetDynamicApisOutOfProcOnly", "SetContextIpValidationRelaxedMode")),
    16: ("redirection-trust", "REDIRECTION_TRUST", ("EnforceRedirectionTrust", "AuditRedirectionTrust")),
    17: ("pointer-authentication", "USER_POINTER_AUTH", ("EnablePointerAuthUserIp",)),
    18: ("sehop", "SEHOP", ("EnableSehop",)),
}  # fmt: skip
"""By PROCESS_MITIGATION_POLICY: our word, the middle of the structure's name, and its flags from bit 0 on, as
winnt.h has them (newer SDKs name bits that older headers call reserved)."""
PERMANENT = 1 << 32
"""Of DEP: it cannot be turned off again."""

LIMITS = (
    ("working-set", 0x1), ("process-time", 0x2), ("job-time", 0x4), ("active-processes", 0x8), ("affinity", 0x10),
    ("priority-class", 0x20), ("scheduling-class", 0x80), ("process-memory", 0x100), ("memory", 0x200),
    ("die-on-unhandled-exception", 0x400), ("breakaway-ok", 0x800), ("silent-breakaway-ok", 0x1000),
    ("kill-on-close", 0x2000), ("subset-affinity", 0x4000),
)  # fmt: skip
"""JOB_OBJECT_LIMIT_…"""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def protection(level: int) -> str:
    """PS_PROTECTION in words: ``ppl-antimalware``, ``pp-wintcb``; ``none``."""
    kind, signer = TYPES.get(level & 7), level >> 4 & 0xF
    if level & 7 == 0:
        return "none"
    word = SIGNERS[signer] if signer < len(SIGNERS) else f"signer {signer}"
    return f"{kind or f'type {level & 7}'}-{word}"


@lru_cache(maxsize=1024)
def mitigation(policy: int, flags: int) -> Mitigation:
    """One policy with the words of its flags; a bit without a name is ``bit N``."""
    name, _, bits = POLICIES[policy]
    found = [_word(bits, number) for number in range(32) if flags >> number & 1]
    return Mitigation(name, tuple([*found, "permanent"] if flags & PERMANENT else found))


def limits(flags: int) -> tuple[str, ...]:
    """The limits of a job in words."""
    return tuple(word for word, bit in LIMITS if flags & bit)


def _word(bits: tuple[str, ...], number: int) -> str:
    return _HUMP.sub("-", bits[number]).lower() if number < len(bits) else f"bit {number}"
