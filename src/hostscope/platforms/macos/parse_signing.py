"""What csops(2) answers, parsed. Pure."""

from typing import Any

from hostscope.binaries.entitlements import as_records, parse_der, parse_xml
from hostscope.model.macos import Entitlement
from hostscope.platforms.macos.parse import parse_text

FLAGS: tuple[tuple[int, str], ...] = (
    (0x1, "valid"),
    (0x2, "ad-hoc"),
    (0x4, "get-task-allow"),
    (0x8, "installer"),
    (0x10, "library-validation-forced"),
    (0x20, "invalid-allowed"),
    (0x100, "hard"),
    (0x200, "kill"),
    (0x400, "check-expiration"),
    (0x800, "restricted"),
    (0x1000, "enforced"),
    (0x2000, "library-validation"),
    (0x4000, "entitlements-validated"),
    (0x8000, "nvram-unrestricted"),
    (0x10000, "hardened-runtime"),
    (0x20000, "linker-signed"),
    (0x1000000, "killed"),
    (0x2000000, "no-untrusted-helpers"),
    (0x4000000, "platform-binary"),
    (0x8000000, "platform-path"),
    (0x10000000, "debugged"),
    (0x20000000, "signed"),
    (0x40000000, "development"),
    (0x80000000, "data-vaults"),
)
"""Bits of CS_OPS_STATUS by name, in order."""
VALID, GET_TASK_ALLOW, RESTRICTED, RUNTIME, PLATFORM, DEBUGGED = 0x1, 0x4, 0x800, 0x10000, 0x4000000, 0x10000000


def flag_names(word: int) -> tuple[str, ...]:
    """Names of the bits that are set; those without a name by their number."""
    rest = word & ~sum(bit for bit, _ in FLAGS)
    return (*(name for bit, name in FLAGS if word & bit), *(f"bit-{at}" for at in range(32) if rest >> at & 1))


def parse_entitlements(der: bytes, xml: bytes) -> tuple[Entitlement, ...]:
    """Entitlements by name, from the DER where there is one: that is what the kernel goes by.

    Raises:
        ValueError: the blob cannot be understood.
    """
    found: dict[str, Any] = parse_der(der) if der else parse_xml(xml) if xml else {}
    return as_records(found)


def parse_string(raw: bytes) -> str | None:
    """An identity or team; None when there is none."""
    return parse_text(raw) or None
