"""What hostscope can do on this host, what is missing, what goes without it, and the command that gives it.

Judged by what is permitted, not what is in effect: steps raise what they need when they need it.
"""

import os
import pwd
import shlex
import sys
from collections.abc import Iterable

from msgspec import Struct

from hostscope.audit import AuditTrail
from hostscope.model.host import Ability
from hostscope.platforms.linux import ability_checks, capabilities
from hostscope.platforms.linux.ability_table import NEEDS, Need
from hostscope.platforms.linux.live import LOAD_PROGRAMS

STANDS_IN = ("sys_admin",)
"""For CAP_BPF and CAP_PERFMON, as it did before they were split off in 5.8."""
STREAMS = ("traffic", "dns", "watch")
"""Commands that give lines without end, which a service wants as JSON."""
ENDLESS = (*STREAMS, "capture")


class Ourselves(Struct, frozen=True):
    """What abilities depend on."""

    permitted: int
    """Capability masks."""
    bounding: int
    uid: int
    gid: int


def list_abilities(we: Ourselves, trail: AuditTrail) -> tuple[Ability, ...]:
    """Every ability. Loads no program, opens no bus, writes nothing."""
    raisable = not _lacking(we.permitted, ("dac_read_search",))
    return (
        *(judge(we, need) for need in NEEDS),
        ability_checks.capture_filters(),
        ability_checks.every_process(),
        ability_checks.pidfd(),
        ability_checks.container_state(raisable, enabling(we, ("dac_read_search",), "containers")),
        ability_checks.service_manager(),
        ability_checks.package_database(),
        ability_checks.pressure(),
        ability_checks.audit_trail(trail),
    )


def judge(we: Ourselves, need: Need) -> Ability:
    """Whether we have what it takes: no obstacle, and then the privileges."""
    obstacle = next(filter(None, (check() for check in need.obstacles)), None)
    lacking = () if obstacle else _lacking(we.permitted, _enough(we, need.privileges))
    return Ability(
        need.name,
        not obstacle and not lacking,
        f"{need.gives}: {obstacle or _told(we, need, lacking)}",
        enabling(we, need.privileges, need.command) if lacking else None,
        need.lost or None,
        need.privileges,
        need.keeps,
        unit_text(need, we.uid),
    )


def _told(we: Ourselves, need: Need, lacking: tuple[str, ...]) -> str:
    if lacking:
        return f"not permitted {_upper(lacking)}"
    return f"{_upper(_enough(we, need.privileges))} permitted" if need.privileges else "takes no privilege"


def _enough(we: Ourselves, names: tuple[str, ...]) -> tuple[str, ...]:
    """The capabilities that do here; what stands in for others does when these are lacking."""
    if not _lacking(we.permitted, names) or _lacking(we.permitted, STANDS_IN):
        return names
    return tuple(dict.fromkeys("sys_admin" if name in LOAD_PROGRAMS else name for name in names))


def _lacking(permitted: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not permitted & capabilities.mask([name]))


def _upper(names: Iterable[str]) -> str:
    return " ".join(f"CAP_{name.upper()}" for name in names)


def enabling(we: Ourselves, names: tuple[str, ...], command: str) -> str:
    """The exact way to run a command of ours with these capabilities: a shell line, or a container's options."""
    if lacking := _lacking(we.bounding, names):
        options = " ".join(f"--cap-add={name.upper()}" for name in lacking)
        return (
            "outside of our bounding set, which nothing widens again: begin in a shell or unit without that bound, or "
            f"start the container with {options} (docker, podman)"
        )
    return setpriv_line(names, we.uid, we.gid, [_program(), *command.split()])


def setpriv_line(names: tuple[str, ...], uid: int, gid: int, command: Iterable[str]) -> str:
    """A shell line that runs `command` as this user, with these capabilities and no others within its reach.

    Ambient capabilities survive execve(2) of an ordinary program; to become ambient they must be inheritable first.
    """
    raised = ",".join(f"+{name}" for name in names)
    groups = "--init-groups" if _account(uid) else "--clear-groups"
    capable = [f"--inh-caps={raised}", f"--ambient-caps={raised}", f"--bounding-set=-all,{raised}"]
    return "sudo " + shlex.join(["setpriv", f"--reuid={uid}", f"--regid={gid}", groups, *capable, *command])


def unit_text(need: Need, uid: int) -> str | None:
    """A systemd unit (systemd.exec(5)) that runs the same with the same capabilities; None for what takes a target."""
    if not need.privileges or "PID" in need.command:
        return None
    word = need.command.split()[0]
    form = " --format ndjson" if word in STREAMS else ""
    who = f"User={_account(uid) or uid}" if uid else "DynamicUser=yes"
    kind = "exec" if word in ENDLESS else "oneshot"
    listed = _upper(need.privileges)
    return "\n".join([
        "[Unit]", f"Description=hostscope: {need.gives}", "",
        "[Service]", f"Type={kind}", f"ExecStart={_program()} {need.command}{form}", who,
        "StateDirectory=hostscope", "WorkingDirectory=%S/hostscope",
        "Environment=HOSTSCOPE_AUDIT=%S/hostscope/audit.jsonl",
        f"AmbientCapabilities={listed}", f"CapabilityBoundingSet={listed}", "NoNewPrivileges=yes",
    ])  # fmt: skip


def _account(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _program() -> str:
    """Our command by its full path: sudo searches its own PATH, not the user's."""
    typed = os.path.abspath(sys.argv[0])
    return typed if os.path.basename(typed) == "hostscope" and os.path.exists(typed) else "hostscope"
