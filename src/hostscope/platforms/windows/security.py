"""The host's own security state. Windows: not built yet."""

from hostscope.model.security import HostSecurity
from hostscope.platforms.windows.translate import not_built


class Security:
    """Answers `Unsupported` for now."""

    def state(self) -> HostSecurity:
        raise not_built("the host's security state")
