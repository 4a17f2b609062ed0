"""Who the system's own processes are, by made-up ones: a name alone proves nothing."""

import pytest
from msgspec.structs import replace

from hostscope.model.container import Container
from hostscope.model.key import ProcessKey
from hostscope.model.process import Account, Executable, Process, Session
from hostscope.model.windows import WindowsContext
from hostscope.platforms.windows import roles
from hostscope.platforms.windows.native.library import SystemRefused
from hostscope.platforms.windows.roles import KNOWN, NETWORK_SERVICE, SYSTEM, Facts, facts_of, recognise, role_of
from tests.unit.platforms.windows.scripted_security import Kernel

ROOT = "C:\\Windows"
ALICE = "S-1-5-21-1-2-3-1001"


def facts(name: str, path: str | None = None, **changes: object) -> Facts:
    known: dict[str, object] = {"pid": 700, "ppid": 600, "user": SYSTEM, "session": 0, "critical": False}
    place = path if path is not None else f"{ROOT}\\System32\\{name}"
    return Facts(name=name, path=place, **(known | changes))  # type: ignore[arg-type]


def word(found: Facts) -> str | None:
    recognised = recognise(found, ROOT)
    return recognised.word if recognised else None


LSASS = facts("lsass.exe", parent_path=f"{ROOT}\\System32\\wininit.exe")
CSRSS = facts("csrss.exe", critical=True, session=1)

GENUINE = [
    (LSASS, "lsass"),
    (CSRSS, "csrss"),
    (facts("smss.exe", critical=True, ppid=4), "smss"),
    (facts("wininit.exe", critical=True), "wininit"),
    (facts("services.exe", critical=True), "services"),
    (facts("winlogon.exe", session=1), "winlogon"),
    (facts("svchost.exe", user=NETWORK_SERVICE), "svchost"),
    # Services of a user.
    (facts("svchost.exe", user=ALICE, session=1, parent_path=f"{ROOT}\\System32\\services.exe"), "svchost"),
    (facts("dwm.exe", user="S-1-5-90-0-1", session=1), "dwm"),
    (facts("fontdrvhost.exe", user="S-1-5-96-0-0"), "fontdrvhost"),
    (facts("explorer.exe", f"{ROOT}\\explorer.exe", user=ALICE, session=2), "explorer"),
    (facts("LSASS.EXE", "c:\\WINDOWS\\system32\\LSASS.EXE"), "lsass"),
    (facts("MsMpEng.exe", "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4.18.1-0\\MsMpEng.exe"), "defender"),
    (facts("MsMpEng.exe", "C:\\Program Files\\Windows Defender\\MsMpEng.exe"), "defender"),
    (facts("vmwp.exe", user="S-1-5-83-1-1-2-3-4"), "vmwp"),
]


@pytest.mark.parametrize(("found", "expected"), GENUINE)
def test_the_systems_own(found: Facts, expected: str) -> None:
    assert word(found) == expected
    recognised = recognise(found, ROOT)
    assert recognised and (recognised.service or recognised.session) and recognised.because


IMPOSTORS = [
    facts("lsass.exe", "C:\\Users\\Public\\lsass.exe"),
    facts("lsass.exe", "C:\\Windows\\lsass.exe"),
    facts("lsass.exe", "C:\\Windows\\System32\\evil\\lsass.exe"),
    facts("lsass.exe", "C:\\WindowsX\\System32\\lsass.exe"),
    facts("lsass.exe", "D:\\Windows\\System32\\lsass.exe"),
    facts("lsass.exe", user=ALICE),  # the very program, started by somebody
    facts("lsass.exe", session=2),
    facts("lsass.exe", parent_path="C:\\Windows\\explorer.exe"),
    facts("csrss.exe", critical=False, session=1),
    facts("svchost.exe", "C:\\ProgramData\\svchost.exe"),
    facts("svchost.exe", parent_path="C:\\Windows\\System32\\cmd.exe"),
    facts("svchost.exe", user=ALICE, session=1),  # anybody may start it: its parent must be known
    facts("svchost.exe", user=ALICE, session=1, parent_path="C:\\Windows\\explorer.exe"),
    facts("dwm.exe", session=1),  # not as a window manager's account
    facts("winlogon.exe", session=0),
    facts("System", "C:\\Temp\\System", ppid=4),
    facts("MsMpEng.exe", "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\a\\b\\MsMpEng.exe"),
    facts("notepad.exe"),
]


@pytest.mark.parametrize("found", IMPOSTORS)
def test_what_only_looks_like_it(found: Facts) -> None:
    assert word(found) is None


def test_processes_of_the_kernel() -> None:
    system = Facts(4, 0, "System", None, SYSTEM, 0)
    assert word(system) == "system"
    assert word(replace(system, pid=90, ppid=4)) is None  # a name is not enough
    assert word(Facts(120, 4, "Registry", None, None, None)) == "registry"
    assert word(Facts(2000, 4, "MemCompression", None, SYSTEM, 0)) == "memory-compression"
    assert word(Facts(2000, 700, "Registry", None, SYSTEM, 0)) is None
    assert word(Facts(2000, 700, "lsass.exe", None, SYSTEM, 0)) is None


def test_what_could_not_be_read_speaks_neither_way() -> None:
    found = recognise(facts("csrss.exe", user=None, session=None, critical=None), ROOT)
    assert found and found.word == "csrss" and "its user could not be read" in found.because


def test_marks_that_only_the_kernel_gives() -> None:
    assert word(facts("x.exe", "C:\\x.exe", critical=True)) == "critical"
    assert word(Facts(9, 8, "x.exe", None, None, None, critical=True)) == "critical"
    assert word(facts("edr.exe", "C:\\Program Files\\Edr\\edr.exe", protection="ppl-antimalware")) == "antimalware"
    assert word(facts("x.exe", "C:\\x.exe", protection="pp-windows")) == "protected"
    assert word(facts("x.exe", "C:\\x.exe", protection="none")) is None


def test_paths_of_the_table_are_patterns_in_lower_case() -> None:
    for known in KNOWN:
        assert all(path == path.lower() and path[0] in "~?" for path in known.paths), known.word
        assert all(parent.startswith("~") for parent in known.parents), known.word


def process(**changes: object) -> Process:
    known: dict[str, object] = {
        "key": ProcessKey("boot", 0, 700, 1), "ppid": 600, "name": "lsass.exe",
        "exe": Executable(f"{ROOT}\\System32\\lsass.exe"), "owner": Account(SYSTEM, "NT AUTHORITY\\SYSTEM"),
        "session": Session(0, None, None), "windows": WindowsContext(protection="ppl-lsa", critical=False),
    }  # fmt: skip
    return Process(**(known | changes))  # type: ignore[arg-type]


def test_the_role_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.refusals["OpenProcess"] = 5  # its parent
    role = role_of(process())
    assert role and (role.name, role.service, role.session) == ("security authority", True, False)
    assert role.because == f"runs {ROOT}\\System32\\lsass.exe, as S-1-5-18, in session 0, protected as ppl-lsa"
    assert facts_of(process()).session == 0
    assert role_of(process(exe=Executable("C:\\x\\lsass.exe"), windows=None)) is None


@pytest.mark.parametrize(
    ("parent", "word"),
    [(f"{ROOT}\\system32\\SERVICES.EXE", "service host of a user"), ("C:\\x.exe", None), (None, None)],
)
def test_the_program_of_the_parent_decides(
    monkeypatch: pytest.MonkeyPatch, parent: str | None, word: str | None
) -> None:
    Kernel(monkeypatch)

    def image(process: int, flags: int) -> str:
        if parent is None:
            raise SystemRefused("QueryFullProcessImageNameW", 5)
        return parent

    monkeypatch.setattr(roles, "image_name", lambda process: image(process, 0))
    mine = process(
        name="svchost.exe", exe=Executable(f"{ROOT}\\System32\\svchost.exe"), owner=Account(ALICE, None),
        session=Session(1, None, None), windows=None,
    )  # fmt: skip
    role = role_of(mine)
    assert (role.name if role else None) == word


def test_a_process_in_a_container_has_no_role_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch)
    assert role_of(process(container=Container("docker", "abc"))) is None


def test_the_worker_of_a_machine_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch)
    worker = process(
        name="vmwp.exe",
        exe=Executable(f"{ROOT}\\System32\\vmwp.exe"),
        owner=Account("S-1-5-83-1-1-2-3-4", None),
        container=Container("hyper-v", "guid"),
        windows=None,
    )
    role = role_of(worker)
    assert role and role.name == "virtual machine"
