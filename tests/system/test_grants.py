"""Each capability of hostscope, enabled by the very line that `doctor` prints for it, and by no less.

Run as root: an ordinary user asks `doctor`, the line runs (without its ``sudo``), and the command must work by the
method that was promised; with any one capability left out it must not, and must say which is missing.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hostscope.collectors.attribution import UNCOUNTED
from hostscope.platforms.linux.ability_table import NEEDS
from tests.system.ordinary import WITHOUT, Ordinary, Run, ordinary

pytestmark = [pytest.mark.system, pytest.mark.root]

TARGET = """
import os, socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", 9))
while True:
    try: sender.send(b"packet")
    except ConnectionRefusedError: pass
    time.sleep(0.02)
"""
ISOLATED = "import sys; print('ready', flush=True); sys.stdin.readline()"


class Scene(NamedTuple):
    """Processes of root's, and who looks at them."""

    ordinary: Ordinary
    folder: Path
    pid: int
    """Listens, sends packets through the loopback interface, and holds a secret in its environment."""
    port: int
    unreadable: int
    """Runs a file that only root may read."""
    other_ns: int
    """A network namespace of a process of root's."""
    abilities: dict[str, dict[str, Any]]
    """What `doctor` told an ordinary user."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For everybody, where pytest's own folders are root's."""
    with tempfile.TemporaryDirectory(prefix="hostscope-grants-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture(scope="module")
def scene(folder: Path) -> Iterator[Scene]:
    runs = ordinary(folder)
    (folder / "rules.yar").write_text('rule r { strings: $a = "packet" condition: $a }')
    (folder / "rules.yar").chmod(0o644)
    doctor = runs.run(AS_USER, "doctor", "--format", "json")
    abilities = {one["name"]: one for one in doctor.document["host"]["abilities"]}
    environment = {"HOSTSCOPE_TEST_MARK": "yes"}
    target = [sys.executable, "-c", TARGET]
    secret = folder / "secret"
    shutil.copy("/bin/sleep", secret)
    secret.chmod(0o700)
    apart = ["unshare", "--net", sys.executable, "-c", ISOLATED]
    with (
        subprocess.Popen(target, stdout=subprocess.PIPE, text=True, env=environment) as child,
        subprocess.Popen([secret, "1000"]) as unreadable,
        subprocess.Popen(apart, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other,
    ):
        assert child.stdout and other.stdout and other.stdin
        try:
            port = int(child.stdout.readline())
            assert other.stdout.readline() == "ready\n"
            other_ns = Path(f"/proc/{other.pid}/ns/net").stat().st_ino
            yield Scene(runs, folder, child.pid, port, unreadable.pid, other_ns, abilities)
        finally:
            child.kill()
            unreadable.kill()
            other.stdin.close()


AS_USER = [word for word in WITHOUT if not word.startswith(("--bounding-set", "--inh-caps"))]
"""An ordinary user whom capabilities can be given to."""


class Trial(NamedTuple):
    """What is added to a command, and what shows that it worked as promised."""

    more: str
    worked: Callable[[Scene, Run], object]


def by(method: str) -> Callable[[Scene, Run], object]:
    return lambda scene, run: run.code == 0 and run.coverage.get("method") == method


def _detail(run: Run) -> dict[str, Any]:
    detail: dict[str, Any] = run.document.get("inspection", {}).get("detail", {})
    return detail


def _digest(scene: Scene, run: Run) -> str | None:
    rows = run.document.get("rows", ())
    return next((row.get("sha256") for row in rows if row.get("pid") == scene.unreadable), None)


def _socket_has_owner(scene: Scene, run: Run) -> bool:
    rows = [row for row in run.document.get("rows", ()) if (row.get("local") or {}).get("port") == scene.port]
    return by("diag")(scene, run) is True and any(row["owners"] for row in rows)


def _every_asker_is_known(scene: Scene, run: Run) -> bool:
    notes = run.coverage.get("notes", ["nothing was said"])
    return run.code == 0 and not any(UNCOUNTED in note for note in notes)


TRIALS: dict[str, Trial] = {
    "iterator": Trial("--format json", by("iterator")),
    "full_detail": Trial("--format json", lambda scene, run: _detail(run).get("open_files")),
    "environment": Trial("", lambda scene, run: "HOSTSCOPE_TEST_MARK" in str(_detail(run).get("environment"))),
    "digest": Trial("--format json", _digest),
    "sockets": Trial("--format json", by("iterator")),
    "socket_owners": Trial("--format json", _socket_has_owner),
    "network_namespaces": Trial(
        "--format json",
        lambda scene, run: any(row["net_ns"] == scene.other_ns for row in run.document.get("rows", ())),
    ),
    "traffic": Trial("--duration 0.2 --format json", by("accounting")),
    "traffic_wire": Trial("--duration 0.2 --format json", by("wire")),
    "traffic_capture": Trial("--duration 0.2 --format json", by("capture")),
    "capture": Trial("--interface lo --promiscuous --duration 0.1 --output OUTPUT --format json", by("packet-ring")),
    "packet_names": Trial(
        "--interface lo --duration 0.5 --output OUTPUT --format json",
        lambda scene, run: run.document.get("rows") and run.document["rows"][0]["named_packets"] > 0,
    ),
    "dns": Trial("--duration 0.1 --format json", by("packet-ring")),
    "dns_processes": Trial("--duration 0.1 --format json", _every_asker_is_known),
    "watch": Trial("--duration 0.1 --format ndjson", by("ring-buffer")),
    "watch_capabilities": Trial(
        "--duration 0.1 --format ndjson", lambda scene, run: "sys_exit" in str(run.coverage.get("effects"))
    ),
    "trace": Trial("--duration 0.2 --format ndjson", by("ebpf")),
    "trace_ptrace": Trial("--duration 0.2 --format ndjson", by("ptrace")),
    "dump": Trial("--output OUTPUT", lambda scene, run: run.code == 0),
    "registers": Trial("--output OUTPUT", lambda scene, run: run.code == 0),
    "scan": Trial("--format json", lambda scene, run: run.document.get("rows")),
    "acts": Trial("--yes", lambda scene, run: run.code == 0),
}
PRIVILEGED = [need for need in NEEDS if need.privileges]


def test_every_capability_that_takes_privileges_is_tried() -> None:
    assert {need.name for need in PRIVILEGED} == TRIALS.keys()


@pytest.fixture
def run_line(scene: Scene) -> Callable[[str, str, str | None], Run]:
    """Runs the line that enables a capability, as it is or with one of its capabilities left out."""

    def run(name: str, more: str, left_out: str | None) -> Run:
        words = shlex.split(scene.abilities[name]["enable"])
        assert words[0] == "sudo"
        at = words.index("hostscope")
        prefix = [_without(word, left_out) for word in words[1:at]]
        output = scene.folder / f"{name}-{left_out}"
        pid = scene.unreadable if name == "acts" else scene.pid  # which stays stopped
        given = {"PID": str(pid), "FILE": str(scene.folder / "rules.yar"), "OUTPUT": str(output)}
        return scene.ordinary.run(prefix, *(given.get(word, word) for word in [*words[at + 1 :], *more.split()]))

    return run


def _without(word: str, left_out: str | None) -> str:
    option, _, value = word.partition("=")
    if left_out is None or not option.endswith(("-caps", "-set")):
        return word
    kept = [one for one in value.split(",") if one != f"+{left_out}"]
    return f"{option}={','.join(kept) or '-all'}"


@pytest.mark.parametrize("name", TRIALS)
def test_an_ordinary_user_lacks_it_and_is_told_how_to_get_it(scene: Scene, name: str) -> None:
    told = scene.abilities[name]
    assert not told["available"]
    assert told["lost"] and told["enable"].startswith("sudo setpriv ")
    assert all(f"CAP_{one.upper()}" in told["detail"] for one in told["needs"])


@pytest.mark.parametrize("name", TRIALS)
def test_the_printed_line_enables_it(scene: Scene, name: str, run_line: Callable[..., Run]) -> None:
    run = run_line(name, TRIALS[name].more, None)
    assert TRIALS[name].worked(scene, run), (run.code, run.err, run.out[-2000:])


@pytest.mark.parametrize(("name", "left_out"), [(need.name, one) for need in PRIVILEGED for one in need.privileges])
def test_each_capability_is_needed_and_named(
    scene: Scene, name: str, left_out: str, run_line: Callable[..., Run]
) -> None:
    run = run_line(name, TRIALS[name].more, left_out)
    assert not TRIALS[name].worked(scene, run), (run.code, run.err, run.out[-2000:])
    assert f"CAP_{left_out.upper()}" in run.err + run.out


def test_units_are_understood_by_systemd(scene: Scene, folder: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed")
    units = {name: told["unit"] for name, told in scene.abilities.items() if told["unit"]}
    assert {"traffic", "watch", "capture", "dns"} <= units.keys()
    files = []
    for name, unit in units.items():
        files.append(folder / f"hostscope-{name}.service")
        files[-1].write_text(unit.replace("ExecStart=hostscope", "ExecStart=/bin/true") + "\n")
    done = subprocess.run([verify, "verify", *files], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "hostscope-" in line and "nobody" not in line]
    assert (done.returncode, complaints) == (0, [])


def test_under_no_new_privileges_as_in_the_unit_ambient_capabilities_hold(scene: Scene) -> None:
    raised = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--bounding-set=-all,+net_raw", "--no-new-privs"]
    run = scene.ordinary.run([*AS_USER, *raised], "dns", "--watch", "--duration", "0.1", "--format", "json")
    assert by("packet-ring")(scene, run), run.err
