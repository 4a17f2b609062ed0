"""The host's own security state: System Integrity Protection, by bit and by path."""

from pathlib import Path

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.security import HostSecurity
from hostscope.platforms.macos import protection, translate
from hostscope.platforms.macos.native import sip
from hostscope.platforms.macos.parse_rootless import MOST_BYTES, Guarded, parse_rootless

ROOTLESS = Path("/System/Library/Sandbox/rootless.conf")
UNRESTRICTED_FILES = 1 << 1
"""CSR_ALLOW_UNRESTRICTED_FS."""


def read_sip() -> int:
    """What csr_get_active_config gives. Raises OSError, Unsupported."""
    return sip.active_config()


class Security:
    """Implements `hostscope.platforms.base.Security`."""

    def __init__(self, rootless: Path = ROOTLESS) -> None:
        self._rootless = rootless

    def state(self) -> HostSecurity:
        """System Integrity Protection; what cannot be read is a gap."""
        try:
            config = read_sip()
        except Unsupported as missing:
            return HostSecurity(gaps=(Gap("sip_allows", Reason.UNSUPPORTED, missing.message),))
        except OSError as failed:
            return HostSecurity(gaps=(translate.gap("sip_allows", failed),))
        gaps: list[Gap] = []
        guarded = Guarded((), ()) if config & UNRESTRICTED_FILES else self._guarded(gaps)
        return HostSecurity(
            sip_allows=protection.allowed_names(config),
            sip_blocks=protection.blocked(config),
            sip_paths=guarded.protected if guarded else None,
            sip_open_paths=guarded.left_open if guarded else None,
            sip_method=protection.KERNEL,
            gaps=tuple(gaps),
        )

    def _guarded(self, gaps: list[Gap]) -> Guarded | None:
        try:
            with self._rootless.open("rb") as file:
                return parse_rootless(file.read(MOST_BYTES + 1))
        except (OSError, ValueError) as failed:
            gaps.append(Gap("sip_paths", Reason.UNAVAILABLE, f"{self._rootless} cannot be read: {failed}"))
            return None
