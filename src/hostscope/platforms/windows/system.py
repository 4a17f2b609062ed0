"""What the host is. Windows: not built yet."""

from hostscope.model.host import HostInfo
from hostscope.platforms.windows.translate import not_built


class System:
    """Answers `Unsupported` for now."""

    def info(self) -> HostInfo:
        raise not_built("system information")
