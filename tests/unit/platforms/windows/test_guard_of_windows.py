"""What the guard says of Windows' own processes and of those that only look like them: from record to refusal."""

from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from hostscope.model.key import ProcessKey
from hostscope.model.process import Account, Executable, Process, Session
from hostscope.model.response import ActRequest, Identity
from hostscope.model.windows import WindowsContext
from hostscope.platforms.windows import control, roles
from hostscope.platforms.windows.clock import Boot
from hostscope.respond.guard import Subject, judge, stands
from hostscope.respond.scene import Scene
from tests.unit.platforms.windows.scripted_security import Kernel

ROOT = "C:\\Windows"
SYSTEM = Account("S-1-5-18", "NT AUTHORITY\\SYSTEM")
ALICE = Account("S-1-5-21-1-2-3-1001", "HOST\\alice")
SCENE = Scene(ProcessKey("boot", 0, 9000, 1), {}, {}, "windows")


def process(name: str, **changes: object) -> Process:
    known: dict[str, object] = {
        "key": ProcessKey("boot", 0, 700, 1), "ppid": 600, "name": name, "owner": SYSTEM,
        "exe": Executable(f"{ROOT}\\System32\\{name}"), "session": Session(0, None, None), "windows": WindowsContext(),
    }  # fmt: skip
    return Process(**(known | changes))  # type: ignore[arg-type]


ONE = Session(1, None, None)
OURS = [
    process("csrss.exe", session=ONE),
    process("smss.exe", ppid=4),
    process("wininit.exe"),
    process("winlogon.exe", session=ONE),
    process("services.exe"),
    process("lsass.exe"),
    process("dwm.exe", owner=Account("S-1-5-90-0-1", None), session=ONE),
    process("System", key=ProcessKey("boot", 0, 4, 1), ppid=0, exe=None, kernel=True),
    process("Registry", ppid=4, exe=None, kernel=True),
]
MARKED = ("csrss.exe", "smss.exe", "wininit.exe", "services.exe")
OTHER_SESSIONS = {"wininit.exe": 1, "services.exe": 2, "lsass.exe": 1, "winlogon.exe": 0, "dwm.exe": 0}
ELSEWHERE = Executable("C:\\Users\\alice\\lsass.exe")
OTHERS = [
    *(replace(each, owner=ALICE) for each in OURS if each.exe),
    *(replace(each, exe=Executable(f"{ROOT}\\Temp\\{each.name}")) for each in OURS if each.exe),
    *(
        replace(each, session=Session(OTHER_SESSIONS[each.name], None, None))
        for each in OURS
        if each.name in OTHER_SESSIONS
    ),
    process("lsass.exe", exe=ELSEWHERE),
    process("Registry", exe=Executable("C:\\x\\Registry"), owner=ALICE),
    process("System", exe=Executable("C:\\x\\System"), owner=ALICE),
]


def refused(found: Process, monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> str | None:
    """The rule that stands, after `Control.identify` looked at it."""
    monkeypatch.setattr(control.Control, "_hold", lambda *_: nullcontext(1))
    monkeypatch.setattr(roles, "_program_of", lambda pid: None)
    monkeypatch.setattr(roles, "_root", lambda: ROOT)
    identity = control.Control(Boot("boot", 0), privileges=object()).identify(found)  # type: ignore[arg-type]
    assert isinstance(identity, Identity)
    refusal = stands(judge(Subject(found, identity), SCENE, ActRequest("terminate", ("700",))))
    return refusal.rule if refusal else None


@pytest.mark.parametrize("found", OURS, ids=lambda each: each.name)
def test_the_systems_own_are_refused(found: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.critical = found.name in MARKED
    assert refused(found, monkeypatch, kernel) == ("kernel-thread" if found.kernel else "critical-service")


@pytest.mark.parametrize(
    "found", OTHERS, ids=lambda each: f"{each.name} {each.exe.path} {each.owner.id} {each.session.session}"
)
@pytest.mark.parametrize("told", [True, False], ids=["unmarked", "marks unreadable"])
def test_what_looks_like_them_is_not(found: Process, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of path, user and session is another's, which is enough where nobody tells the marks, too."""
    kernel = Kernel(monkeypatch)
    if not told:
        kernel.refusals["IsProcessCritical"] = 5
    assert refused(found, monkeypatch, kernel) is None


@pytest.mark.parametrize("found", [each for each in OURS if each.name in MARKED], ids=lambda each: each.name)
def test_the_mark_decides_for_those_that_always_have_it(found: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    assert refused(found, monkeypatch, kernel) is None, "known to lack it: something else, started there as SYSTEM"
    kernel.refusals["IsProcessCritical"] = 5
    assert refused(found, monkeypatch, kernel) == "critical-service", "what could not be read speaks neither way"


def test_marks_are_read_when_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a target has none of them: they take calls that a plan alone needs."""
    kernel = Kernel(monkeypatch)
    anything = process("agent.exe", exe=Executable("C:\\Program Files\\Edr\\agent.exe"), windows=None)
    assert refused(anything, monkeypatch, kernel) is None
    kernel.critical = True
    assert refused(anything, monkeypatch, kernel) == "critical-service"
    kernel.critical, kernel.level = False, 0x31  # PPL, antimalware
    assert refused(anything, monkeypatch, kernel) == "critical-service"
