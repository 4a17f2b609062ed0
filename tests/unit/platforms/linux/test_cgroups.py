"""What cgroup paths tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.container import Container
from hostscope.model.service import Service
from hostscope.platforms.linux.cgroups import parse_cgroup, parse_hierarchies, place, unescape_unit

ID = "4f1c" * 16
INNER = "09ab" * 16
UID = "0d8f3c1e-6a57-4b7e-9a43-1c2d3e4f5a6b"
POD_SLICE = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "runtime", "name", "source"),
    [
        (f"/docker/{ID}", "docker", ID, "cgroup"),
        (f"/docker/{ID}/init.scope", "docker", ID, "cgroup"),
        (f"/system.slice/docker-{ID}.scope", "docker", ID, "cgroup"),
        (f"{USER}/user.slice/docker-{ID}.scope", "docker", ID, "cgroup"),
        ("/docker/buildkit/wt2n9sw1oj2zcx6ll8bqpz5v7", "docker", "wt2n9sw1oj2zcx6ll8bqpz5v7", "cgroup"),
        (f"/k8s.io/{ID}", "containerd", ID, "cgroup"),
        (f"/system.slice/nerdctl-{ID}.scope", "containerd", ID, "cgroup"),
        (f"/{POD_SLICE}/cri-containerd-{ID}.scope", "containerd", ID, "cgroup"),
        (f"/system.slice/containerd.service/x.slice:cri-containerd:{ID}", "containerd", ID, "cgroup"),
        (f"/{POD_SLICE}/crio-{ID}.scope", "cri-o", ID, "cgroup"),
        (f"/{POD_SLICE}/crio-{ID}", "cri-o", ID, "cgroup"),
        (f"/machine.slice/libpod-{ID}.scope", "podman", ID, "cgroup"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", ID, "cgroup"),
        (f"/libpod_parent/libpod-{ID}", "podman", ID, "cgroup"),
        (f"/libpod_parent/{INNER}/libpod-{ID}", "podman", ID, "cgroup"),
        (f"/machine.slice/machine-libpod_pod_{INNER}.slice/libpod-{ID}.scope", "podman", ID, "cgroup"),
        (f"/system.slice/web.service/libpod-payload-{ID}", "podman", ID, "cgroup"),
        (f"{USER}/user.slice/libpod-{ID}.scope/container", "podman", ID, "cgroup"),
        ("/lxc/web", "lxc", "web", "cgroup"),
        ("/lxc/101/ns/init.scope", "lxc", "101", "cgroup"),
        ("/lxc.payload.web", "lxc", "web", "cgroup"),
        ("/lxc.payload/web", "lxc", "web", "cgroup"),
        ("/lxc.payload.my.web/system.slice/ssh.service", "lxc", "my.web", "cgroup"),
        (r"/machine.slice/machine-my\x2dweb.scope/payload", "systemd-nspawn", "my-web", "heuristic"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn", "web", "cgroup"),
        (r"/machine.slice/systemd-nspawn@my\x2dweb.service", "systemd-nspawn", "my-web", "cgroup"),
        (r"/machine.slice/machine-lxc\x2d17\x2dweb.scope", "libvirt-lxc", "web", "cgroup"),
        (f"/kubepods/burstable/pod{UID}/{ID}", "unknown", ID, "cgroup"),
        (f"/ecs/task/{ID}", "unknown", ID, "heuristic"),
        (f"/../../docker/{ID}", "docker", ID, "cgroup"),
    ],
)
def test_container_by_its_path(path: str, runtime: str, name: str, source: str) -> None:
    container, _ = place(path)
    assert container is not None
    assert (container.runtime, container.id, container.source) == (runtime, name, source)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/init.scope",
        "/system.slice/docker.service",
        "/docker",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        "/libpod_parent/conmon",
        f"/libpod_parent/{ID}/conmon",
        f"/{POD_SLICE}/crio-conmon-{ID}.scope",
        f"/{POD_SLICE}",
        "/lxc.monitor.web",
        "/lxc.monitor/web",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        "/machine.slice/machine-web.scope/supervisor",
        r"/machine.slice/machine-qemu\x2d3\x2dweb.scope",
        "/job_runner/5541e26225c6a0ba2a956befae2098af",
        f"/docker/{ID[:-1]}",
        f"/docker/{ID.upper()}",
        "/hs-runc",
    ],
)
def test_not_inside_a_container(path: str) -> None:
    assert place(path)[0] is None


def test_innermost_container_wins() -> None:
    outer = f"/system.slice/docker-{ID}.scope/kubelet.slice/kubelet-{POD_SLICE.split('/', maxsplit=1)[0]}"
    container, service = place(f"{outer}/kubelet-{POD_SLICE.rsplit('/', maxsplit=1)[-1]}/cri-containerd-{INNER}.scope")
    assert container == Container("containerd", INNER, pod=UID)
    assert service == Service(f"docker-{ID}.scope", "systemd", "system.slice")
    assert place(f"/docker/{ID}/docker/{INNER}")[0] == Container("docker", INNER)
    assert place(f"/lxc/101/ns/docker/{INNER}")[0] == Container("docker", INNER)


@pytest.mark.parametrize("component", [f"pod{UID}", f"kubepods-pod{UID.replace('-', '_')}.slice"])
def test_pod_uid(component: str) -> None:
    container, _ = place(f"/kubepods/{component}/{ID}")
    assert container == Container("unknown", ID, pod=UID)


def test_pod_uid_of_a_static_pod() -> None:
    container, _ = place(f"/kubepods/besteffort/pod{UID.replace('-', '')}/{ID}")
    assert container is not None
    assert container.pod == UID.replace("-", "")


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/system.slice/ssh.service", Service("ssh.service", "systemd", "system.slice")),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            Service("getty@tty1.service", "systemd", "system-getty.slice"),
        ),
        ("/system.slice/ssh.service/inner", Service("ssh.service", "systemd", "system.slice")),
        ("/init.scope", Service("init.scope", "systemd", "-.slice")),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            Service("session-3.scope", "systemd", "user-1000.slice"),
        ),
        (f"{USER}", Service("user@1000.service", "systemd", "user-1000.slice")),
        (f"{USER}/init.scope", Service("init.scope", "systemd --user", "-.slice", 1000)),
        (f"{USER}/app.slice/foo.service", Service("foo.service", "systemd --user", "app.slice", 1000)),
        (
            rf"{USER}/app.slice/app-gnome\x2dx.slice/app-a@b.scope/x",
            Service("app-a@b.scope", "systemd --user", r"app-gnome\x2dx.slice", 1000),
        ),
        ("/system.slice/_cpu.service", Service("cpu.service", "systemd", "system.slice")),
        ("/system.slice", None),
        ("/", None),
        (f"/docker/{ID}/system.slice/ssh.service", None),
        ("/lxc.payload.web/system.slice/ssh.service", None),
        ("/user.slice/not a unit.service", None),
    ],
)
def test_service_by_its_path(path: str, service: Service | None) -> None:
    assert place(path)[1] == service


V1 = b"""12:pids:/docker/%b
4:memory:/docker/%b
1:name=systemd:/docker/%b
0::/system.slice/containerd.service
""" % ((ID.encode(),) * 3)


def test_hybrid_host_whose_runtime_leaves_the_unified_hierarchy_alone() -> None:
    found = parse_cgroup(V1)
    assert found.path == "/system.slice/containerd.service"
    assert found.container == Container("docker", ID)
    assert found.service is None


def test_v2() -> None:
    found = parse_cgroup(b"0::/user.slice/user-1000.slice/session-3.scope\n")
    assert found.path == "/user.slice/user-1000.slice/session-3.scope"
    assert found.service == Service("session-3.scope", "systemd", "user-1000.slice")


def test_v1_without_unified() -> None:
    found = parse_cgroup(b"2:cpu,cpuacct:/a/b/c\n1:name=systemd:/system.slice/cron.service\n")
    assert found.path == "/system.slice/cron.service"
    assert found.service == Service("cron.service", "systemd", "system.slice")


def test_v1_without_systemd_takes_the_most_specific_controller() -> None:
    found = parse_cgroup(b"3:pids:/\n2:memory:/docker/%b\n1:cpu:/docker\n" % ID.encode())
    assert found.path == f"/docker/{ID}"
    assert found.container == Container("docker", ID)


def test_service_of_a_lower_hierarchy_when_the_first_is_the_root() -> None:
    found = parse_cgroup(b"1:name=systemd:/system.slice/cron.service\n0::/\n")
    assert (found.path, found.service) == ("/", Service("cron.service", "systemd", "system.slice"))


def test_removed_group_and_colons_in_names() -> None:
    assert parse_hierarchies(b"0::/a:b/c (deleted)\n") == {"": "/a:b/c"}
    assert parse_cgroup(b"").path is None


def test_unescape_makes_text_of_utf8_escapes() -> None:
    assert unescape_unit(r"caf\xc3\xa9\x2dbar-x") == "café-bar-x"
    assert unescape_unit(r"\xff") != r"\xff"


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    found = parse_cgroup(raw)
    assert found.path is None or found.path.startswith("/")


@given(st.lists(st.sampled_from(["docker", ID, "lxc", "..", f"libpod-{ID}.scope", "a.slice", r"b\x2d.service", "x"])))
def test_any_path_of_known_parts(parts: list[str]) -> None:
    container, service = place("/" + "/".join(parts))
    assert container is None or (container.id and container.id not in {".", ".."})
    assert service is None or "." in service.name


@given(st.text(max_size=200))
def test_any_path(path: str) -> None:
    place(path)
