"""Services, by whatever manages them."""

from msgspec import Struct

from hostscope.model.gap import Gap

SCHEMA = "hostscope.service/1"


class Service(Struct, frozen=True, gc=False):
    """The unit a process belongs to."""

    name: str
    """Such as ``ssh.service`` or ``session-3.scope``."""
    manager: str
    """``systemd``, ``systemd --user``, ``scm``, ``launchd``."""
    slice: str | None = None
    user: int | None = None
    """The uid whose manager runs it; None for the system's."""


class ServiceState(Struct, frozen=True):
    """A unit as its manager sees it."""

    name: str
    manager: str
    type: str | None = None
    """``service socket timer scope slice mount …``."""
    description: str | None = None
    state: str | None = None
    """``active inactive failed activating deactivating reloading``."""
    substate: str | None = None
    start_mode: str | None = None
    """``enabled disabled static masked indirect generated transient``."""
    main_pid: int | None = None
    path: str | None = None
    """Where the unit is defined."""
    slice: str | None = None
    load: str | None = None
    """``loaded not-found masked bad-setting error``: whether the definition could be read."""
    user: int | None = None
    """The uid whose manager runs it; None for the system's."""
    gaps: tuple[Gap, ...] = ()
