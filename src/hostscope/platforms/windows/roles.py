r"""What a process is to its host: recognised by its file, its user, its session and its marks; never by name alone.

A name proves nothing: anybody can run a program called ``lsass.exe``. So these must agree, as far as they could be
read:

1. The image's path, as the kernel tells it, is where Windows keeps that program, below its own root: only
   TrustedInstaller writes there (administrators, after they took ownership). Processes without a program
   (System, Registry, …) have none, and hang below pid 4.
2. It runs as the account that Windows runs it as. Anybody may start System32\lsass.exe, as themselves.
3. It is in the session where it belongs, and its parent's image, when that is known, is the one that starts it.
4. Where it is always marked critical, it is not known to lack the mark.

A value that could not be read speaks neither for nor against, and the reasons say so. Beside that table stand marks
that only the kernel gives and that are enough alone: a critical process is one whatever its file is, and one protected
as antimalware was signed by Microsoft for that.
"""

from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import NamedTuple

from msgspec import Struct

from hostscope.model.process import Process
from hostscope.model.response import Role
from hostscope.model.text import decode_str
from hostscope.platforms.windows.native import folders, handles
from hostscope.platforms.windows.native.process import image_name

SYSTEM_PID = 4
SYSTEM, LOCAL_SERVICE, NETWORK_SERVICE = "S-1-5-18", "S-1-5-19", "S-1-5-20"
SERVICES = (SYSTEM, LOCAL_SERVICE, NETWORK_SERVICE)
ANYONE = ("*",)
PEOPLE = ("S-1-5-21-*", "S-1-12-1-*")
"""Accounts of a machine or domain, and of Entra ID."""


class Facts(Struct, frozen=True, gc=False):
    """What a process is recognised by; None where it could not be read."""

    pid: int
    ppid: int | None
    name: str
    path: str | None
    """By drive letter."""
    user: str | None
    """SID."""
    session: int | None
    """Terminal session: 0 is the services'."""
    parent_path: str | None = None
    critical: bool | None = None
    protection: str | None = None
    secure: bool | None = None


class Known(NamedTuple):
    """A program that hosts depend on."""

    word: str
    """As in `WindowsContext.system_process`."""
    role: str
    paths: tuple[str, ...]
    r"""Patterns, in lower case; ``~`` stands for Windows' own root, such as ``c:\windows``."""
    users: tuple[str, ...] = (SYSTEM,)
    """Patterns of SIDs."""
    sessions: str = "any"
    """``services``: session 0; ``people``: the others; ``any``."""
    critical: bool = False
    """Always marked: one that is known not to be is something else."""
    parents: tuple[str, ...] = ()
    surely: bool = False
    """Its parent must be known: anybody may start this very program as themselves."""
    session: bool = False
    """It carries logins, desktops or terminals."""
    service: bool = True


_S32 = "~\\system32\\"
_SERVICES_EXE, _WININIT, _WINLOGON = f"{_S32}services.exe", f"{_S32}wininit.exe", f"{_S32}winlogon.exe"
_DEFENDER = ("?:\\programdata\\microsoft\\windows defender\\platform\\*\\", "?:\\program files\\windows defender\\")

KNOWN: tuple[Known, ...] = (
    Known("smss", "session manager", (f"{_S32}smss.exe",), critical=True),
    Known("csrss", "client/server runtime", (f"{_S32}csrss.exe",), critical=True, session=True),
    Known("wininit", "start of Windows", (_WININIT,), sessions="services", critical=True),
    Known("winlogon", "login manager", (_WINLOGON,), sessions="people", session=True),
    Known("services", "service manager", (_SERVICES_EXE,), sessions="services", critical=True, parents=(_WININIT,)),
    Known("lsass", "security authority", (f"{_S32}lsass.exe",), sessions="services", parents=(_WININIT,)),
    Known("lsaiso", "isolated security authority", (f"{_S32}lsaiso.exe",), sessions="services", parents=(_WININIT,)),
    Known("svchost", "service host", (f"{_S32}svchost.exe",), SERVICES, parents=(_SERVICES_EXE,)),
    Known("svchost", "service host of a user", (f"{_S32}svchost.exe",), PEOPLE, "people", parents=(_SERVICES_EXE,),
          surely=True),
    Known("dwm", "desktop compositor", (f"{_S32}dwm.exe",), ("S-1-5-90-0-*",), "people", parents=(_WINLOGON,),
          session=True),
    Known("fontdrvhost", "font driver", (f"{_S32}fontdrvhost.exe",), ("S-1-5-96-0-*",),
          parents=(_WININIT, _WINLOGON)),
    Known("logonui", "login screen", (f"{_S32}logonui.exe",), sessions="people", session=True),
    Known("spoolsv", "print spooler", (f"{_S32}spoolsv.exe",), sessions="services", parents=(_SERVICES_EXE,)),
    Known("explorer", "shell of a user", ("~\\explorer.exe",), PEOPLE, "people", session=True, service=False),
    Known("sihost", "shell infrastructure", (f"{_S32}sihost.exe",), PEOPLE, "people", session=True,
          service=False),
    Known("conhost", "console", (f"{_S32}conhost.exe",), ANYONE, session=True, service=False),
    Known("sshd", "ssh server", (f"{_S32}openssh\\sshd*.exe",), (SYSTEM, "S-1-5-111-*"), session=True),
    Known("rdp", "remote desktop clipboard", (f"{_S32}rdpclip.exe",), ANYONE, "people", session=True, service=False),
    Known("defender", "security agent", tuple(f"{folder}{name}" for folder in _DEFENDER for name in (
          "msmpeng.exe", "nissrv.exe", "mpdefendercoreservice.exe")), (SYSTEM, LOCAL_SERVICE)),
    Known("defender-endpoint", "security agent",
          ("?:\\program files\\windows defender advanced threat protection\\*.exe",), (SYSTEM,)),
    Known("vmms", "virtual machines", (f"{_S32}vmms.exe", f"{_S32}vmcompute.exe"), sessions="services"),
    Known("vmwp", "virtual machine", (f"{_S32}vmwp.exe",), ("S-1-5-83-1-*",)),
    Known("wsl", "Linux subsystem", ("?:\\program files\\wsl\\wslservice.exe", f"{_S32}lxss\\wslservice.exe")),
    Known("docker", "container runtime", ("?:\\program files\\docker\\dockerd.exe",
          "?:\\program files\\docker\\docker\\resources\\dockerd.exe", "?:\\program files\\containerd\\containerd.exe"),
          sessions="services"),
)  # fmt: skip
"""In the order in which they are tried."""

WITHOUT_PROGRAM = {
    "system": ("system", "kernel"),
    "registry": ("registry", "registry of the kernel"),
    "secure system": ("secure-system", "secure kernel"),
    "memcompression": ("memory-compression", "memory compression"),
    "memory compression": ("memory-compression", "memory compression"),
}
"""Processes of the kernel: by name, which is the kernel's own where there is no program and the parent is pid 4."""


MACHINES = ("hyper-v", "wsl")
"""Runtimes whose processes on this host are the machine itself, not what runs in it."""


class Recognised(NamedTuple):
    """What the facts prove."""

    word: str
    role: str
    service: bool
    session: bool
    because: str


def recognise(facts: Facts, root: str) -> Recognised | None:
    r"""What a process is; None for everything that is not proven. `root` is Windows' own, such as ``C:\Windows``."""
    if facts.path is None:
        return _without_program(facts) or _marked(facts)
    for known in _candidates(facts.path.lower(), root.lower()):
        if _fits(known, facts, root.lower()):
            return Recognised(known.word, known.role, known.service, known.session, _because(known, facts))
    return _marked(facts)


def system_process(process: Process) -> str | None:
    """The word for `WindowsContext.system_process`.

    Raises:
        SystemRefused: nobody tells where Windows is.
    """
    found = recognise(facts_of(process, _root()), _root())
    return found.word if found else None


def role_of(process: Process) -> Role | None:
    """The role, for the guard; a process in a container has none for the host, save for the worker of a machine."""
    if process.container is not None and process.container.runtime not in MACHINES:
        return None
    found = recognise(facts_of(process, _root()), _root())
    return Role(found.role, found.service, found.session, found.because) if found else None


def facts_of(process: Process, root: str | None = None) -> Facts:
    """What a finished record tells; and the parent's program, where that may decide.

    Args:
        root: as in `recognise`; None leaves the parent out.

    Cost: three calls for what may be a program with a known parent.
    """
    windows, path = process.windows, process.exe.path if process.exe else None
    asked = root and path and any(known.parents for known in _candidates(path.lower(), root.lower()))
    return Facts(
        pid=process.pid,
        ppid=process.ppid,
        name=process.name,
        path=path,
        user=process.owner.id if process.owner else None,
        session=process.session.session if process.session else None,
        parent_path=_program_of(process.ppid) if asked else None,
        critical=windows.critical if windows else None,
        protection=windows.protection if windows else None,
        secure=windows.secure if windows else None,
    )


def _program_of(pid: int | None) -> str | None:
    """The program of a parent, which was seen to be older than its child; None when it has ended or is closed to us."""
    if not pid:
        return None
    with suppress(OSError), handles.opened(pid, handles.PROCESS_QUERY_LIMITED_INFORMATION) as parent:
        return decode_str(image_name(parent))
    return None


@lru_cache(maxsize=4096)
def _candidates(path: str, root: str) -> tuple[Known, ...]:
    """What an image at this path may be; thousands of processes share few paths."""
    below = f"~{path[len(root) :]}" if path.startswith(f"{root}\\") else path
    return tuple(known for known in KNOWN if any(_is_at(below, pattern) for pattern in known.paths))


def _is_at(path: str, pattern: str) -> bool:
    r"""``*`` does not reach into folders: ``…\platform\*\msmpeng.exe`` is one folder deep."""
    return path.count("\\") == pattern.count("\\") and fnmatchcase(path, pattern)


def _fits(known: Known, facts: Facts, root: str) -> bool:
    return (
        _user_fits(known, facts.user)
        and _session_fits(known, facts.session)
        and _parent_fits(known, facts, root)
        and not (known.critical and facts.critical is False)
    )


def _user_fits(known: Known, user: str | None) -> bool:
    return user is None or any(fnmatchcase(user, pattern) for pattern in known.users)


def _session_fits(known: Known, session: int | None) -> bool:
    return session is None or known.sessions == "any" or (known.sessions == "services") == (session == 0)


def _parent_fits(known: Known, facts: Facts, root: str) -> bool:
    if not known.parents:
        return True
    parent = facts.parent_path
    if parent is None:
        return not known.surely
    return parent.lower() in {pattern.replace("~", root, 1) for pattern in known.parents}


def _because(known: Known, facts: Facts) -> str:
    told = [f"runs {facts.path}", f"as {facts.user}" if facts.user else "its user could not be read"]
    told += [f"in session {facts.session}"] if facts.session is not None else []
    told += ["marked critical"] if facts.critical else []
    told += [f"protected as {facts.protection}"] if facts.protection not in (None, "none") else []
    return ", ".join(told)


def _without_program(facts: Facts) -> Recognised | None:
    """The kernel's own. A process whose path could not be read hangs below pid 4 too, but is smss alone."""
    found = WITHOUT_PROGRAM.get(facts.name.lower())
    first = facts.pid == SYSTEM_PID and facts.ppid in (0, None)
    if found is None or (found[0] == "system") != first or not (first or facts.ppid == SYSTEM_PID):
        return None
    below = "pid 4" if first else "has no program, and hangs below pid 4"
    return Recognised(*found, service=True, session=False, because=below)


def _marked(facts: Facts) -> Recognised | None:
    """By marks that only the kernel gives."""
    told = f"runs {facts.path}" if facts.path else "its program could not be read"
    if facts.critical:
        return Recognised("critical", "critical process", True, False, f"its end stops the system, {told}")
    if facts.protection in ("ppl-antimalware", "pp-antimalware"):
        return Recognised("antimalware", "security agent", True, False, f"protected as {facts.protection}, {told}")
    if facts.protection not in (None, "none"):
        return Recognised("protected", "protected process", True, False, f"protected as {facts.protection}, {told}")
    return None


@cache
def _root() -> str:
    return folders.system_root()
