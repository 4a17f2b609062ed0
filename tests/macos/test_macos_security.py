"""Signatures, entitlements, sandboxes, System Integrity Protection, guests and bundles of a scripted Mac."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hostscope.model.gap import Reason
from hostscope.model.macos import Fact, MacosContext, Methods
from hostscope.model.process import Process
from hostscope.model.request import FULL, MacosOptions, ProcessRequest
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.native import errnos, libproc
from hostscope.platforms.macos.privileges import Privileges
from hostscope.platforms.macos.processes import Processes
from hostscope.platforms.macos.security import Security
from hostscope.platforms.tally import Tally
from tests.macos.scripted import GET_TASK_ALLOW, PLATFORM, RESTRICT, RUNTIME, VALID, Darwin
from tests.macos.test_processes import Nobody, make_bundle

XML = b"""<?xml version="1.0"?><plist version="1.0"><dict><key>com.apple.security.app-sandbox</key><true/>
<key>list</key><array><string>a</string><integer>2</integer></array></dict></plist>"""
TASK_FOR_PID_BIT = 1 << 2


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def der(**entries: bool) -> bytes:
    pairs = [tlv(0x30, tlv(0x0C, name.encode()), tlv(1, b"\xff" if on else b"\0")) for name, on in entries.items()]
    return tlv(0x70, tlv(2, b"\1"), tlv(0xB0, *pairs))


def row_of(darwin: Darwin, pid: int = 5, **options: Any) -> Process:
    request = ProcessRequest(fields=FULL, macos=MacosOptions(**options))
    rows = Processes(read_boot(), Privileges(identity=Nobody())).sweep(request, Tally())
    return next(row for row in rows if row.pid == pid)


def macos_of(darwin: Darwin, pid: int = 5, **options: Any) -> MacosContext:
    found = row_of(darwin, pid, **options).macos
    assert found is not None
    return found


def test_signature_as_the_kernel_tells_it(darwin: Darwin) -> None:
    darwin.add(5, csflags=VALID | RUNTIME | GET_TASK_ALLOW, team=b"ABCDE12345", identity=b"com.example.tool")
    signing = macos_of(darwin).signing
    assert signing is not None
    assert signing.flags == ("valid", "get-task-allow", "hardened-runtime")
    assert (signing.team_id, signing.identifier) == ("ABCDE12345", "com.example.tool")
    assert signing.cdhash == bytes(range(20)).hex()


def test_no_bit_of_the_status_is_passed_over(darwin: Darwin) -> None:
    """CS_KILLED, and CS_EXEC_SET_HARD, which has no name here."""
    darwin.add(5, csflags=VALID | 0x1000000 | 0x100000)
    signing = macos_of(darwin).signing
    assert signing is not None and signing.flags == ("valid", "killed", "bit-20")


def test_unsigned_programs_have_flags_only(darwin: Darwin) -> None:
    darwin.add(5, csflags=0)
    row = row_of(darwin)
    assert row.macos is not None and row.macos.signing is not None
    assert (row.macos.signing.flags, row.macos.signing.cdhash) == ((), None)
    assert [(gap.field, gap.reason) for gap in row.gaps] == [("macos.entitlements", Reason.UNAVAILABLE)]
    assert darwin.calls("CSOPS") == 1


def test_signature_without_team_is_no_gap(darwin: Darwin) -> None:
    darwin.add(5, identity=b"a.out")
    row = row_of(darwin)
    assert row.gaps == () and row.macos is not None and row.macos.signing is not None
    assert row.macos.signing.team_id is None


def test_entitlements_from_the_der_first(darwin: Darwin) -> None:
    darwin.add(5, der=der(first=True, second=False), xml=XML)
    found = macos_of(darwin).entitlements
    assert found is not None
    assert [(entry.name, json.loads(entry.value)) for entry in found] == [("first", True), ("second", False)]
    assert darwin.calls("CSOPS", 7) == 0


def test_entitlements_from_xml_where_there_is_no_der(darwin: Darwin) -> None:
    darwin.add(5, xml=XML)
    darwin.fail("CSOPS", errnos.EINVAL, detail=16)  # before macOS 12
    found = macos_of(darwin).entitlements
    assert found is not None
    assert {entry.name: json.loads(entry.value) for entry in found} == {
        "com.apple.security.app-sandbox": True,
        "list": ["a", 2],
    }


def test_none_and_empty_are_told_apart(darwin: Darwin) -> None:
    darwin.add(5)
    assert macos_of(darwin).entitlements == ()
    assert macos_of(darwin, collect_entitlements=False).entitlements is None


def test_entitlements_larger_than_the_buffer(darwin: Darwin) -> None:
    darwin.add(5, der=der(**{f"com.example.entitlement-{number:04}": True for number in range(1200)}))
    found = macos_of(darwin).entitlements
    assert found is not None and len(found) == 1200


def test_entitlements_that_make_no_sense(darwin: Darwin) -> None:
    darwin.add(5, der=b"\x70\x82\xff\xff nonsense")
    row = row_of(darwin)
    assert [(gap.field, gap.reason) for gap in row.gaps] == [("macos.entitlements", Reason.UNAVAILABLE)]


@pytest.mark.parametrize("flag", [0, 1])
def test_sandbox(darwin: Darwin, flag: int) -> None:
    darwin.add(5, sandboxed=flag)
    row = row_of(darwin)
    assert row.macos is not None and row.macos.sandboxed is bool(flag)
    assert row.security is not None and ("sandbox" in row.security.confined_by) is bool(flag)
    root = next(power for power in row.security.powers if power.name == "become_root")
    assert root.granted is (None if flag else True)


def test_responsible_process(darwin: Darwin) -> None:
    darwin.add(5, responsible=1)
    assert macos_of(darwin).responsible_pid == 1


@pytest.mark.parametrize(
    ("flags", "architecture", "translated"), [(0x4, 0x0100000C, False), (0x20004, 0x01000007, True)]
)
def test_rosetta(darwin: Darwin, flags: int, architecture: int, translated: bool) -> None:
    darwin.add(5, flags=flags, cputype=architecture, cpusubtype=3)
    found = macos_of(darwin)
    assert (found.translated, found.architecture) == (translated, "x86_64" if translated else "arm64")


ROOTLESS = b"""\t\t\t\t/Applications/App Store.app
TCC\t\t\t\t/Library/Application Support/com.apple.TCC
\t\t\t\t/System
*\t\t\t\t/System/Library/Caches
KernelExtensionManagement\t/Library/GPUBundles
*\t\t\t\t/usr/local
# symlinks
\t\t\t\t/etc
nonsense
"""


@pytest.fixture
def rootless(tmp_path: Path) -> Path:
    """The list of paths, as the system has it (fewer lines, and one that makes no sense)."""
    path = tmp_path / "rootless.conf"
    path.write_bytes(ROOTLESS)
    return path


def test_paths_that_sip_protects_are_those_of_the_systems_own_list(darwin: Darwin, rootless: Path) -> None:
    state = Security(rootless).state()
    assert state.sip_paths == (
        "/Applications/App Store.app", "/Library/Application Support/com.apple.TCC", "/System", "/Library/GPUBundles",
        "/etc",
    )  # fmt: skip
    assert state.sip_open_paths == ("/System/Library/Caches", "/usr/local")
    assert (state.sip_method, state.gaps) == ("kernel", ())


def test_without_that_list_no_path_is_guessed(darwin: Darwin, tmp_path: Path) -> None:
    state = Security(tmp_path / "none").state()
    assert (state.sip_paths, state.sip_open_paths, state.sip_allows) == (None, None, ())
    assert [(gap.field, gap.reason) for gap in state.gaps] == [("sip_paths", Reason.UNAVAILABLE)]


def test_sip_of_the_host_by_bit(darwin: Darwin, rootless: Path) -> None:
    state = Security(rootless).state()
    assert state.sip_allows == () and state.gaps == ()
    assert state.sip_blocks is not None and "changes of protected files" in state.sip_blocks
    assert state.sip_paths is not None and "/System" in state.sip_paths
    darwin.protection(1 << 1 | TASK_FOR_PID_BIT | 1 << 31)
    state = Security(rootless).state()
    assert state.sip_allows == ("unrestricted-filesystem", "task-for-pid", "bit-31")
    assert state.sip_blocks is not None and "changes of protected files" not in state.sip_blocks
    assert state.sip_paths == ()


def test_sip_that_is_refused_is_a_gap(darwin: Darwin) -> None:
    darwin.fail("CSR", errnos.EPERM)
    state = Security().state()
    assert state.sip_allows is None and state.gaps[0].reason is Reason.DENIED


@pytest.mark.parametrize(
    ("flags", "config", "protected", "debuggable", "because"),
    [
        (VALID | PLATFORM, 0, "platform binary", False, ("platform binary",)),
        (VALID | PLATFORM | RESTRICT, 0, "restricted", False, ("restricted", "platform binary")),
        (VALID | RUNTIME, 0, None, False, ("hardened runtime",)),
        (VALID | RUNTIME | GET_TASK_ALLOW, 0, None, True, ("get-task-allow",)),
        (VALID, 0, None, True, ("neither hardened nor a platform binary nor restricted",)),
        (0, 0, None, True, ("neither hardened nor a platform binary nor restricted",)),
        (
            VALID | PLATFORM | RESTRICT,
            TASK_FOR_PID_BIT,
            None,
            True,
            ("System Integrity Protection allows task-for-pid",),
        ),
    ],
)
def test_what_sip_and_the_hardened_runtime_shield(
    darwin: Darwin, flags: int, config: int, protected: str | None, debuggable: bool, because: tuple[str, ...]
) -> None:
    darwin.protection(config)
    darwin.add(5, csflags=flags)
    found = macos_of(darwin)
    assert (found.sip_protected.value if found.sip_protected else None) == protected
    assert (found.debuggable, found.debuggable_because) == (debuggable, because)
    assert found.sip_protected is None or found.sip_protected.method == "kernel"


def test_every_security_value_says_what_told_it(darwin: Darwin) -> None:
    darwin.add(1, ppid=0)
    darwin.add(5, responsible=1)
    assert macos_of(darwin).methods == Methods(*(["kernel"] * 6))
    switched_off = macos_of(darwin, **dict.fromkeys(
        ("collect_code_signing", "collect_entitlements", "check_sip_protection", "handle_sandboxed_processes"), False,
    ))  # fmt: skip
    assert switched_off.methods == Methods(responsible_pid="kernel", security="kernel")
    request = ProcessRequest(fields=frozenset({"exe"}))
    (row,) = (
        one for one in Processes(read_boot(), Privileges(identity=Nobody())).sweep(request, Tally()) if one.pid == 5
    )
    assert row.macos is not None and row.macos.methods is None


def test_without_sip_asked_nothing_is_derived_from_it(darwin: Darwin) -> None:
    darwin.add(5, csflags=VALID | PLATFORM)
    row = row_of(darwin, check_sip_protection=False)
    assert row.macos is not None and row.macos.sip_protected is None and row.macos.debuggable is None
    assert row.macos.debuggable_because is None
    assert row.security is not None
    powers = {power.name: power for power in row.security.powers}
    assert powers["load_kernel_code"].granted is None
    assert "System Integrity Protection is not known" in powers["inject_code"].because


def test_system_daemons_by_identity_and_not_by_name(darwin: Darwin) -> None:
    darwin.add(1, ppid=0, csflags=VALID | PLATFORM, identity=b"com.apple.xpc.launchd")
    darwin.add(5, ppid=1, comm=b"x", csflags=VALID | PLATFORM, identity=b"com.apple.WindowServer")
    darwin.add(6, ppid=1, comm=b"WindowServer", identity=b"com.apple.WindowServer", path=b"/tmp/WindowServer")
    darwin.add(7, ppid=600, csflags=VALID | PLATFORM, identity=b"com.apple.ls")
    daemon = macos_of(darwin, 5).system_daemon
    assert daemon is not None and (daemon.value, daemon.method) == ("WindowServer", "kernel")
    assert macos_of(darwin, 6).system_daemon is None  # anybody may call himself so
    assert macos_of(darwin, 7).system_daemon is None  # a user's ls
    assert macos_of(darwin, 1).system_daemon == Fact("launchd", "kernel")


def test_an_orphan_that_launchd_took_over_is_no_daemon(darwin: Darwin) -> None:
    """``nohup bash &`` of a shell that ended: Apple's program, and launchd is its parent now."""
    darwin.add(1, ppid=0)
    darwin.add(5, ppid=1, csflags=VALID | PLATFORM, identity=b"com.apple.bash", parent_unique=1_000_777)
    assert macos_of(darwin, 5).system_daemon is None


def test_who_started_it_is_not_guessed(darwin: Darwin) -> None:
    darwin.add(1, ppid=0)
    darwin.add(5, ppid=1, csflags=VALID | PLATFORM, identity=b"com.apple.configd")
    darwin.fail("PIDINFO", errnos.EINVAL, detail=libproc.PROC_PIDUNIQIDENTIFIERINFO)
    row = row_of(darwin)
    assert row.macos is not None and row.macos.system_daemon is None
    assert "macos.system_daemon" in [gap.field for gap in row.gaps]


def test_heuristics_only_when_asked_and_labelled(darwin: Darwin) -> None:
    darwin.add(1, ppid=0)
    darwin.add(5, ppid=1, path=b"/usr/libexec/configd", env=[b"XPC_SERVICE_NAME=com.apple.configd"])
    off = macos_of(darwin, collect_code_signing=False)
    assert (off.system_daemon, off.sip_protected, off.launchd_job) == (None, None, None)
    on = macos_of(darwin, collect_code_signing=False, heuristics=True)
    assert on.system_daemon is not None and on.sip_protected is not None
    assert (on.system_daemon.value, on.system_daemon.method) == ("configd", "heuristic")
    assert (on.sip_protected.value, on.sip_protected.method) == ("path /usr/libexec/configd", "heuristic")
    assert (on.launchd_job, on.launchd_job_method) == ("com.apple.configd", "heuristic")


def test_virtual_machines_by_identity(darwin: Darwin) -> None:
    framework = b"/System/Library/Frameworks/Virtualization.framework/x.xpc/com.apple.Virtualization.VirtualMachine"
    virtual = {"path": framework, "csflags": VALID | PLATFORM, "identity": b"com.apple.Virtualization.VirtualMachine"}
    darwin.add(4, team=b"9BNSXJN65R", identity=b"com.docker.docker")
    darwin.add(5, responsible=4, **virtual)
    darwin.add(6, **virtual)
    darwin.add(
        7, path=b"/tmp/com.apple.Virtualization.VirtualMachine", identity=b"com.apple.Virtualization.VirtualMachine"
    )
    docker = b"/Applications/Docker.app/Contents/MacOS/com.docker.virtualization"
    darwin.add(8, path=docker, team=b"9BNSXJN65R", identity=b"com.docker.virtualization")
    darwin.add(9, path=docker, team=b"9BNSXJN65R", identity=b"com.docker.virtualization", csflags=0x2)
    assert [macos_of(darwin, pid).guest for pid in (4, 5, 6, 7, 8, 9)] == [
        None, "Docker Desktop", "Virtualization.framework", None, "Docker Desktop", None,
    ]  # fmt: skip


def test_bundle(darwin: Darwin, tmp_path: Path) -> None:
    program = make_bundle(tmp_path)
    (program.parents[1] / "embedded.provisionprofile").write_bytes(b"")
    darwin.add(5, path=bytes(program))
    bundle = macos_of(darwin).bundle
    assert bundle is not None
    assert (bundle.identifier, bundle.name, bundle.version, bundle.agent) == ("com.example.some", "Some", None, True)
    assert bundle.path == str(tmp_path / "Some.app") and bundle.provisioned


def test_an_info_plist_that_is_no_file_is_not_waited_for(darwin: Darwin, tmp_path: Path) -> None:
    program = make_bundle(tmp_path)
    info = tmp_path / "Some.app" / "Contents" / "Info.plist"
    info.unlink()
    os.mkfifo(info)
    darwin.add(5, path=bytes(program))
    row = row_of(darwin)
    assert row.macos is not None and row.macos.bundle is None
    assert "macos.bundle" in [gap.field for gap in row.gaps]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"<!ENTITY x>", b"bplist00", b"x" * (2 << 20)])
def test_bundle_that_makes_no_sense(darwin: Darwin, tmp_path: Path, content: bytes) -> None:
    program = make_bundle(tmp_path)
    (program.parents[1] / "Info.plist").write_bytes(content)
    darwin.add(5, path=bytes(program))
    row = row_of(darwin)
    assert [(gap.field, gap.reason) for gap in row.gaps] == [("macos.bundle", Reason.UNAVAILABLE)]
