"""Services, by whatever manages them."""

from typing import Literal

from msgspec import Struct

from hostscope.model.gap import Gap
from hostscope.model.signature import Signature

SCHEMA = "hostscope.service/1"

ServiceStep = Literal["start", "stop", "remove"]
"""What can be done with a service that hostscope installed."""


class Service(Struct, frozen=True, gc=False):
    """The unit a process belongs to."""

    name: str
    """Such as ``ssh.service`` or ``session-3.scope``."""
    manager: str
    """``systemd``, ``systemd --user``, ``scm``, ``launchd``."""
    slice: str | None = None
    user: int | None = None
    """The uid whose manager runs it; None for the system's."""


class ScmEntry(Struct, frozen=True, gc=False):
    """What Windows' service control manager keeps of a service besides."""

    kind: str
    """``own-process share-process kernel-driver file-system-driver user-own-process …``."""
    command: str | None = None
    """Path of its program with arguments, or of its driver."""
    account: str | None = None
    """Whose rights it has, such as ``LocalSystem``; None for drivers."""
    group: str | None = None
    """Load order group."""
    delayed: bool | None = None
    """Starts some time after the others that start by themselves."""
    triggers: tuple[str, ...] | None = None
    """Such as ``start on ip-address {GUID of what kind}``."""
    dependencies: tuple[str, ...] | None = None
    """Services that have to run before it; groups begin with ``+``."""
    error_control: str | None = None
    """``ignore normal severe critical``: what the system does when it does not start."""
    exit_code: int | None = None
    """Error code that it ended with; its own one where it gave one."""
    program: str | None = None
    """The file that `command` starts, or of its driver, by its drive. Of a command without quotes as much as ends in
    ``.exe``: what Windows would run may be another file, where a shorter path exists too."""
    library: str | None = None
    """The file with its code, where `program` only hosts it (ServiceDll of svchost.exe's services)."""


class ServiceState(Struct, frozen=True):
    """A unit as its manager sees it."""

    name: str
    manager: str
    type: str | None = None
    """``service socket timer scope slice mount …``."""
    description: str | None = None
    state: str | None = None
    """``active inactive failed activating deactivating reloading``, for every manager's own words."""
    substate: str | None = None
    """The manager's own word. Windows: ``running stopped start-pending stop-pending paused …``."""
    start_mode: str | None = None
    """``enabled disabled static masked indirect generated transient``; Windows: ``boot system auto manual …``."""
    main_pid: int | None = None
    path: str | None = None
    """Where the unit is defined."""
    slice: str | None = None
    load: str | None = None
    """``loaded not-found masked bad-setting error``: whether the definition could be read."""
    user: int | None = None
    """The uid whose manager runs it; None for the system's."""
    scm: ScmEntry | None = None
    """Windows only."""
    signature: Signature | None = None
    """Who vouches for its code: `scm.library`, else `scm.program`. Only when it is asked for."""
    gaps: tuple[Gap, ...] = ()
