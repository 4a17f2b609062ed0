"""Running hostscope as somebody else: without privileges, or in namespaces of its own."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import hostscope
from hostscope.model.coverage import Coverage
from hostscope.model.process import Process
from tests.zoo import build

NOBODY = 65534
DEADLINE_S = 60
UNPRIVILEGED = (
    f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all"
)

ASK = """
import json, os, sys
import msgspec
from hostscope.errors import Error
from hostscope.model.request import ProcessRequest
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.tally import Tally

asked = json.loads(sys.argv[1])
processes = open_host().processes

def sweep(method, fields):
    tally = Tally()
    rows = list(processes.sweep(ProcessRequest(fields=frozenset(fields), method=method), tally))
    return {"rows": rows, "coverage": tally.coverage(frozenset(fields))}

def attempt(act):
    try:
        return act()
    except Error as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}

answer = {"pid": os.getpid(), **sweep("proc", asked["fields"])}
answer["iterator"] = attempt(lambda: bool(sweep("iterator", asked["fields"])))
reads = {pid: attempt(lambda: processes.read(pid, ProcessRequest())) for pid in asked["read"]}
answer["reads"] = {pid: read if isinstance(read, dict) else "read" for pid, read in reads.items()}
sys.stdout.buffer.write(msgspec.json.encode(answer))
"""


class Answer(msgspec.Struct):
    """What hostscope says from there."""

    pid: int
    """Its own, as it sees itself."""
    rows: list[Process]
    coverage: Coverage
    iterator: Any
    """True, or how the iterator was refused."""
    reads: dict[int, Any]
    """By pid: ``read``, or the error."""

    def row(self, pid: int) -> Process:
        """The only row of a pid."""
        (found,) = (row for row in self.rows if row.pid == pid)
        return found


def ask(
    fields: frozenset[str],
    *,
    read: tuple[int, ...] = (),
    user: str = "",
    mount: str = "true",
    namespaces: str = "--mount",
) -> Answer:
    """Sweeps and reads from another place; `mount` is run there first, `user` is a prefix that changes it.

    The interpreter and the packages are bound below a directory that everyone may enter, in a mount namespace that
    ends with the process: they may lie in a private home.
    """
    for tool in ("unshare", "setpriv", "mount"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (util-linux)")
    stage = build.directory() / "stage"
    places = {
        "python": sys.base_prefix,
        "src": Path(hostscope.__file__).parents[1],
        "site": Path(msgspec.__file__).parents[1],
    }
    for place in places:
        (stage / place).mkdir(parents=True, exist_ok=True)
    binds = [f"mount --bind {shlex.quote(str(source))} {stage / place}" for place, source in places.items()]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    asked = msgspec.json.encode({"fields": sorted(fields), "read": read}).decode()
    command = shlex.join([str(stage / "python" / "bin" / version), "-B", "-c", ASK, asked])
    script = " && ".join([*binds, mount, f"exec {user} {command}"])
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "HOSTSCOPE_AUDIT": str(stage / "audit.jsonl"),
        "PYTHONHOME": str(stage / "python"),
        "PYTHONPATH": f"{stage / 'src'}:{stage / 'site'}",
        "LD_LIBRARY_PATH": str(stage / "python" / "lib"),
    }
    apart = ["unshare", *namespaces.split(), "sh", "-c", script]
    outcome = subprocess.run(apart, env=environment, capture_output=True, timeout=DEADLINE_S, check=False)
    assert outcome.returncode == 0, outcome.stderr.decode()
    return msgspec.json.decode(outcome.stdout, type=Answer)
