"""The host's own security state: System Integrity Protection, by bit."""

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.security import HostSecurity
from hostscope.platforms.macos import protection, translate
from hostscope.platforms.macos.native import sip


def read_sip() -> int:
    """What csr_get_active_config gives. Raises OSError, Unsupported."""
    return sip.active_config()


class Security:
    """Implements `hostscope.platforms.base.Security`."""

    def state(self) -> HostSecurity:
        """System Integrity Protection; what cannot be read is a gap."""
        try:
            config = read_sip()
        except Unsupported as missing:
            return HostSecurity(gaps=(Gap("sip_allows", Reason.UNSUPPORTED, missing.message),))
        except OSError as failed:
            return HostSecurity(gaps=(translate.gap("sip_allows", failed),))
        return HostSecurity(
            sip_allows=protection.allowed_names(config),
            sip_blocks=protection.blocked(config),
            sip_paths=() if config & (1 << 1) else protection.PATHS,
        )
