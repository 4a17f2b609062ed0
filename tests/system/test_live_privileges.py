"""What live commands are still permitted once they run, by what the kernel says of each of their threads."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hostscope.platforms.linux.capabilities import mask, names
from hostscope.platforms.linux.live import LIVE, READ_OTHERS, WRITE_FILES
from hostscope.platforms.linux.parse import parse_security, parse_status
from hostscope.platforms.linux.privileges import read_held

pytestmark = [pytest.mark.system, pytest.mark.root]

DEADLINE_S = 60
STAYS_FOR_MODULES = "dac_read_search"
"""Stays in effect where Python's modules are in a private directory; see `Privileges.lower_all`."""


class Live(NamedTuple):
    """A live command, as typed."""

    words: str
    method: str | None = None
    settles: bool = True
    """Whether it gives up more once it has opened its sources."""
    writes: bool = False
    in_effect: tuple[str, ...] = ()
    """All the time: what is looked at comes too often for two lines of the trail each."""


COMMANDS = (
    Live("traffic --method accounting --interval 0.2 --format ndjson", "accounting"),
    Live("traffic --method wire --interval 0.2 --format ndjson", "wire", settles=False),
    Live("traffic --method capture --interval 0.2 --format ndjson", "capture"),
    Live("traffic --method polling --interval 0.2 --format ndjson", "polling"),
    Live("capture --interface lo --output OUTPUT", "named", writes=True),
    Live("capture --interface lo --no-processes --output OUTPUT", "unnamed", writes=True),
    Live("dns --watch --interface lo --format ndjson", "packet-ring"),
    Live("watch --method ring-buffer --format ndjson", "ring-buffer"),
    Live("watch --method proc-connector --format ndjson", "proc-connector", in_effect=READ_OTHERS),
    Live("watch --method polling --interval 0.2 --format ndjson", "polling"),
    Live("net --watch --interval 0.5 --format ndjson", settles=False),
    Live("interfaces --watch --interval 0.5 --format ndjson", settles=False),
    Live("ps --watch --interval 0.5 --format ndjson", settles=False),
)


class Running(NamedTuple):
    """A command that has opened its sources."""

    pid: int
    trail: Path

    def dropped(self) -> list[dict[str, Any]]:
        """What it told that it gave up."""
        return [line for line in self.recorded() if line["action"] == "privilege.drop"]

    def recorded(self) -> list[dict[str, Any]]:
        """Whole lines of its audit trail."""
        raw = self.trail.read_bytes() if self.trail.exists() else b""
        return [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith(b"\n")]

    def permitted(self) -> set[int]:
        """Masks of all its threads."""
        return {one.permitted for one in self._security()}

    def effective(self) -> set[int]:
        """The same of what is in effect."""
        return {one.effective for one in self._security()}

    def _security(self) -> list[Any]:
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                found.append(parse_security(parse_status((task / "status").read_bytes()).security))
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that has just ended
        return found


def until(condition: Callable[[], object], what: str) -> None:
    """Looks again and again."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@contextmanager
def running(live: Live, folder: Path) -> Iterator[Running]:
    words = [str(folder / "packets.pcapng") if word == "OUTPUT" else word for word in live.words.split()]
    trail = folder / "audit.jsonl"
    with (folder / "out").open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "hostscope", *words],
            env={**os.environ, "HOSTSCOPE_AUDIT": str(trail)}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        found = Running(child.pid, trail)
        until(lambda: len(found.dropped()) > live.settles or child.poll() is not None, "it gave nothing up")
        assert child.poll() is None, (folder / "out").read_text()
        yield found
        child.send_signal(signal.SIGINT)
        assert child.wait(DEADLINE_S) == 130, (folder / "out").read_text()
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("live", COMMANDS, ids=lambda live: live.words.replace(" ", "_"))
def test_only_what_its_look_ups_need_stays_permitted(live: Live, tmp_path: Path) -> None:
    kept = (*LIVE[live.words.split()[0]].kept(live.method), *(WRITE_FILES if live.writes else ()))
    ours = read_held().permitted
    with running(live, tmp_path) as found:
        allowed = (mask(kept) | mask([STAYS_FOR_MODULES])) & ours
        assert all(permitted & ~allowed == 0 for permitted in found.permitted()), list(map(names, found.permitted()))
        assert all(mask(kept) & ours & ~permitted == 0 for permitted in found.permitted())
        assert "NoNewPrivs:\t1\n" in Path(f"/proc/{found.pid}/status").read_text()
        stays = mask(live.in_effect) & ours
        until(lambda: found.effective() <= {stays, stays | mask([STAYS_FOR_MODULES])}, "privileges stay in effect")
    assert found.dropped()[-1]["outcome"] == "done"


@pytest.mark.parametrize("live", COMMANDS, ids=lambda live: live.words.replace(" ", "_"))
def test_nothing_that_was_given_up_is_wanted_again(live: Live, tmp_path: Path) -> None:
    with running(live, tmp_path) as found:
        end = time.monotonic() + 1.5  # a few looks
        until(lambda: time.monotonic() > end, "time passes")
    wanting = [line for line in found.recorded() if "not permitted" in line["outcome"]]
    assert [(line["why"], line["outcome"]) for line in wanting] == []


def test_every_live_command_and_method_is_tried() -> None:
    tried = {(live.words.split()[0], live.method) for live in COMMANDS}
    assert {(command, method) for command, live in LIVE.items() for method in live.keeps if method != "file"} <= tried
    assert LIVE.keys() - {command for command, _ in tried} == {"services"}, "services needs systemd: see test_services"


def test_execve_gives_nothing_back() -> None:
    script = """
import subprocess
from hostscope.platforms.linux.native import libc
libc.limit_permitted(1 << 13)
print(subprocess.run(["grep", "CapPrm", "/proc/self/status"], capture_output=True, text=True).stdout)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert names(int(told.split()[1], 16)) in ((), ("net_raw",))
