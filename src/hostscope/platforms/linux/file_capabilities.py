"""Capabilities that an executable brings: the extended attribute ``security.capability``. Pure.

Source: capabilities(7), ``struct vfs_ns_cap_data`` in include/uapi/linux/capability.h. All numbers are little-endian.
"""

import struct

from msgspec import Struct

from hostscope.platforms.linux.capabilities import names

ATTRIBUTE = "security.capability"

_REVISION, _FLAGS = 0xFF000000, 0x00FFFFFF
_EFFECTIVE = 0x000001
_WORDS = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}
"""Revision -> 32-bit words of each set. Revision 3 (Linux 4.14) adds the root user it holds for."""


class FileCapabilities(Struct, frozen=True):
    """What execve(2) of the file adds."""

    revision: int
    permitted: tuple[str, ...]
    """Given, as far as the bounding set allows."""
    inheritable: tuple[str, ...]
    """Given when the process has them inheritable."""
    effective: bool
    """Whether they are effective at once, without the program asking."""
    root_uid: int | None
    """Revision 3: holds only in user namespaces whose root is this user; None: everywhere."""

    @property
    def names(self) -> tuple[str, ...]:
        """Permitted ones, then those that are only inheritable."""
        return self.permitted + tuple(name for name in self.inheritable if name not in self.permitted)


def parse_file_capabilities(raw: bytes) -> FileCapabilities:
    """The attribute's value.

    Raises:
        ValueError: the kernel would not take it either (another revision or length).
    """
    magic = int.from_bytes(raw[:4], "little")
    words = _WORDS.get(magic & _REVISION, 0)
    revision = (magic & _REVISION) >> 24
    if not words or len(raw) != 4 + 8 * words + (4 if revision == 3 else 0):
        raise ValueError(f"{len(raw)} bytes of revision {revision} are no file capabilities")
    numbers = struct.unpack(f"<{(len(raw) - 4) // 4}I", raw[4:])
    permitted, inheritable = (_mask(numbers[part : 2 * words : 2]) for part in (0, 1))
    root = numbers[2 * words] if revision == 3 else None
    return FileCapabilities(revision, names(permitted), names(inheritable), bool(magic & _FLAGS & _EFFECTIVE), root)


def _mask(words: tuple[int, ...]) -> int:
    """Words from the lower to the higher, as one number."""
    return sum(word << 32 * position for position, word in enumerate(words))
