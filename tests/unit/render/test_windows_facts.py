"""What a page says of a Windows process."""

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process
from hostscope.model.windows import Charges, Job, Mitigation, Token, TokenGroup, TokenPrivilege, WindowsContext
from hostscope.render.windows_facts import windows_facts

PLAIN = Process(ProcessKey("b", 0, 8, 1), 4, "a.exe", windows=WindowsContext())


def told(process: Process) -> dict[str, str]:
    return {name: text for name, text in windows_facts(process) if text}


def test_other_systems_have_nothing_here() -> None:
    assert list(windows_facts(replace(PLAIN, windows=None))) == []


def test_facts() -> None:
    windows = WindowsContext(
        integrity="high",
        protection="ppl-antimalware",
        critical=True,
        architecture="x86",
        wow64=True,
        suspended=True,
        priority="high",
        token=Token(
            elevation="full",
            elevated=True,
            linked=True,
            logon_session="0:3e7",
            logon_type="interactive",
            privileges=(TokenPrivilege("SeA", "enabled"), TokenPrivilege("SeB", "disabled")),
        ),
        mitigations=(Mitigation("dep", ("enable",)), Mitigation("acg", ())),
        job=Job(True, True, "guid", ("kill-on-close",)),
        services=("A", "B"),
        memory=Charges(private_bytes=2048),
        gdi_objects=3,
        user_objects=4,
    )
    assert told(replace(PLAIN, windows=windows)) == {
        "architecture": "x86, under WOW64",
        "priority": "high",
        "suspended": "yes",
        "integrity": "high",
        "protection": "ppl-antimalware",
        "critical": "yes: its end stops the system",
        "elevation": "full, elevated, with a linked token",
        "logon session": "0:3e7 (interactive)",
        "enabled": "SeA",
        "may enable": "SeB",
        "mitigations": "dep (enable)",
        "job": "in one, of the Windows container guid, kill-on-close",
        "services": "A, B",
        "charges": "private 2.0K",
        "GUI objects": "3 of GDI, 4 of USER",
    }


def test_what_holds_a_token_back_or_lets_it_reach_further() -> None:
    groups = (
        TokenGroup("S-1-5-32-544", "BUILTIN\\Administrators", ("deny-only",)),
        TokenGroup("S-1-1-0", None, ("enabled",)),
    )
    token = Token(
        app_container="S-1-15-2-1", app_capabilities=("S-1-15-3-1", "S-1-15-3-2"), restricted=True, virtualised=True,
        ui_access=True, groups=groups, impersonating=(12, 16),
    )  # fmt: skip
    assert told(replace(PLAIN, windows=WindowsContext(token=token))) == {
        "AppContainer": "S-1-15-2-1",
        "capabilities": "S-1-15-3-1, S-1-15-3-2",
        "restricted": "yes",
        "virtualised": "yes: UAC redirects its writes to files and registry",
        "UI access": "yes: it may drive windows of higher integrity",
        "only to deny": "BUILTIN\\Administrators",
        "impersonating": "threads 12, 16",
    }


def test_what_could_not_be_read_says_why() -> None:
    denied = replace(PLAIN, gaps=(Gap("windows.integrity", Reason.DENIED, "no"),))
    assert "denied" in told(denied)["integrity"]
