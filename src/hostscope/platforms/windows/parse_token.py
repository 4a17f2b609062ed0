"""What tokens are made of, parsed from the bytes of GetTokenInformation. Pure; imports and is fuzzed on every system.

Answers hold pointers into themselves: `base` is the address at which the system wrote them. A pointer that leads
elsewhere, a count that is larger than the answer and a SID that is cut off are ValueErrors, never reads beyond.
"""

import re
import struct
from functools import lru_cache
from typing import NamedTuple

SID_HEADER = struct.Struct("<BB6s")
SID_MAX_SUB_AUTHORITIES = 15
ENTRY = struct.Struct("<QI4x")
"""SID_AND_ATTRIBUTES."""
COUNT = struct.Struct("<I")
GROUPS_OFFSET = 8
PRIVILEGE = struct.Struct("<IiI")
"""LUID_AND_ATTRIBUTES."""
PRIVILEGES_OFFSET = 4
STATISTICS = struct.Struct("<IiIiqiiIIIIIi")
POINTER = struct.Struct("<Q")

GROUP_ATTRIBUTES = (
    ("mandatory", 0x1), ("default", 0x2), ("enabled", 0x4), ("owner", 0x8), ("deny-only", 0x10), ("integrity", 0x20),
    ("logon-id", 0xC0000000), ("resource", 0x20000000),
)  # fmt: skip
"""Words of the model for SE_GROUP_…; ``logon-id`` is two bits."""

ELEVATIONS = {1: "default", 2: "full", 3: "limited"}
"""TOKEN_ELEVATION_TYPE."""

LEVELS = (
    (0x5000, "protected"), (0x4000, "system"), (0x3000, "high"), (0x2100, "medium-plus"), (0x2000, "medium"),
    (0x1000, "low"), (0x0000, "untrusted"),
)  # fmt: skip
"""SECURITY_MANDATORY_…_RID: a level in between belongs to the next lower one."""
PRIMARY, IMPERSONATION = 1, 2
_SID = re.compile(r"S-[0-9]{1,3}-(?:[0-9]{1,15}|0x[0-9A-Fa-f]{12})(?:-[0-9]{1,10}){0,15}", re.A)


class Member(NamedTuple):
    """A SID with its attributes."""

    sid: bytes
    attributes: int


class Holding(NamedTuple):
    """A privilege by its number."""

    low: int
    high: int
    attributes: int


class Statistics(NamedTuple):
    """Parts of TOKEN_STATISTICS."""

    logon_session: str
    kind: int
    """`PRIMARY` or `IMPERSONATION`."""


@lru_cache(maxsize=4096)
def sid_text(sid: bytes) -> str:
    """A SID as people write it, ``S-1-5-18``. An authority of 2**32 or more is hexadecimal, as Windows has it.

    Raises:
        ValueError: it is no whole SID.
    """
    revision, count, authority = SID_HEADER.unpack_from(_sid(sid, 0))
    number = int.from_bytes(authority, "big")
    parts = struct.unpack_from(f"<{count}I", sid, SID_HEADER.size)
    first = str(number) if number < 1 << 32 else f"0x{number:012X}"
    return "-".join(("S", str(revision), first, *map(str, parts)))


def sid_bytes(text: str) -> bytes:
    """The SID that `sid_text` made `text` from.

    Raises:
        ValueError
    """
    if not _SID.fullmatch(text):
        raise ValueError(f"{text!r} is no SID")
    _, revision, authority, *parts = text.split("-")
    number = int(authority, 16 if authority.startswith("0x") else 10)
    try:
        head = bytes([int(revision), len(parts)]) + number.to_bytes(6, "big")
        return head + b"".join(int(part).to_bytes(4, "little") for part in parts)
    except OverflowError as failed:
        raise ValueError(f"a part of {text!r} is too large") from failed


@lru_cache(maxsize=1024)
def parse_user(raw: bytes, base: int) -> bytes:
    """The SID of TOKEN_USER, as of TOKEN_MANDATORY_LABEL.

    Raises:
        ValueError
    """
    if len(raw) < ENTRY.size:
        raise ValueError("the answer is too short for a SID")
    return _sid(raw, ENTRY.unpack_from(raw)[0] - base)


def parse_integrity(raw: bytes, base: int) -> str:
    """The integrity level of TOKEN_MANDATORY_LABEL by name. Raises as `parse_user`."""
    sid = parse_user(raw, base)
    if len(sid) < SID_HEADER.size + 4:
        raise ValueError("the integrity label has no level")
    level = COUNT.unpack_from(sid, len(sid) - 4)[0]
    return next(name for lowest, name in LEVELS if level >= lowest)


def parse_groups(raw: bytes, base: int) -> tuple[Member, ...]:
    """All of TOKEN_GROUPS.

    Raises:
        ValueError
    """
    count = _count(raw, GROUPS_OFFSET, ENTRY.size)
    entries = (ENTRY.unpack_from(raw, GROUPS_OFFSET + ENTRY.size * number) for number in range(count))
    return tuple(Member(_sid(raw, pointer - base), attributes) for pointer, attributes in entries)


def parse_privileges(raw: bytes) -> tuple[Holding, ...]:
    """All of TOKEN_PRIVILEGES.

    Raises:
        ValueError
    """
    count = _count(raw, PRIVILEGES_OFFSET, PRIVILEGE.size)
    end = PRIVILEGES_OFFSET + PRIVILEGE.size * count
    return tuple(Holding(*fields) for fields in PRIVILEGE.iter_unpack(raw[PRIVILEGES_OFFSET:end]))


def parse_statistics(raw: bytes) -> Statistics:
    """The logon session, and whether it is a primary token.

    Raises:
        ValueError
    """
    if len(raw) < STATISTICS.size:
        raise ValueError("the statistics of the token are cut off")
    _, _, low, high, _, kind, *_ = STATISTICS.unpack_from(raw)
    return Statistics(f"{high & 0xFFFFFFFF:x}:{low:x}", kind)


def parse_number(raw: bytes) -> int:
    """A DWORD.

    Raises:
        ValueError
    """
    if len(raw) < COUNT.size:
        raise ValueError("the answer is no number")
    return int(COUNT.unpack_from(raw)[0])


def parse_app_container(raw: bytes, base: int) -> bytes | None:
    """The SID of TOKEN_APPCONTAINER_INFORMATION; None without one.

    Raises:
        ValueError
    """
    if len(raw) < POINTER.size:
        raise ValueError("the answer is no pointer")
    pointer = POINTER.unpack_from(raw)[0]
    return _sid(raw, pointer - base) if pointer else None


def group_words(attributes: int) -> tuple[str, ...]:
    """The attributes of a group in the words of the model."""
    return tuple(word for word, bits in GROUP_ATTRIBUTES if attributes & bits == bits)


def privilege_state(attributes: int) -> str:
    """``removed`` is stronger than ``enabled``: such a privilege cannot be used any more."""
    if attributes & 0x4:
        return "removed"
    return "enabled" if attributes & 0x2 else "disabled"


def _count(raw: bytes, offset: int, size: int) -> int:
    count = parse_number(raw)
    if count and offset + count * size > len(raw):
        raise ValueError(f"{count} entries do not fit into {len(raw)} bytes")
    return count


def _sid(raw: bytes, offset: int) -> bytes:
    if not 0 <= offset <= len(raw) - SID_HEADER.size:
        raise ValueError("a pointer leads out of the answer")
    count = raw[offset + 1]
    end = offset + SID_HEADER.size + 4 * count
    if count > SID_MAX_SUB_AUTHORITIES or end > len(raw):
        raise ValueError("a SID is cut off")
    return raw[offset:end]
