"""Real capabilities: raised, lowered, given by the commands that `doctor` prints. Threads have their own."""

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostscope.audit import AuditTrail
from hostscope.platforms.linux.abilities import setpriv_line
from hostscope.platforms.linux.capabilities import names
from hostscope.platforms.linux.native import libc
from hostscope.platforms.linux.parse import parse_ids, parse_security, parse_status
from hostscope.platforms.linux.privileges import Privileges, ourselves, read_held
from tests.system.told_child import NOBODY, run_told, told_child

pytestmark = pytest.mark.system

ASK = """
import os
from pathlib import Path
from hostscope.audit import AuditTrail
from hostscope.platforms.linux.privileges import Privileges
held = Privileges(AuditTrail(Path("/nonexistent/audit.jsonl")))
before = held.held()
held.lower_all()
lowered = held.held()
with held.using(("bpf", "sys_ptrace", "net_raw"), "test"):
    raised = held.held()
told = {
    "uid": os.getuid(), "before": before, "lowered": lowered, "raised": raised, "after": held.held(),
    "notes": held.notes, "abilities": {one.name: (one.available, one.enable) for one in held.abilities()},
}
"""


def in_thread(work: Callable[[], Any]) -> Any:
    """Capabilities are a thread's own: what is lowered in here, pytest keeps."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_masks_agree_with_the_system_call() -> None:
    effective, permitted, _ = libc.get_capabilities()
    assert (read_held().effective, read_held().permitted) == (effective, permitted)


@pytest.mark.root
def test_threads_have_their_own() -> None:
    def lower() -> int:
        libc.set_effective(0)
        return read_held().effective

    before = read_held().effective
    assert in_thread(lower) == 0
    assert read_held().effective == before


def test_what_is_not_permitted_cannot_be_raised() -> None:
    script = """
from hostscope.platforms.linux.native import libc
try: libc.set_effective(1 << 21); told = "raised"
except PermissionError as refused: told = refused.strerror
"""
    assert run_told(script, drop=os.geteuid() == 0) == "Operation not permitted"


def reaching(line: str) -> list[str]:
    """What comes before ``hostscope`` in a printed line, if the user that it changes to can run this interpreter."""
    words = shlex.split(line)
    command = words[1 : words.index("hostscope")]
    tried = subprocess.run([*command, sys.executable, "-c", "import msgspec, hostscope"], check=False)
    if tried.returncode:
        pytest.skip("this interpreter lies where other users cannot reach it")
    return command


@pytest.mark.root
def test_the_printed_command_gives_these_capabilities_and_no_others() -> None:
    command = shlex.split(setpriv_line(("bpf", "perfmon", "sys_ptrace"), NOBODY, NOBODY, ["cat", "/proc/self/status"]))
    assert command[0] == "sudo"
    status = subprocess.run(command[1:], check=True, capture_output=True).stdout
    held = parse_security(parse_status(status).security)
    assert parse_ids(parse_status(status).ids).uids == (NOBODY,) * 4
    assert names(held.effective) == names(held.permitted) == names(held.ambient) == ("sys_ptrace", "perfmon", "bpf")


@pytest.mark.root
def test_under_the_printed_command_steps_raise_what_they_need() -> None:
    told = run_told(
        ASK, prefix=reaching(setpriv_line(("bpf", "perfmon", "sys_ptrace"), NOBODY, NOBODY, ["hostscope", "ps"]))
    )
    assert told["uid"] == NOBODY
    assert told["before"] == ["sys_ptrace", "perfmon", "bpf"]
    assert (told["lowered"], told["raised"], told["after"]) == ([], ["sys_ptrace", "bpf"], [])
    assert told["abilities"]["full_detail"][0] is False


@pytest.mark.root
def test_the_command_printed_for_an_ability_makes_it_available() -> None:
    enable = run_told(ASK, drop=True)["abilities"]["full_detail"][1]
    command = reaching(enable)
    assert run_told(ASK, prefix=command)["abilities"]["full_detail"] == [True, None]


@pytest.mark.root
def test_a_user_without_privileges_is_told_what_is_missing() -> None:
    told = run_told(ASK, drop=True)
    assert told["before"] == told["raised"] == []
    assert told["notes"] == []
    abilities = told["abilities"]
    assert [name for name in ("full_detail", "environment", "digest") if abilities[name][0]] == []
    assert abilities["audit_trail"][0] is False
    assert abilities["pidfd"][0] is True


@pytest.mark.root
def test_raising_is_what_opens_others_files(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl", ourselves())
    held = Privileges(trail)

    def read(pid: int) -> tuple[str, int, tuple[str, ...]]:
        held.lower_all()
        try:
            lowered = str(len(Path(f"/proc/{pid}/environ").read_bytes()))
        except PermissionError as refused:
            lowered = refused.strerror or ""
        with held.using(("sys_ptrace", "dac_read_search"), "read the child"):
            raised = len(Path(f"/proc/{pid}/environ").read_bytes())
        return lowered, raised, held.held()

    with told_child("told = 0", drop=True) as (pid, _):
        lowered, raised, after = in_thread(lambda: read(pid))
    assert (lowered, after) == ("Permission denied", ("root",))
    assert raised > 0
    assert trail.verify() is None
    up, down = (json.loads(line) for line in trail.path.read_bytes().splitlines())
    assert (up["before"], up["after"], down["after"]) == ("", "dac_read_search sys_ptrace", "")
    assert up["who"]["uid"] == 0 and up["who"]["pid"] == os.getpid()


@pytest.mark.root
def test_lowered_capabilities_stay_permitted() -> None:
    def lower() -> tuple[int, int]:
        Privileges(AuditTrail(Path("/nonexistent"))).lower_all()
        return read_held().effective, read_held().permitted

    assert in_thread(lower) == (0, read_held().permitted)


def test_held_is_what_the_kernel_says() -> None:
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:\t")[1].split("\n")[0], 16)
    root = ("root",) if os.geteuid() == 0 else ()
    assert Privileges().held() == root + names(effective)


def test_ourselves_says_who_logged_in() -> None:
    login = int(Path("/proc/self/loginuid").read_text())
    who = ourselves()
    assert (who.uid, who.pid) == (os.geteuid(), os.getpid())
    assert who.login_uid == (None if login == 2**32 - 1 else login)


def test_the_privileges_module_needs_no_ctypes_until_it_raises() -> None:
    script = """
import sys
from hostscope.platforms.linux.privileges import Privileges
Privileges().held()
told = [name for name in ("ctypes", "hashlib") if name in sys.modules]
"""
    assert run_told(script) == []


PLAIN_ROWS = """
from hostscope import open_session
from hostscope.model.request import ProcessRequest
from hostscope.platforms.linux.processes import OPEN_TO_ALL
with open_session() as session:
    answer = session.processes(ProcessRequest(fields=OPEN_TO_ALL - {"ancestry"}, method="proc"))
    others = [row for row in answer if row.owner.id == "0" and not row.kernel]
    told = {
        "denied": answer.coverage.denied, "hidden": answer.coverage.hidden, "others": len(others),
        "gaps": [gap.field for row in others for gap in row.gaps if gap.reason == "denied"],
    }
"""


@pytest.mark.root
def test_fields_that_are_open_to_all_are_read_whole_without_privileges() -> None:
    told = run_told(PLAIN_ROWS, drop=True, before="import grp, pwd\n")
    if told["hidden"]:
        pytest.skip("/proc is mounted with hidepid")
    assert (told["denied"], told["gaps"]) == (0, [])
    assert told["others"]
