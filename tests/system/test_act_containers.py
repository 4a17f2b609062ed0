"""Containers ended and stopped as a whole: by their control group, and one look after the other."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hostscope.model.container import Container
from hostscope.model.response import ActRequest
from hostscope.platforms.linux import container_group
from hostscope.platforms.linux.host import open_host
from hostscope.platforms.linux.views import cgroup
from hostscope.session.local import LocalSession
from tests.system.test_acts import FORKS, act, child, members, shell, state, until
from tests.system.test_containers import contained, rootfs

pytestmark = [pytest.mark.system, pytest.mark.root]

__all__ = ["rootfs"]


@pytest.fixture
def session() -> LocalSession:
    return LocalSession(open_host())


ID = "5e" * 31 + "07"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of the unified hierarchy that is a container's by its name."""
    mount = next((path for path in container_group.UNIFIED if os.path.exists(f"{path}/cgroup.procs")), None)
    if mount is None or not os.access(mount, os.W_OK):
        pytest.skip("needs the unified hierarchy, and root")
    path = Path(mount, f"docker-{ID[:-4]}{os.getpid() % 10000:04d}.scope")
    path.mkdir()
    try:
        yield path
    finally:
        until(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


def test_a_container_is_ended_by_the_kernel_at_once(session: LocalSession, group: Path) -> None:
    name = group.name.removeprefix("docker-").removesuffix(".scope")
    with child(*shell(f"echo $$ > {group}/cgroup.procs; {FORKS}")) as target:
        until(lambda: len(members(target.pid)) > 10)
        found = container_group.find(target.pid, Container("docker", name))
        assert found == f"/{group.name}"
        done = act(session, "terminate", container=name)
        assert {outcome.result for outcome in done.outcomes} <= {"done", "gone"}
        assert members(target.pid) == []
        assert target.wait() == -signal.SIGKILL


def test_a_container_without_such_a_group_is_looked_through(
    session: LocalSession, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_group, "find", lambda *_: None)
    name = group.name.removeprefix("docker-").removesuffix(".scope")
    with child(*shell(f"echo $$ > {group}/cgroup.procs; {FORKS}")) as target:
        until(lambda: len(members(target.pid)) > 10)
        assert act(session, "suspend", container=name[:12]).complete
        assert {state(pid) for pid in members(target.pid)} == {"stopped"}
        done = act(session, "terminate", container=name)
        assert done.complete
        assert members(target.pid) == []


@pytest.fixture
def depths(group: Path) -> Iterator[Path]:
    """More groups below one another than Python nests calls, and the process' open files."""
    made = [group]
    try:
        for _ in range(1100):
            made.append(made[-1] / "d")
            made[-1].mkdir()
        yield made[-1]
    finally:
        until(lambda: not (made[-1] / "cgroup.procs").read_text())
        for path in reversed(made[1:]):
            path.rmdir()


def test_a_container_that_nests_its_groups_for_ever_is_ended(session: LocalSession, group: Path, depths: Path) -> None:
    name = group.name.removeprefix("docker-").removesuffix(".scope")
    with child(*shell(f"echo $$ > {depths}/cgroup.procs; {FORKS}")) as target:
        until(lambda: len(members(target.pid)) > 3)
        assert target.pid in cgroup().pids
        done = act(session, "terminate", container=name)
        assert {outcome.result for outcome in done.outcomes} <= {"done", "gone"}
        assert members(target.pid) == []


def test_groups_that_are_removed_during_the_look_are_left_out(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group / "gone").mkdir()
    listed = container_group._groups_in

    def removing(directory: int) -> list[str]:
        found = listed(directory)
        with suppress(FileNotFoundError):
            (group / "gone").rmdir()
        return found

    monkeypatch.setattr(container_group, "_groups_in", removing)
    with child(*shell(f"echo $$ > {group}/cgroup.procs; echo; sleep 60")) as target:
        assert container_group.kill("/" + group.name, target.pid)
        assert target.wait() == -signal.SIGKILL


def test_a_group_that_is_not_the_container_s_is_left_alone(group: Path) -> None:
    with child(*shell("echo; sleep 60")) as target:
        assert not container_group.kill("/" + group.name, target.pid), "it does not hold the member"
        assert not container_group.kill("/", target.pid), "it holds us"
        assert target.poll() is None


@pytest.fixture
def forking_container(rootfs: Path, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Name and first pid of a container of runc that keeps forking."""
    name = f"hostscope-act-{os.getpid()}"
    script = "while :; do /bin/busybox sleep 60 & /bin/busybox usleep 5000; done"
    with contained(rootfs, tmp_path, name, "/bin/busybox", "sh", "-c", script) as pid:
        yield name, pid


def test_a_container_of_runc_ends_as_a_whole(session: LocalSession, forking_container: tuple[str, int]) -> None:
    name, first = forking_container
    until(lambda: len(in_namespace_of(first)) > 10)
    (step,) = session.plan(ActRequest("terminate", (str(first),), dry_run=True)).steps
    assert [refusal.rule for refusal in step.refusals] == ["container-init"]
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    done = act(session, "terminate", container=name)
    assert {outcome.result for outcome in done.outcomes} <= {"done", "gone"}
    assert in_namespace(namespace) == []


def in_namespace_of(pid: int) -> list[int]:
    return in_namespace(os.readlink(f"/proc/{pid}/ns/pid"))


def in_namespace(link: str) -> list[int]:
    """Pids of a PID namespace that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == link and state(int(name)) != "zombie":
                    found.append(int(name))
    return found
