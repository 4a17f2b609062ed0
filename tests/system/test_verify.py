"""`verify` on this very host: programs of packages, processes, images that were deleted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostscope import open_session
from hostscope.binaries.appended_signature import MARK
from hostscope.errors import Error
from hostscope.model.request import ProcessRequest
from hostscope.model.signature import Signature
from tests.unit.binaries.macho_builder import Recipe, build
from tests.unit.binaries.pe_builder import OSSLSIGNCODE, image, sign
from tests.unit.binaries.pki import NOW, pki, plain
from tests.unit.binaries.pki import sign as sign_message
from tests.unit.binaries.test_authenticode import FLAT, catalog
from tests.unit.collectors.test_bundles import make

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

    deadline = time.monotonic() + 60
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


WATCHED = """
import sys
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork")):
        print("FORBIDDEN", event, arguments, flush=True)
        import os
        os._exit(99)
sys.addaudithook(watch)
from hostscope.cli.main import main
sys.argv = ["hostscope", *sys.argv[1:]]
main()
"""


def test_nothing_is_fetched_and_no_program_is_asked(tmp_path: Path) -> None:
    """Every format and a process, as typed, in a program that ends when it makes a socket or starts another one."""
    (tmp_path / "root.pem").write_bytes(pki().root.pem)
    message = sign_message(b"module", plain().leaf, (plain().leaf, plain().issuer))
    trailer = b"\0\0\2\0\0\0\0\0" + len(message).to_bytes(4, "big") + MARK
    files = {
        "macho": build(Recipe(stamp=(pki().authority, NOW), ticket=b"ticket")),
        "x.ko": b"module" + message + trailer,
        "x.sh": b"#!/bin/sh\n",
    }
    if OSSLSIGNCODE:
        files |= {"x.exe": sign(tmp_path, image()), "x.cat": catalog(tmp_path, (FLAT, bytes(32)))}
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    app = make(tmp_path)
    listed = ("--catalog", str(tmp_path / "x.cat")) if OSSLSIGNCODE else ()
    targets = (*(str(tmp_path / name) for name in files), str(app), "/bin/sh", str(os.getpid()))
    command = [sys.executable, "-c", WATCHED, "verify", *targets, "--root", str(tmp_path / "root.pem"), *listed]
    done = subprocess.run([*command, "--format", "ndjson"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 10), done.stdout + done.stderr
    rows = [json.loads(line).get("row") for line in done.stdout.splitlines()]
    judged = {Path(row["path"]).name: row["status"] for row in rows if row}
    signed = {"macho", "x.ko", "x.exe", "x.cat", "Demo.app"} & judged.keys()
    assert len(judged) == len(targets) and {judged[name] for name in signed} == {"valid"}, judged
