"""What hostscope can do on this Windows, what is missing, what goes without it, and how it is had.

Judged by what our token is assigned, not by what is enabled: steps enable what they need when they need it. Nothing is
started or changed; a raw socket is opened and closed again.
"""

import socket
from collections.abc import Callable, Mapping

from msgspec import Struct

from hostscope.audit import AuditTrail
from hostscope.errors import Unsupported
from hostscope.model.gap import Gap
from hostscope.model.host import Ability
from hostscope.platforms.windows import parse_protection
from hostscope.platforms.windows.attempts import attempt
from hostscope.platforms.windows.capture import refusal
from hostscope.platforms.windows.live import LIVE
from hostscope.platforms.windows.native import integrity, iphlpapi, membership
from hostscope.platforms.windows.native import protection as shield
from hostscope.platforms.windows.native.handles import kernel32
from hostscope.platforms.windows.parse_token import sid_bytes

ELEVATED = "an elevated prompt: right click on Terminal, Run as administrator; or: Start-Process hostscope -Verb RunAs"
DEBUG = "SeDebugPrivilege"
DEBUG_REMEDY = (
    f"{ELEVATED}; where administrators lack it: secpol.msc, Local Policies, User Rights Assignment, Debug programs"
)
TRACERS = "S-1-5-32-559"
"""Performance Log Users."""
HYPER_V = "S-1-5-32-578"
"""Hyper-V Administrators."""
WSAEACCES = 10013
AUDIT_REMEDY = "set HOSTSCOPE_AUDIT=FILE, in a folder of your own"
OTHERS = (
    ("full_detail", "tokens, modules, handles and windows of other users' processes",
     "other users' processes show with names, times and counters only"),
    ("environment", "arguments and environments of other users' processes", "of your own processes only"),
    ("memory", "memory of other users' processes, for dumps and scans", "dumps and scans of your own processes only"),
    ("acts", "ending, suspending and resuming other users' processes", "acts on your own processes only"),
    ("trace", "calls of other users' processes, by a debugger", "tracing of your own processes only"),
)  # fmt: skip
"""Name, what it gives and what there is without: all by opening other users' processes."""
PROTECTED_LIMIT = (
    "protected processes (lsass with LSA protection, antimalware, csrss, services) show names, times, counters and "
    "tokens, never memory, handles or arguments: only a driver, or a process protected as strongly, is let further"
)
CAPTURE_LIMIT = (
    "one for IPv4 and one for IPv6 on each interface; no loopback, no link layer, headers of IPv6 are made up, on some "
    "versions no outgoing IPv6; the firewall must let the traffic in; packets that find no room are not counted"
)


class Ourselves(Struct, frozen=True):
    """What abilities depend on."""

    states: Mapping[str, str]
    """Of the privileges assigned to us."""
    administrator: bool
    """IsUserAnAdmin: a member of Administrators, and elevated."""
    tracer: bool
    """A member of Performance Log Users."""
    hyper_v: bool
    """A member of Hyper-V Administrators."""
    protection: str | None
    """Of our own process; None where this Windows does not tell."""


def list_abilities(states: Mapping[str, str], trail: AuditTrail) -> tuple[Ability, ...]:
    """Every ability. Starts no service and no trace, writes nothing."""
    we = Ourselves(states, membership.is_administrator(), _is_member(TRACERS), _is_member(HYPER_V), _protection())
    return (
        administrator(we),
        *other_processes(we),
        every_process(),
        protected_processes(we),
        tracing(we),
        raw_sockets(_open_raw_socket),
        connections(we),
        services(),
        containers(we),
        antivirus(),
        code_integrity(),
        audit_trail(trail),
    )


def administrator(we: Ourselves) -> Ability:
    """Whether we are elevated."""
    if we.administrator:
        return Ability("administrator", True, "an elevated member of Administrators")
    told = "no member of Administrators, or not elevated (IsUserAnAdmin)"
    return Ability("administrator", False, told, ELEVATED, "see the abilities below that need it")


def other_processes(we: Ourselves) -> tuple[Ability, ...]:
    """What opening other users' processes gives."""
    state = we.states.get(DEBUG)
    if state in ("enabled", "disabled"):
        told = f"{DEBUG} is assigned ({state} now): it is enabled around the calls that need it"
        return tuple(
            Ability(name, True, f"{gives}: {told}", needs=(DEBUG,), keeps=LIVE["ps"].kept(None))
            for name, gives, _ in OTHERS
        )
    told = f"{DEBUG} is not assigned to us"
    return tuple(Ability(name, False, f"{gives}: {told}", DEBUG_REMEDY, lost, (DEBUG,)) for name, gives, lost in OTHERS)


def every_process() -> Ability:
    """The list is open to everybody."""
    return Ability("every_process", True, "the kernel lists every process to everybody")


def protected_processes(we: Ourselves) -> Ability:
    """Nobody but the protected looks into the protected."""
    if we.protection not in (None, "none"):
        return Ability("protected_processes", True, f"we are protected ourselves ({we.protection})")
    return Ability("protected_processes", False, PROTECTED_LIMIT, None, "no memory and handles of protected processes")


def tracing(we: Ourselves) -> Ability:
    """Event tracing sessions."""
    if we.administrator or we.tracer:
        who = "an administrator" if we.administrator else "a member of Performance Log Users"
        return Ability("etw", True, f"events of processes, network and DNS by tracing sessions, as {who}")
    told = "tracing sessions are for administrators and Performance Log Users"
    lost = "events by polling; traffic by captured packets or polling; no DNS queries by process"
    remedy = f'{ELEVATED}; or: net localgroup "Performance Log Users" %USERNAME% /add, and log on again'
    return Ability("etw", False, told, remedy, lost)


def raw_sockets(open_socket: Callable[[], None]) -> Ability:
    """Tried, for it depends on more than rights: drivers, and policies of the stack."""
    lost = "no capture, and no traffic by captured packets"
    try:
        open_socket()
    except OSError as failed:
        remedy = ELEVATED if getattr(failed, "winerror", None) == WSAEACCES else None
        return Ability("capture", False, refusal(failed).message, remedy, lost)
    except Unsupported as failed:
        return Ability("capture", False, failed.message, None, lost)
    return Ability("capture", True, f"packets by raw sockets (SIO_RCVALL): {CAPTURE_LIMIT}")


def connections(we: Ourselves) -> Ability:
    """Bytes and round trips of TCP connections, which must be switched on for each."""
    lost = "no bytes and round trips of single connections"
    call = attempt("tcp", getattr, iphlpapi.iphlpapi, "GetPerTcpConnectionEStats")
    if isinstance(call, Gap):
        return Ability("tcp_statistics", False, f"statistics of connections (EStats): {call.detail}", None, lost)
    if we.administrator:
        return Ability("tcp_statistics", True, "bytes and round trips of connections, where they are switched on")
    told = "statistics of connections (EStats) are for administrators"
    return Ability("tcp_statistics", False, told, ELEVATED, lost)


def services() -> Ability:
    """The service manager answers everybody."""
    return Ability("services", True, "services by the service control manager")


def containers(we: Ourselves) -> Ability:
    """The Host Compute Service."""
    if we.administrator or we.hyper_v:
        return Ability("container_state", True, "containers and machines by the Host Compute Service, while it runs")
    told = "the Host Compute Service answers administrators and Hyper-V Administrators"
    return Ability("container_state", False, told, ELEVATED, "containers are known by their disks and accounts only")


def antivirus() -> Ability:
    """The Security Center; not on servers."""
    from hostscope.platforms.windows.antivirus import read_health

    found = attempt("antivirus_health", read_health)
    if isinstance(found, str):
        return Ability("security_center", True, f"the Security Center answers: antivirus {found}")
    told = "its service does not run" if found is None else found.detail or found.reason.value
    lost = "antivirus products by the registry only"
    return Ability("security_center", False, f"the Security Center: {told}", None, lost)


def code_integrity() -> Ability:
    """What the kernel tells of drivers' signatures."""
    found = attempt("code_integrity", integrity.read_code_integrity)
    if isinstance(found, int):
        return Ability("code_integrity", True, "the kernel tells how it checks signatures")
    return Ability("code_integrity", False, found.detail or found.reason.value)


def audit_trail(trail: AuditTrail) -> Ability:
    """Whether uses of privilege can be written down."""
    obstacle = trail.obstacle()
    if obstacle:
        return Ability("audit_trail", False, obstacle, AUDIT_REMEDY, "no acts; looking goes unrecorded")
    return Ability("audit_trail", True, f"uses of privilege are recorded in {trail.path}")


def _protection() -> str | None:
    found = attempt("protection", shield.read_protection, kernel32.GetCurrentProcess())
    return parse_protection.protection(found) if isinstance(found, int) else None


def _is_member(sid: str) -> bool:
    """A question that is not answered counts as no: then the ability says what would help."""
    return attempt("membership", membership.is_member, sid_bytes(sid)) is True


def _open_raw_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IP).close()
