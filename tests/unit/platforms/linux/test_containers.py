"""Containers by the state that runtimes leave: fixtures in each runtime's own layout."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.container import Container
from hostscope.platforms.linux.container_state import (
    parse_bundle,
    parse_crun,
    parse_data_root,
    parse_docker,
    parse_instant,
    parse_lxc,
    parse_machine,
    parse_runc,
    parse_storage,
)
from hostscope.platforms.linux.containers import Containers

FIXTURES = Path(__file__).parents[3] / "fixtures"
A, B, C, D = "4f1c" * 16, "09ab" * 16, "5e6d" * 16, "7b21" * 16
MAY_1_10H_NS = 1714557600_000_000_000


def at(name: str) -> Containers:
    return Containers(str(FIXTURES / name))


def test_docker_at_its_configured_data_root() -> None:
    found = at("docker").describe(Container("docker", A))
    assert found == Container("docker", A, "web", "nginx:1.25", None, MAY_1_10H_NS + 123_456_789, "state")


def test_docker_at_the_usual_place_and_never_started() -> None:
    found = at("docker").describe(Container("docker", B, pod="uid"))
    assert (found.image, found.pod, found.started_at_ns) == ("redis:7", "shop/cache-0", None)


def test_unknown_runtime_is_named_by_who_knows_the_id() -> None:
    assert at("docker").describe(Container("unknown", A)).runtime == "docker"
    assert at("containerd").describe(Container("unknown", A)).runtime == "containerd"
    assert at("crio").describe(Container("unknown", A)).runtime == "cri-o"
    assert at("podman").describe(Container("unknown", A)).runtime == "podman"


def test_containerd() -> None:
    found = at("containerd").describe(Container("containerd", A, pod="uid"))
    assert found == Container("containerd", A, "web", "registry.example/web:2", "shop/web-0", MAY_1_10H_NS, "state")
    assert at("containerd").describe(Container("containerd", B)).name == "POD"
    assert at("containerd").describe(Container("containerd", C)).name == "db"


def test_container_whose_group_has_a_free_name() -> None:
    found = at("containerd").at("/default/redis/below")
    assert found is not None
    assert (found.runtime, found.id) == ("containerd", "redis")
    assert found.started_at_ns == MAY_1_10H_NS + (24 - 2) * 3600 * 10**9
    assert at("containerd").at("/default") is None
    assert at("containerd").at("/") is None


def test_crio() -> None:
    found = at("crio").describe(Container("cri-o", A, pod="uid"))
    assert found == Container(
        "cri-o", A, "web", "registry.example/web:2", "shop/web-0", MAY_1_10H_NS + 500_000_000, "state"
    )
    assert at("crio").describe(Container("cri-o", B)).name == "POD"


def test_podman() -> None:
    found = at("podman").describe(Container("podman", A))
    assert found == Container(
        "podman", A, "web", "docker.io/library/nginx:1.25", None, MAY_1_10H_NS + 250_000_000, "state"
    )


def test_podman_volatile_storage() -> None:
    assert at("podman").describe(Container("podman", C)).name == "brief"


@pytest.fixture
def rootless(tmp_path: Path) -> Path:
    """The podman fixture with a user's storage that belongs to whoever runs the tests."""
    shutil.copytree(FIXTURES / "podman", tmp_path / "host")
    return tmp_path / "host"


def give_home(host: Path, uid: int) -> Containers:
    (host / "etc/passwd").write_text(f"ann:x:{uid}:100::/home/ann:/bin/sh\nbob:x:4000:100::/home/bob:/bin/sh\n")
    (host / f"run/user/{uid}").mkdir(exist_ok=True)
    return Containers(str(host))


def test_rootless_podman_of_a_user_who_is_there(rootless: Path) -> None:
    containers = give_home(rootless, os.getuid())
    assert containers.describe(Container("podman", B)).name == "mine"
    assert containers.describe(Container("podman", D)).source == "cgroup", "bob has no runtime folder"


def test_state_of_another_owner_does_not_count(rootless: Path) -> None:
    containers = give_home(rootless, os.getuid() + 1)
    assert containers.describe(Container("podman", B)) == Container("podman", B)


def test_lxc() -> None:
    assert at("lxc").describe(Container("lxc", "web")) == Container(
        "lxc", "web", "web.example", "/var/lib/lxc/web/rootfs", source="state"
    )
    old = at("lxc").describe(Container("lxc", "old"))
    assert (old.name, old.image) == ("old", "/var/lib/lxc/old/rootfs")
    assert at("lxc").describe(Container("lxc", "none")) == Container("lxc", "none")


def test_nspawn() -> None:
    found = at("nspawn").describe(Container("systemd-nspawn", "my-web", source="heuristic"))
    assert found == Container(
        "systemd-nspawn", "my-web", "my-web", "/var/lib/machines/my web", None, MAY_1_10H_NS + 123_456_000, "state"
    )
    guest = Container("systemd-nspawn", "guest", source="heuristic")
    assert at("nspawn").describe(guest) == guest, "a virtual machine is no container"


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("docker", {("docker", A), ("docker", B)}),
        ("containerd", {("containerd", A), ("containerd", B), ("containerd", C), ("containerd", "redis")}),
        ("crio", {("cri-o", A), ("cri-o", B)}),
        ("lxc", {("lxc", "web"), ("lxc", "old")}),
        ("nspawn", {("systemd-nspawn", "my-web")}),
    ],
)
def test_listing(fixture: str, expected: set[tuple[str, str]]) -> None:
    found = [(container.runtime, container.id) for container in at(fixture).containers()]
    assert set(found) == expected
    assert len(found) == len(expected)


def test_listing_finds_what_only_a_control_group_shows(tmp_path: Path) -> None:
    (tmp_path / f"sys/fs/cgroup/system.slice/docker-{A}.scope").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").touch()
    (tmp_path / f"sys/fs/cgroup/system.slice/docker-{A}.scope/inner").mkdir()
    assert list(Containers(str(tmp_path)).containers()) == [Container("docker", A)]


def test_listing_walks_v1_hierarchies(tmp_path: Path) -> None:
    for name in ("systemd", "pids"):
        (tmp_path / f"sys/fs/cgroup/{name}/docker/{A}").mkdir(parents=True)
    assert list(Containers(str(tmp_path)).containers()) == [Container("docker", A)]


def test_a_changed_state_is_read_again(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "docker", tmp_path / "host")
    path = tmp_path / f"host/srv/docker/containers/{A}/config.v2.json"
    containers = Containers(str(tmp_path / "host"))
    assert containers.describe(Container("docker", A)).name == "web"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "Name": "/renamed"}))
    assert containers.describe(Container("docker", A)).name == "renamed"


def test_an_unchanged_state_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    containers = at("docker")
    first = containers.describe(Container("docker", A))
    monkeypatch.setattr("hostscope.platforms.linux.containers._read", lambda *_: pytest.fail("read again"))
    assert containers.describe(Container("docker", A)) is first


def test_plain_runtimes_are_seen_when_they_come(tmp_path: Path) -> None:
    containers = Containers(str(tmp_path), max_age_s=0)
    assert containers.at("/mine") is None
    for name, key in (("runc", {"": "/sys/fs/cgroup/mine"}), ("both", {"": "/sys/fs/cgroup/unified/b", "cpu": ""})):
        folder = tmp_path / "run/runc" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"id": name, "cgroup_paths": key}))
    assert containers.at("/mine") == Container("runc", "runc", source="state")
    assert containers.at("/b") == Container("runc", "both", source="state")


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"null", b'{"Name": 7, "State": [], "Config": "x"}', b"\xff" * 9])
def test_broken_state_leaves_the_container_as_it_was(tmp_path: Path, bad: bytes) -> None:
    folder = tmp_path / f"var/lib/docker/containers/{A}"
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_bytes(bad)
    found = Containers(str(tmp_path)).describe(Container("docker", A, pod="uid"))
    assert (found.name, found.image, found.pod, found.started_at_ns) == (None, None, "uid", None)


def test_no_file_but_a_regular_one_is_read(tmp_path: Path) -> None:
    folder = tmp_path / f"var/lib/docker/containers/{A}"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "config.v2.json")
    assert Containers(str(tmp_path)).describe(Container("docker", A)) == Container("docker", A)
    (folder / "config.v2.json").unlink()
    (folder / "config.v2.json").symlink_to(FIXTURES / f"docker/srv/docker/containers/{A}/config.v2.json")
    assert Containers(str(tmp_path)).describe(Container("docker", A)) == Container("docker", A)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "var/lib/lxc/web/config"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(64 << 20)
    assert Containers(str(tmp_path)).describe(Container("lxc", "web")) == Container("lxc", "web")


@pytest.mark.parametrize("name", ["..", ".", "", "a/../../etc", "a\0b"])
def test_a_name_never_leads_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "var/lib/lxc").mkdir(parents=True)
    (tmp_path / "var/lib/config").write_text("lxc.uts.name = wrong\n")
    assert Containers(str(tmp_path)).describe(Container("lxc", name)) == Container("lxc", name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:00:00Z", MAY_1_10H_NS),
        ("2024-05-01T12:00:00.000000001+02:00", MAY_1_10H_NS + 1),
        ("2024-05-01T04:30:00-05:30", MAY_1_10H_NS),
        ("2024-05-01 10:00:00.1234567891Z", MAY_1_10H_NS + 123_456_789),
        ("0001-01-01T00:00:00Z", None),
        ("2024-13-01T10:00:00Z", None),
        ("2024-05-01T10:00:00", None),
        ("", None),
    ],
)
def test_instants(text: str, expected: int | None) -> None:
    assert parse_instant(text) == expected


PARSERS = (
    parse_docker, parse_bundle, parse_storage, parse_runc, parse_crun, parse_lxc, parse_machine, parse_data_root,
)  # fmt: skip

KEYS = st.sampled_from(
    ["Name", "State", "Config", "Labels", "id", "names", "metadata", "annotations", "cgroup_paths", "created", "pid"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    for parse in PARSERS:
        parse(raw)


@given(JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=3))
def test_any_document(document: object) -> None:
    raw = json.dumps(document).encode()
    for parse in PARSERS:
        parse(raw)


@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=3), st.booleans(), st.binary(min_size=1, max_size=3))
def test_strings_that_are_no_utf_8(document: object, listed: bool, inside: bytes) -> None:
    raw = json.dumps([document] if listed else document).encode()
    for parse in PARSERS:
        parse(raw.replace(b'"', b'"' + inside, 1))
        parse(raw.replace(b'": "', b'": "' + inside + b"\xff"))
        parse(b'{"id": "\xff"}')


@given(st.text())
def test_any_instant(text: str) -> None:
    parse_instant(text)


def test_deeply_nested_document() -> None:
    for parse in PARSERS:
        parse(b'{"a":' * 100_000)
        parse(b"[" * 100_000)
