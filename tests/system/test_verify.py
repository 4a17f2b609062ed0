"""`verify` on this very host: programs of packages, processes, images that were deleted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostscope import open_session
from hostscope.errors import Error
from hostscope.model.request import ProcessRequest
from hostscope.model.signature import Signature

pytestmark = pytest.mark.system

needs_dpkg = pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="no dpkg database")


def one(target: str) -> Signature:
    with open_session() as session:
        (found,) = session.verify([target]).rows()
    return found


@needs_dpkg
def test_a_program_is_as_its_package_brought_it() -> None:
    found = one("/bin/ls")
    assert (found.format, found.status, found.method, found.confidence) == ("elf", "valid", "package-digest", "low")
    assert found.hardening is not None and found.hardening.build_id


def test_a_copy_is_no_packages(tmp_path: Path) -> None:
    """Nobody vouches for it; that is an answer, and no finding."""
    shutil.copy("/bin/ls", tmp_path / "ls")
    assert one(str(tmp_path / "ls")).status == "unsigned"


def test_a_running_program_is_judged_by_its_image(tmp_path: Path) -> None:
    """Deleted: the path is gone, the image is not."""
    program = tmp_path / "sleeper"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "60"], stdout=subprocess.PIPE) as child:
        try:
            _wait_for_exec(child.pid, str(program))
            before = one(str(child.pid))
            assert before.key is not None and before.key.pid == child.pid
            assert (before.path, before.size_bytes) == (str(program), program.stat().st_size)
            program.unlink()
            program.write_bytes(b"#!/bin/sh\n")
            after = one(str(child.pid))
            assert (after.format, after.size_bytes) == ("elf", before.size_bytes)
        finally:
            child.kill()


def _wait_for_exec(pid: int, path: str) -> None:
    import time

    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{pid}/exe") != path:
        assert time.monotonic() < deadline


def test_every_process_on_request() -> None:
    request = ProcessRequest(fields=frozenset({"signature", "exe"}))
    with open_session() as session:
        rows = session.processes(request).rows()
    me = next(row for row in rows if row.key.pid == os.getpid())
    assert me.signature is not None
    assert me.signature.format == "elf" and me.signature.status in ("valid", "unsigned", "invalid")
    for row in rows:
        assert row.signature or row.kernel is not False or row.gaps or row.exe is None


@pytest.mark.root
def test_threads_that_hash_never_have_raised_privileges() -> None:
    """A sweep raises some; what is begun in its midst would keep them."""
    code = (
        "import os\n"
        "from hostscope import open_session\n"
        "from hostscope.model.request import ProcessRequest\n"
        "with open_session(lower=True) as session:\n"
        "    rows = session.processes(ProcessRequest(fields=frozenset({'signature'}))).rows()\n"
        "    assert any(row.signature for row in rows)\n"
        "    for task in os.listdir('/proc/self/task'):\n"
        "        status = open(f'/proc/self/task/{task}/status').read()\n"
        "        print(status.split('CapEff:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert len(set(done.stdout.split())) == 1, "every thread has what the main thread has now"


def test_as_typed() -> None:
    command = [sys.executable, "-m", "hostscope", "verify", "/bin/sh", str(os.getpid()), "--format", "ndjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["row", "row", "coverage"], done.stderr
    assert lines[0]["schema"] == "hostscope.signature/1"
    assert lines[1]["row"]["key"]["pid"] == os.getpid()


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(Error, match="no such process"):
        one(str(2**22 - 1))
