"""Tokens, privileges, jobs and keys of a real Windows: of ourselves and of children whose truth we know."""

import ctypes
import getpass
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostscope.model.gap import Reason
from hostscope.platforms.windows import antivirus, parse_token, registry, roles
from hostscope.platforms.windows.abilities import list_abilities
from hostscope.platforms.windows.containers import Containers
from hostscope.platforms.windows.host import open_host
from hostscope.platforms.windows.native import folders, handles, jobs, lsa, membership, protection, wtsapi
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.native.library import Library, failed
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, LPCWSTR, POINTER, PVOID, ULONG_PTR
from hostscope.platforms.windows.privileges import read_states
from hostscope.platforms.windows.security import Security
from hostscope.platforms.windows.security_context import SecurityContext, SecurityContexts
from tests.windows.children import Child
from tests.windows.missing import skip_missing, unless_missing, wine_version

EVERYTHING = frozenset({"owner", "groups", "security", "cgroup"})
DEBUG = "SeDebugPrivilege"
START = Callable[..., Child]
ADMINISTRATORS = "S-1-5-32-544"
TOKEN_ALL_ACCESS = 0xF01FF
CREATE_SUSPENDED = 0x4
KEY = f"Software\\hostscope-tests-{os.getpid()}"
WAITING = "say(); wait()"

advapi32 = Library("advapi32", {
    "ConvertSidToStringSidW": (BOOL, (PVOID, POINTER(PVOID))),
    "ConvertStringSidToSidW": (BOOL, (LPCWSTR, POINTER(PVOID))),
    "GetLengthSid": (DWORD, (PVOID,)),
    "CreateRestrictedToken": (
        BOOL, (HANDLE, DWORD, DWORD, PVOID, DWORD, PVOID, DWORD, PVOID, POINTER(HANDLE)),
    ),
    "CreateProcessAsUserW": (
        BOOL, (HANDLE, LPCWSTR, PVOID, PVOID, PVOID, BOOL, DWORD, PVOID, LPCWSTR, PVOID, PVOID),
    ),
    "RegCreateKeyExW": (DWORD, (ULONG_PTR, LPCWSTR, DWORD, LPCWSTR, DWORD, DWORD, PVOID, POINTER(ULONG_PTR), PVOID)),
    "RegSetValueExW": (DWORD, (ULONG_PTR, LPCWSTR, DWORD, DWORD, PVOID, DWORD)),
    "RegDeleteKeyW": (DWORD, (ULONG_PTR, LPCWSTR)),
    "RegCloseKey": (DWORD, (ULONG_PTR,)),
})  # fmt: skip
kernel32 = Library("kernel32", {
    "LocalFree": (HANDLE, (HANDLE,)),
    "CreateJobObjectW": (HANDLE, (PVOID, LPCWSTR)),
    "AssignProcessToJobObject": (BOOL, (HANDLE, HANDLE)),
    "WaitForSingleObject": (DWORD, (HANDLE, DWORD)),
    "ResumeThread": (DWORD, (HANDLE,)),
})  # fmt: skip


class STARTUPINFOW(ctypes.Structure):
    """Of CreateProcessAsUserW; all but its size is left to Windows."""

    _fields_ = (("cb", DWORD), ("rest", ctypes.c_ubyte * 100))


class PROCESS_INFORMATION(ctypes.Structure):
    """What CreateProcessAsUserW gives back."""

    _fields_ = (("hProcess", HANDLE), ("hThread", HANDLE), ("dwProcessId", DWORD), ("dwThreadId", DWORD))


def text_by_windows(sid: bytes) -> str:
    """ConvertSidToStringSidW."""
    found = PVOID()
    assert advapi32.ConvertSidToStringSidW(ctypes.create_string_buffer(sid, len(sid)), ctypes.byref(found))
    try:
        return ctypes.wstring_at(found.value or 0)
    finally:
        kernel32.LocalFree(found)


def bytes_by_windows(text: str) -> bytes:
    """ConvertStringSidToSidW."""
    found = PVOID()
    assert advapi32.ConvertStringSidToSidW(text, ctypes.byref(found))
    try:
        return ctypes.string_at(found.value or 0, advapi32.GetLengthSid(found))
    finally:
        kernel32.LocalFree(found)


def of(pid: int) -> SecurityContext:
    return SecurityContexts().of(pid, None, EVERYTHING)


SIDS = ("S-1-0-0", "S-1-1-0", "S-1-5-18", "S-1-5-32-544", "S-1-5-21-4294967295-1-2-1001", "S-1-16-12288",
        "S-1-15-2-1-2-3-4-5-6-7", "S-1-5-90-0-1", "S-1-5-83-1-1-2-3-4")  # fmt: skip


@pytest.mark.parametrize("text", SIDS)
def test_sids_are_written_as_windows_does(text: str) -> None:
    raw = bytes_by_windows(text)
    assert parse_token.sid_bytes(text) == raw
    assert parse_token.sid_text(raw) == text_by_windows(raw) == text


def test_our_own_token() -> None:
    found = of(os.getpid())
    token = found.token
    assert token and token.user_sid and found.owner and found.groups
    assert found.owner.id == token.user_sid
    assert (found.owner.name or "").rpartition("\\")[2].lower() == getpass.getuser().lower()
    assert "S-1-1-0" in {group.id for group in found.groups}
    everyone = next(group for group in token.groups or () if group.sid == "S-1-1-0")
    assert everyone.name == "Everyone" and "enabled" in everyone.attributes
    assert found.integrity in ("medium", "high", "system")
    assert token.elevation in ("default", "full", "limited") and token.app_container is None
    assert {held.name: held.state for held in token.privileges or ()} == dict(read_states())
    assert len(found.security.powers if found.security else ()) > 10


def test_a_child_has_our_token(child: START) -> None:
    ours, theirs = of(os.getpid()), of(child(WAITING).pid)
    assert (theirs.owner, theirs.groups, theirs.integrity) == (ours.owner, ours.groups, ours.integrity)
    assert theirs.token and ours.token and theirs.token.logon_session == ours.token.logon_session


def test_a_pid_of_nobody_is_gone() -> None:
    assert {gap.reason for gap in of(0x7FFFFFF0).gaps} == {Reason.GONE}


def test_every_missing_answer_has_its_gap() -> None:
    """What this Windows, or this Wine, does not tell is said field by field."""
    found = of(os.getpid())
    fields = {gap.field for gap in found.gaps}
    for name in ("protection", "critical", "secure", "mitigations"):
        assert (getattr(found, name) is None) == (f"windows.{name}" in fields), name
    assert found.token
    for name in ("ui_access", "restricted", "logon_type", "virtualised"):
        assert (getattr(found.token, name) is None) == (f"windows.token.{name}" in fields), name


def test_our_logon_session() -> None:
    with native.opened_own() as token, unless_missing():
        told = parse_token.parse_statistics(native.read_information(token, native.TokenStatistics).raw)
        high, _, low = told.logon_session.partition(":")
        assert lsa.read_logon(int(low, 16), int(high, 16)).kind in range(14)


def test_privileges_are_enabled_for_the_block_only(tmp_path: Path) -> None:
    privileges = open_host().privileges
    if DEBUG not in read_states():
        pytest.skip("we are not assigned SeDebugPrivilege here: run as an administrator")
    privileges.lower_all()
    assert privileges.held() == ("SeChangeNotifyPrivilege",)
    with privileges.using((DEBUG,), "see that it works"):
        assert DEBUG in privileges.held()
        seen = of(os.getpid()).token
        assert seen and {held.name: held.state for held in seen.privileges or ()}[DEBUG] == "enabled"
    assert DEBUG not in privileges.held()


LIMITED = """
from hostscope.platforms.windows.privileges import Privileges, read_states
from hostscope.audit import AuditTrail
from pathlib import Path
privileges = Privileges(AuditTrail(Path(sys.argv[1])))
before = sorted(read_states())
privileges.limit_to("ps")
say(before=before, after=sorted(read_states()), notes=list(privileges.notes)); wait()
"""


def test_what_a_live_command_gives_up_is_gone_for_good(child: START, tmp_path: Path) -> None:
    one = child(LIMITED, str(tmp_path / "audit.jsonl"))
    assert set(one.told["after"]) <= {"SeChangeNotifyPrivilege", DEBUG} < set(one.told["before"])
    token = of(one.pid).token
    left = {held.name for held in (token.privileges if token else None) or () if held.state != "removed"}
    assert left == set(one.told["after"]) and one.told["notes"] == []
    assert "privilege.drop" in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


def test_a_child_in_a_job_and_one_that_is_in_none(child: START) -> None:
    inside, outside = child(WAITING), child(WAITING)
    if of(outside.pid).job:
        pytest.skip("we are in a job ourselves, and so is every child")
    job = kernel32.CreateJobObjectW(None, None)
    access = handles.PROCESS_TERMINATE | 0x0100  # PROCESS_SET_QUOTA
    with handles.opened(inside.pid, access) as process:
        assert kernel32.AssignProcessToJobObject(job, process), failed("AssignProcessToJobObject")
    found = of(inside.pid)
    assert found.job and found.security and "job" in found.security.confined_by
    assert of(outside.pid).job is None
    assert jobs.read_limits(job) == 0
    handles.kernel32.CloseHandle(job)


@pytest.fixture
def restricted() -> Iterator[int]:
    """Our token without its privileges, and with Administrators only to deny: an ordinary user's."""
    made = HANDLE()
    with native.opened_own(TOKEN_ALL_ACCESS) as token, unless_missing():
        held = parse_token.parse_privileges(native.read_information(token, native.TokenPrivileges).raw)
        strong = [one for one in held if native.privilege_name(one.low, one.high) != "SeChangeNotifyPrivilege"]
        privileges = (native.LUID_AND_ATTRIBUTES * len(strong))()
        for into, one in zip(privileges, strong, strict=True):
            into.Luid = native.LUID(one.low, one.high)
        administrators = ctypes.create_string_buffer(parse_token.sid_bytes(ADMINISTRATORS))
        group = native.SID_AND_ATTRIBUTES(ctypes.addressof(administrators), 0)
        if not advapi32.CreateRestrictedToken(
            token, 0, 1, ctypes.byref(group), len(strong), privileges, 0, None, ctypes.byref(made)
        ):
            raise failed("CreateRestrictedToken")
    yield made.value or 0
    handles.kernel32.CloseHandle(made)


UNPRIVILEGED = """
import json, sys, pathlib
from hostscope.audit import AuditTrail
from hostscope.platforms.windows.abilities import list_abilities
from hostscope.platforms.windows.privileges import Privileges, read_states
from hostscope.platforms.windows.security import Security
folder = pathlib.Path(sys.argv[1])
trail = AuditTrail(folder / "audit.jsonl")
privileges = Privileges(trail)
with privileges.using(("SeDebugPrivilege",), "try"):
    held = privileges.held()
abilities = {one.name: one.available for one in list_abilities(read_states(), trail)}
gaps = {gap.field: gap.reason for gap in Security().state().gaps}
told = {"held": held, "abilities": abilities, "gaps": gaps, "trail": trail.path.exists()}
import os
os.environ["HOSTSCOPE_AUDIT"] = str(trail.path)
from hostscope.cli.main import main
def typed(*arguments):
    answer = folder / f"{arguments[0]}.answer"
    sys.argv = ["hostscope", *arguments, "--output", str(answer)]
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    return code or 0, answer.read_text(encoding="utf-8") if answer.exists() else ""
told["ps"] = typed("ps", "--format", "json", "--fields", "full")
told["inspect"] = typed("inspect", str(os.getpid()), "--format", "json")
told["dump"] = typed("dump", "999999996")
told["watch"] = typed("watch", "--method", "etw", "--duration", "1")
told["pid"] = os.getpid()
(folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
"""


@pytest.fixture
def unprivileged(restricted: int, tmp_path: Path) -> Iterator[SecurityContext]:
    """A Python with that token, as we saw it before it ran; it has written down what it can do."""
    script, told = tmp_path / "script.py", tmp_path / "told.json"
    script.write_text(UNPRIVILEGED, encoding="utf-8")
    command = subprocess.list2cmdline([sys.executable, "-X", "utf8", str(script), str(tmp_path)])
    startup, process = STARTUPINFOW(cb=ctypes.sizeof(STARTUPINFOW)), PROCESS_INFORMATION()
    places = (ctypes.byref(startup), ctypes.byref(process))
    line = ctypes.create_unicode_buffer(command)
    with unless_missing():
        if not advapi32.CreateProcessAsUserW(
            restricted, None, line, None, None, False, CREATE_SUSPENDED, None, None, *places
        ):
            raise failed("CreateProcessAsUserW")
    try:
        seen = of(process.dwProcessId)
        kernel32.ResumeThread(process.hThread)
        ended = kernel32.WaitForSingleObject(process.hProcess, 180_000)
        assert ended == 0 and told.exists()
        yield seen
    finally:
        handles.kernel32.CloseHandle(process.hProcess)
        handles.kernel32.CloseHandle(process.hThread)


def test_a_token_without_privileges(restricted: int) -> None:
    told = parse_token.parse_privileges(native.read_information(restricted, native.TokenPrivileges).raw)
    assert [native.privilege_name(held.low, held.high) for held in told] == ["SeChangeNotifyPrivilege"]
    answer = native.read_information(restricted, native.TokenGroups)
    groups = {
        parse_token.sid_text(one.sid): parse_token.group_words(one.attributes)
        for one in parse_token.parse_groups(*answer)
    }
    assert "deny-only" in groups.get(ADMINISTRATORS, ("deny-only",))


def test_an_unprivileged_run_degrades_field_by_field(unprivileged: SecurityContext, tmp_path: Path) -> None:
    token, security = unprivileged.token, unprivileged.security
    assert token and [held.name for held in token.privileges or ()] == ["SeChangeNotifyPrivilege"]
    powers = {power.name: power.granted for power in security.powers} if security else {}
    assert powers["read_other_memory"] is False and powers["administer_system"] is False
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert told["held"] == ["SeChangeNotifyPrivilege"] and not told["trail"]  # nothing to raise, nothing recorded
    assert told["abilities"]["full_detail"] is False and told["abilities"]["memory"] is False
    assert told["abilities"]["every_process"] and told["abilities"]["services"]
    assert set(told["gaps"].values()) <= {"denied", "unsupported"}


def test_commands_of_an_unprivileged_user_answer_as_far_as_they_may(
    unprivileged: SecurityContext, tmp_path: Path
) -> None:
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    code, text = told["ps"]
    answer = json.loads(text)
    row = next(row for row in answer["rows"] if row["key"]["pid"] == told["pid"])
    assert code == 0 and answer["coverage"]["denied"] == 0 and len(answer["rows"]) > 1
    assert [one["name"] for one in row["windows"]["token"]["privileges"]] == ["SeChangeNotifyPrivilege"]
    assert all(row["name"] and row["key"]["start"] for row in answer["rows"])
    reasons = {gap["reason"] for row in answer["rows"] for gap in row["gaps"]}
    assert reasons <= {"denied", "unsupported", "unavailable", "gone"}
    code, text = told["inspect"]
    assert code == 0 and json.loads(text)["inspection"]["process"]["key"]["pid"] == told["pid"]
    assert told["dump"][0] == 3  # nobody has that pid
    assert told["watch"][0] in (4, 6) and told["watch"][1] == ""  # denied, or no tracing at all: and no half answer


IMPERSONATING = """
import ctypes, threading
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.native.library import Library
from hostscope.platforms.windows.native.types import BOOL, DWORD, HANDLE, INT, POINTER
advapi32 = Library("advapi32", {"ImpersonateSelf": (BOOL, (INT,))})
kernel32 = Library("kernel32", {"GetCurrentThreadId": (DWORD, ())})
done = threading.Event()
def impersonate():
    ok = advapi32.ImpersonateSelf(2)
    say(tid=kernel32.GetCurrentThreadId(), ok=ok)
    done.wait()
thread = threading.Thread(target=impersonate); thread.start()
wait(); done.set(); thread.join()
"""


def test_a_thread_with_another_token(child: START) -> None:
    from hostscope.model.request import ProcessRequest

    one = child(IMPERSONATING)
    assert one.told["ok"]
    row = open_host().processes.read(one.pid, ProcessRequest(fields=EVERYTHING))
    assert row.windows and row.windows.token
    assert row.windows.token.impersonating == (one.told["tid"],)


def test_policies_of_a_process(child: START) -> None:
    found = of(child(WAITING).pid)
    assert found.mitigations is not None
    names = {policy.name for policy in found.mitigations}
    assert {"aslr", "cfg"} <= names
    if not any(policy.flags for policy in found.mitigations):
        skip_missing("GetProcessMitigationPolicy", "answers with no flags")
    assert any(policy.name == "aslr" and policy.flags for policy in found.mitigations)


@pytest.mark.parametrize("read", [protection.read_protection, protection.read_flags, protection.is_critical])
def test_marks_of_ourselves(read: Callable[[int], int]) -> None:
    with unless_missing():
        assert not int(read(handles.kernel32.GetCurrentProcess())) & 0x81


def test_nobody_is_recognised_by_name_alone(child: START) -> None:
    """A Python that calls itself a system process is none, nor is the very program when somebody else runs it."""
    one = child(WAITING)
    row = of(one.pid)
    root = folders.system_root()
    assert Path(root).is_dir() and root[1:3] == ":\\"
    user = row.owner.id if row.owner else None
    named = roles.Facts(one.pid, os.getpid(), "lsass.exe", "C:\\x\\lsass.exe", user, 1)
    assert roles.recognise(named, root) is None
    genuine = roles.Facts(one.pid, os.getpid(), "lsass.exe", f"{root}\\System32\\lsass.exe", user, 1)
    assert user != roles.SYSTEM and roles.recognise(genuine, root) is None
    assert roles.recognise(roles.Facts(4, 0, "System", None, None, 0), root)


@pytest.fixture
def key() -> Iterator[str]:
    """A key of our own, removed again."""
    yield f"HKCU\\{KEY}\\watched"
    for name in (f"{KEY}\\watched", KEY):
        advapi32.RegDeleteKeyW(CURRENT_USER, name)


CURRENT_USER = 0xFFFFFFFF80000001


def put(name: str, value: int) -> None:
    opened = ULONG_PTR()
    code = advapi32.RegCreateKeyExW(
        CURRENT_USER, f"{KEY}\\watched", 0, None, 0, 0xF003F, None, ctypes.byref(opened), None
    )
    assert code == 0
    raw = DWORD(value)
    assert advapi32.RegSetValueExW(opened, name, 0, 4, ctypes.byref(raw), 4) == 0
    advapi32.RegCloseKey(opened)


def test_values_are_read_and_their_changes_told(key: str) -> None:
    assert registry.read_values(key, ("x",)) == {} and registry.value_names(key) == ()
    stop = threading.Event()
    watched = registry.watch_values({key: ("x",)}, stop)
    put("x", 1)
    first = next(watched)
    assert (first.key, first.value, first.before, first.after) == (key, "x", None, "1")
    put("x", 2)
    second = next(watched)
    assert (second.before, second.after) == ("1", "2")
    stop.set()
    assert list(watched) == []
    assert registry.read_number(key, "x") == 2
    assert registry.value_names(key) == ("x",) and "watched" in registry.names_below(f"HKCU\\{KEY}")


def test_the_hosts_state() -> None:
    found = Security().state()
    fields = {gap.field for gap in found.gaps}
    for name in ("uac", "lsa_protection", "code_integrity", "secure_boot", "antivirus", "driver_signatures"):
        assert (getattr(found, name) is None) == (name in fields), name
    assert found.uac and found.antivirus is not None
    assert antivirus.read_products() is not None


def test_abilities_and_what_they_rest_on(tmp_path: Path) -> None:
    from hostscope.audit import AuditTrail

    told = {one.name: one for one in list_abilities(read_states(), AuditTrail(tmp_path / "audit.jsonl"))}
    assert told["administrator"].available == membership.is_administrator()
    assert told["full_detail"].available == (DEBUG in read_states())
    everyone, nobody = parse_token.sid_bytes("S-1-1-0"), parse_token.sid_bytes("S-1-5-21-9-9-9-9")
    assert membership.is_member(everyone) and not membership.is_member(nobody)
    assert all(one.available or one.lost for one in told.values())


def test_containers_of_a_host_without_any() -> None:
    if wine_version() is None:
        pytest.skip("a real Windows may have some")
    assert list(Containers().containers()) == []


def test_names_come_from_windows() -> None:
    with unless_missing():
        assert native.account_name(parse_token.sid_bytes("S-1-5-18")) == "NT AUTHORITY\\SYSTEM"
        assert native.account_name(parse_token.sid_bytes("S-1-5-21-9-9-9-9")) is None
    assert native.privilege_name(*native.privilege_number(DEBUG)) == DEBUG
    assert native.privilege_name(12345, 0) is None


def test_the_session_service_tells_the_same_owners(child: START) -> None:
    one = child(WAITING)
    with unless_missing():
        told = {owned.pid: owned for owned in wtsapi.owned_processes()}
    if told[one.pid].sid is None:
        skip_missing("WTSEnumerateProcessesW", "tells no users")
    token = of(one.pid).token
    assert token and parse_token.sid_text(told[one.pid].sid or b"") == token.user_sid
