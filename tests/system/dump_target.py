"""The program whose dumps are tested, and what tests ask of it."""

import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostscope.dumps.manifest import parse_manifest
from hostscope.model.dump import Dump, DumpRequest, Manifest
from hostscope.model.process import Process
from hostscope.model.request import ProcessRequest
from hostscope.platforms import open_host
from hostscope.respond.preserve import dump
from tests.system.commands import need

HOST = open_host()
PAGE = mmap.PAGESIZE


@dataclass
class Target:
    """The C program: its process, and the addresses that it told."""

    child: "subprocess.Popen[str]"
    secret: int
    variable: int

    @property
    def process(self) -> Process:
        return HOST.processes.read(self.child.pid, ProcessRequest())


@contextmanager
def built() -> Iterator[str]:
    """The path of the compiled program."""
    compiler = need("gcc", "gcc")
    folder = tempfile.mkdtemp(prefix="hostscope-dump-")  # other users may run it
    path = Path(folder, "dump_target")
    source = Path(__file__).with_name("dump_target.c")
    subprocess.run([compiler, "-g", "-O1", "-pthread", "-o", str(path), str(source)], check=True)
    os.chmod(folder, 0o755)
    yield str(path)
    shutil.rmtree(folder)


@contextmanager
def running(program: str, threads: int = 1, **options: Any) -> Iterator[Target]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([program, str(threads)], **pipes, **options) as child:
        assert child.stdin and child.stdout
        secret, variable = (int(word, 16) for word in child.stdout.readline().split())
        try:
            yield Target(child, secret, variable)
        finally:
            child.stdin.close()


def dumped(pid: int, path: Path, **request: Any) -> tuple[Dump, Manifest]:
    (row,) = dump(HOST, [str(pid)], DumpRequest(**request), str(path)).rows()
    assert row.file == str(path)
    return row, parse_manifest(Path(f"{path}.json").read_bytes())


def status(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def runs(tid: int) -> bool:
    """Whether a thread is neither stopped nor traced."""
    return status(tid, "State")[0] in "SR" and status(tid, "TracerPid") == "0"


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
