"""A small host: init, the kernel, an ssh server with our session, a tree, a container, somebody else's."""

from pathlib import Path

import pytest

from hostscope.model.container import Container
from hostscope.model.linux import LinuxContext
from hostscope.model.response import Role
from hostscope.respond import act, signals
from tests.fake import ALICE, process
from tests.unit.respond.stage import OURS, Stage

SHOP = Container("docker", "c0ffee" * 10 + "beef", "shop")
SERVER = Role("ssh server", True, True, "runs /usr/sbin/sshd, which only root can write, as root, in ssh.service")
CARRIER = Role("ssh server", False, True, "runs /usr/sbin/sshd, which only root can write, as root")
MULTIPLEXER = Role("terminal multiplexer", False, True, "runs /usr/bin/tmux, which only root can write, as alice", True)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr("hostscope.respond.scene.getpid", lambda: OURS)
    monkeypatch.setattr(signals, "KILL_WAIT_S", 0.0)
    monkeypatch.setattr(signals, "STOP_WAIT_S", 0.02)
    monkeypatch.setattr(act, "KILL_WAIT_S", 0.0)
    made = Stage(
        [
            process(1, "init", 0),
            process(2, "kthreadd", 0, kernel=True, exe=None, argv=None),
            process(20, "sshd", 1),
            process(21, "sshd", 20),
            process(22, "tmux", 21, user=ALICE),
            process(25, "tmux", 1, user=ALICE),
            process(30, "bash", 25, user=ALICE),
            process(OURS, "hostscope", 30, user=ALICE),
            process(41, "sshd", 20),
            process(50, "daemon", 1, argv=("daemon", "--password=hunter2")),
            process(51, "worker", 50),
            process(52, "worker", 51),
            process(60, "shop", 1, container=SHOP, linux=LinuxContext(inner_pid=1)),
            process(61, "shop", 60, container=SHOP, linux=LinuxContext(inner_pid=7)),
            process(70, "done", 1, state="zombie"),
        ],
        tmp_path,
    )
    made.control.roles = {20: SERVER, 21: CARRIER, 41: CARRIER, 22: MULTIPLEXER, 25: MULTIPLEXER}
    made.host.containers.answers.containers = [SHOP]  # type: ignore[attr-defined]
    return made
