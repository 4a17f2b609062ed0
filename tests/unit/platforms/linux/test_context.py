"""What processes share, and what follows from it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.container import Container
from hostscope.model.process import Account
from hostscope.model.request import FULL
from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import context
from hostscope.platforms.linux.context import NAMESPACES, ContextFacts, Contexts
from hostscope.platforms.linux.parse import INITIAL_USER_NS, NO_ID, Credentials, SecurityLines
from hostscope.platforms.posix_accounts import Accounts

HOST = {name: 4_026_531_000 + index for index, name in enumerate(NAMESPACES)} | {"user": INITIAL_USER_NS}
FACTS = ContextFacts(
    credentials=Credentials((1, 2, 3, 4), (5, 6, 7, 8)),
    groups=(9, 10),
    security=SecurityLines(0, 1 << 13, 1 << 13, 1 << 13, 0, True, "filter"),
    login_uid=1000,
    audit_session=3,
    label="docker-default (enforce)",
    namespaces=tuple(HOST[name] for name in NAMESPACES),
    cgroup=b"0::/system.slice/ssh.service\n",
    tracer=0,
    inner_pid=None,
    oom_score=666,
    oom_score_adj=-5,
)


class Runtimes:
    """Knows every container's name, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def describe(self, container: Container) -> Container:
        self.asked += 1
        return Container(container.runtime, container.id, name="web", source="state")

    def containers(self) -> list[Container]:  # pragma: no cover - not asked for here
        return []


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "read_host_namespaces", lambda: HOST)


def contexts(wanted: frozenset[str] = FULL, runtimes: Runtimes | None = None) -> Contexts:
    return Contexts(Accounts(), runtimes, HostSecurity(), wanted)  # type: ignore[arg-type]


def test_facts_become_records() -> None:
    found = contexts().build("mark", FACTS)
    assert found.owner and found.owner.id == "2"
    assert found.ids and found.ids.fs_user and (found.ids.user.id, found.ids.fs_user.id) == ("1", "4")
    assert found.ids.fs_group and (found.ids.group.id, found.ids.fs_group.id) == ("5", "8")
    assert found.groups and [group.id for group in found.groups] == ["9", "10"]
    assert found.service and found.service.name == "ssh.service"
    linux = found.linux
    assert linux.capabilities and linux.capabilities.effective == ("net_raw",)
    assert (linux.no_new_privs, linux.seccomp, linux.lsm_label) == (True, "filter", "docker-default (enforce)")
    assert (linux.login_uid, linux.audit_session, linux.cgroup) == (1000, 3, "/system.slice/ssh.service")
    assert (linux.oom_score, linux.oom_score_adj, linux.tracer_pid, linux.inner_pid) == (666, -5, None, None)
    assert found.security and found.security.granted == ("raw_network",)


def test_nothing_known_is_nothing_said() -> None:
    found = contexts().build("mark", ContextFacts())
    assert found[:6] == (None,) * 6
    assert all(getattr(found.linux, name) is None for name in found.linux.__struct_fields__)


def test_each_mark_is_built_once() -> None:
    kept = contexts()
    assert kept.known("mark") is None
    built = kept.build("mark", FACTS)
    assert kept.known("mark") is built
    assert kept.known("other") is None


def test_equal_parts_are_one_object() -> None:
    kept = contexts()
    one, other = kept.build(1, FACTS), kept.build(2, FACTS._replace(oom_score=1))
    assert one.ids is other.ids
    assert one.linux.namespaces is other.linux.namespaces
    assert one.service is other.service


def test_nobody_logged_in() -> None:
    linux = contexts().build("mark", FACTS._replace(login_uid=NO_ID, audit_session=NO_ID)).linux
    assert (linux.login_uid, linux.audit_session) == (None, None)
    assert contexts().build("mark", FACTS._replace(login_uid=0)).linux.login_uid == 0


@pytest.mark.parametrize("name", NAMESPACES)
def test_another_namespace_is_foreign(name: str) -> None:
    inodes = tuple(1 if candidate == name else HOST[candidate] for candidate in NAMESPACES)
    namespaces = contexts().build("mark", FACTS._replace(namespaces=inodes)).linux.namespaces
    assert namespaces and namespaces.foreign == (name,)
    assert getattr(namespaces, name) == 1


def test_a_namespace_that_was_left_is_not_foreign() -> None:
    inodes = tuple(HOST[name] if name in ("pid", "user") else None for name in NAMESPACES)
    namespaces = contexts().build("mark", FACTS._replace(namespaces=inodes)).linux.namespaces
    assert namespaces and (namespaces.foreign, namespaces.net) == ((), None)


def test_without_the_hosts_namespaces_nobody_knows_what_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "read_host_namespaces", dict)
    namespaces = contexts().build("mark", FACTS).linux.namespaces
    assert namespaces and namespaces.foreign is None


def test_another_user_namespace_takes_powers_away() -> None:
    inodes = tuple(1 if name == "user" else HOST[name] for name in NAMESPACES)
    security = contexts().build("mark", FACTS._replace(namespaces=inodes)).security
    assert security and security.granted == ()
    assert "user namespace" in security.confined_by


def test_powers_without_namespaces_are_not_guessed() -> None:
    security = contexts().build("mark", FACTS._replace(namespaces=None)).security
    assert security and {power.granted for power in security.powers if power.name == "raw_network"} == {None}


def test_only_what_was_asked_for() -> None:
    found = contexts(frozenset({"security"})).build("mark", FACTS)
    assert (found.owner, found.ids, found.container, found.service) == (None,) * 4
    assert (found.linux.namespaces, found.linux.cgroup) == (None, None)
    assert found.security


def test_a_container_is_described_once() -> None:
    runtimes, cgroup = Runtimes(), b"0::/docker/" + b"a" * 64 + b"\n"
    kept = contexts(runtimes=runtimes)
    for mark in range(3):
        container = kept.build(mark, FACTS._replace(cgroup=cgroup)).container
        assert container and (container.runtime, container.name) == ("docker", "web")
    assert runtimes.asked == 1


def test_without_runtimes_the_path_alone_tells() -> None:
    container = contexts().build("mark", FACTS._replace(cgroup=b"0::/docker/" + b"a" * 64)).container
    assert container and (container.id, container.name, container.source) == ("a" * 64, None, "cgroup")


@given(st.integers(0, 2**32 - 1))
def test_any_number_is_an_account(number: int) -> None:
    facts = FACTS._replace(credentials=Credentials((number,) * 4, (number,) * 4), groups=(number,))
    found = contexts().build("mark", facts)
    assert found.owner and found.owner.id == str(number)
    assert found.groups and isinstance(found.groups[0], Account)


@pytest.mark.system
def test_the_hosts_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = context.read_host_namespaces()
    assert found.keys() <= set(NAMESPACES)
    if os.geteuid() == 0:
        assert {"mnt", "net", "pid", "user"} <= found.keys()
