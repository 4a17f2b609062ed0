"""Real containers of runc, Podman and LXC, each removed by the test that made it."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hostscope.model.container import Container
from hostscope.platforms.linux.cgroups import CgroupPlace, parse_cgroup
from hostscope.platforms.linux.containers import Containers
from tests.system.commands import need

pytestmark = [pytest.mark.system, pytest.mark.root]

NAME = f"hostscope-test-{os.getpid()}"
GROUPS = ("unified", "systemd", "pids", "blkio", "freezer", "devices", "memory", "cpuset", "cpuacct", "cpu", "")


def run(*command: str, check: bool = True) -> str:
    """Output of a command that may leave a daemon behind: files, not pipes, so that nobody waits for it."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode != 0:
        pytest.skip(f"{command[0]} does not work here: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def until(condition: Callable[[], int | None], seconds: float = 60) -> int:
    deadline = time.monotonic() + seconds
    while (found := condition()) is None:
        assert time.monotonic() < deadline, "the container did not start"
        time.sleep(0.02)
    return found


def place_of(pid: int) -> CgroupPlace:
    return parse_cgroup(Path(f"/proc/{pid}/cgroup").read_bytes())


def remove_group(name: str) -> None:
    for hierarchy in GROUPS:
        with suppress(OSError):
            os.rmdir(f"/sys/fs/cgroup/{hierarchy}/{name}")


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system with nothing but a static busybox."""
    busybox = need("busybox", "busybox-static")
    root = tmp_path_factory.mktemp("image") / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    return root


@contextmanager
def contained(rootfs: Path, folder: Path, name: str, *arguments: str) -> Iterator[int]:
    """The first pid of a plain runc container, whose bundle is made in `folder`."""
    command = need("runc", "runc")
    run(command, "spec", "-b", str(folder))
    config = json.loads((folder / "config.json").read_text())
    config["process"].pop("rlimits", None)
    config["process"] |= {"terminal": False, "args": arguments}
    config["root"] = {"path": str(rootfs), "readonly": True}
    (folder / "config.json").write_text(json.dumps(config))
    try:
        with (folder / "log").open("wb") as log:
            done = subprocess.run(
                [command, "run", "-d", "-b", str(folder), name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60, check=False,
            )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"runc does not work here: {(folder / 'log').read_text()[-300:]}")
        yield json.loads(run(command, "state", name))["pid"]
    finally:
        run(command, "delete", "-f", name, check=False)


@pytest.fixture
def runc(rootfs: Path, tmp_path: Path) -> Iterator[int]:
    """The pid of the only process in a container."""
    with contained(rootfs, tmp_path, NAME, "/bin/sleep", "120") as pid:
        yield pid


def test_runc(runc: int) -> None:
    place = place_of(runc)
    assert place.path is not None
    assert place.container is None, "the path alone does not tell"
    before_ns = time.time_ns()
    found = Containers().at(place.path)
    assert found is not None
    assert (found.runtime, found.id, found.source) == ("runc", NAME, "state")
    assert found.started_at_ns is not None
    assert before_ns - 60 * 10**9 < found.started_at_ns < before_ns
    assert found in list(Containers().containers())


def test_runc_container_that_ended(runc: int) -> None:
    containers = Containers(max_age_s=0)
    place = place_of(runc)
    assert place.path is not None
    assert containers.at(place.path) is not None
    run("runc", "delete", "-f", NAME)
    assert containers.at(place.path) is None


class Podman:
    """One container in a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.command = need("podman", "podman")
        need("runc", "runc")
        self.storage = folder / "storage"
        self.options = (
            "--root", str(self.storage), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp"),
            "--runtime", "runc", "--cgroup-manager=cgroupfs", "--storage-driver=vfs", "--events-backend=file",
        )  # fmt: skip

    def __call__(self, *arguments: str, check: bool = True) -> str:
        return run(self.command, *self.options, *arguments, check=check).strip()


@pytest.fixture
def podman(rootfs: Path, tmp_path: Path) -> Iterator[Podman]:
    podman = Podman(tmp_path)
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(rootfs, arcname=".")
    podman("import", str(tmp_path / "image.tar"), "localhost/hostscope-test:1")
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
    try:
        podman("run", "-d", "--name", NAME, *limits, "--network", "none", "localhost/hostscope-test:1", "sleep", "120")
        yield podman
    finally:
        podman("rm", "-f", "-t", "0", NAME, check=False)
        remove_group("libpod_parent/conmon")
        remove_group("libpod_parent")


def test_podman(podman: Podman) -> None:
    pid, monitor, name = podman("inspect", NAME, "--format", "{{.State.Pid}} {{.State.ConmonPid}} {{.Id}}").split()
    place = place_of(int(pid))
    assert place.container == Container("podman", name)
    containers = Containers(storages=(str(podman.storage),))
    found = containers.describe(place.container)
    assert (found.name, found.image, found.source) == (NAME, "localhost/hostscope-test:1", "state")
    assert found.started_at_ns is not None
    assert abs(found.started_at_ns - time.time_ns()) < 120 * 10**9
    assert [other for other in containers.containers() if other.id == name] == [found]
    assert place_of(int(monitor)).container is None, "Podman's monitor runs outside"


def test_pod(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podman = Podman(tmp_path)
    settings = tmp_path / "containers.conf"  # `pod create` has no --ulimit
    settings.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(settings))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(rootfs, arcname=".")
    image, pod = "localhost/hostscope-test:1", f"{NAME}-pod"
    podman("import", str(tmp_path / "image.tar"), image)
    try:
        infra = ("--infra-image", image, "--infra-command", "/bin/sleep 120", "--network", "none", "--share", "uts")
        group = podman("pod", "create", "--name", pod, *infra)
        podman("run", "-d", "--pod", pod, "--name", NAME, image, "sleep", "120")
        pid, name = podman("inspect", NAME, "--format", "{{.State.Pid}} {{.Id}}").split()
        place = place_of(int(pid))
        assert place.container == Container("podman", name)
        containers = Containers(storages=(str(podman.storage),))
        found = containers.describe(place.container)
        assert (found.runtime, found.name, found.image, found.pod) == ("podman", NAME, image, pod)
        listed = {each.name: each.pod for each in containers.containers() if each.pod == pod}
        assert listed == {NAME: pod, f"{group[:12]}-infra": pod}
        (podman.storage / "libpod").rename(podman.storage / "away")
        assert Containers(storages=(str(podman.storage),)).describe(place.container).pod == group
        (podman.storage / "away").rename(podman.storage / "libpod")
    finally:
        podman("pod", "rm", "-f", "-t", "0", pod, check=False)
        podman("rm", "-f", "-t", "0", NAME, check=False)
        remove_group("libpod_parent/conmon")
        remove_group("libpod_parent")


@pytest.fixture
def lxc(rootfs: Path, tmp_path: Path) -> Iterator[int]:
    """The pid of the first process in an LXC container whose configuration is where LXC looks for it."""
    command = need("lxc-execute", "lxc")
    folder = Path("/var/lib/lxc") / NAME
    folder.mkdir(parents=True)
    settings = f"lxc.rootfs.path = dir:{rootfs}\nlxc.net.0.type = none\nlxc.uts.name = boxed\n"
    (folder / "config").write_text(settings)
    try:
        log = str(tmp_path / "log")
        run(command, "-n", NAME, "-f", str(folder / "config"), "-o", log, "-d", "--", "/bin/sleep", "120")
        yield until(_first_process)
    finally:
        run("lxc-stop", "-n", NAME, "-k", check=False)
        shutil.rmtree(folder)
        remove_group("lxc.pivot")


def _first_process() -> int | None:
    told = run("lxc-info", "-n", NAME, "-p", "-H", check=False).strip()
    return int(told) if re.fullmatch("[0-9]+", told) else None


def test_lxc(lxc: int, rootfs: Path) -> None:
    place = place_of(lxc)
    assert place.container == Container("lxc", NAME)
    found = Containers().describe(place.container)
    assert found == Container("lxc", NAME, "boxed", str(rootfs), source="state")
    assert found in list(Containers().containers())
    monitor = int(Path(f"/proc/{lxc}/stat").read_text().rpartition(")")[2].split()[1])
    assert place_of(monitor).container is None, "LXC's monitor runs outside"
