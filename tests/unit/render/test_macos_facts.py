"""A Mac's process on its page."""

from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.macos import Bundle, CodeSigning, Entitlement, Fact, MacosContext
from hostscope.model.process import Process
from hostscope.render.macos_facts import macos_facts


def shown(macos: MacosContext | None, *gaps: Gap) -> dict[str, str | None]:
    return dict(macos_facts(Process(ProcessKey("b", 0, 5, 1), 1, "x", macos=macos, gaps=gaps)))


def test_other_systems_show_nothing() -> None:
    assert shown(None) == {}


def test_a_whole_context() -> None:
    found = shown(
        MacosContext(
            CodeSigning(("valid", "hardened-runtime"), "ab12", "TEAM", "com.example"),
            (Entitlement("com.apple.security.app-sandbox", "true"),),
            sandboxed=True, architecture="x86_64", translated=True, responsible_pid=4, coalition=7,
            bundle=Bundle("/A.app", "com.example", "A", "1.2", "3", True, True), launchd_job="job",
            system_daemon=Fact("configd", "heuristic"), sip_protected=Fact("restricted", "kernel"), debuggable=False,
            debuggable_because=("hardened runtime",),
            footprint_bytes=2048, energy_nj=1_500_000_000, guest="Docker Desktop",
        )
    )  # fmt: skip
    assert found["architecture"] == "x86_64, under Rosetta"
    assert found["signature"] == "com.example, team TEAM, cdhash ab12, valid hardened-runtime"
    assert found["entitlements"] == "com.apple.security.app-sandbox = true"
    assert (found["sandboxed"], found["debuggable"], found["responsible"]) == ("yes", "no (hardened runtime)", "4")
    assert (found["system daemon"], found["protected"]) == ("configd (heuristic)", "restricted")
    assert found["bundle"] == "com.example, version 1.2, build 3, without a window, provisioned"
    assert found["launchd job"] == "job"
    assert (found["energy"], found["virtual machine"]) == ("1.500 J", "Docker Desktop")


def test_what_is_guessed_says_so() -> None:
    found = shown(MacosContext(launchd_job="job", launchd_job_method="heuristic", debuggable=True))
    assert (found["launchd job"], found["debuggable"]) == ("job (heuristic)", "by root")


def test_what_was_refused_is_not_what_is_empty() -> None:
    empty = shown(MacosContext(CodeSigning(()), ()))
    assert (empty["entitlements"], empty["signature"]) == ("none", "unsigned")
    denied = shown(MacosContext(), Gap("macos.entitlements", Reason.DENIED), Gap("macos.signing", Reason.DENIED))
    assert "denied" in (denied["entitlements"] or "") and "denied" in (denied["signature"] or "")
