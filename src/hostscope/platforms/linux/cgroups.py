"""Control group paths, and the container and service that they tell. Pure: bytes in, records out.

Container runtimes name their groups after themselves and the container, service managers after the unit. Sources:
cgroups(7); the naming of each runtime; systemd's ``src/basic/cgroup-util.c`` for what counts as a unit.
"""

import re
from functools import lru_cache

from msgspec import Struct

from hostscope.model.container import Container
from hostscope.model.service import Service
from hostscope.model.text import decode, encode

MAX_BYTES = 64 * 1024
"""More of /proc/PID/cgroup than this is not looked at; a path is at most a page long in the kernel."""

Hierarchies = dict[str, str]
"""Controllers as the kernel lists them (empty for the unified hierarchy, ``name=systemd``, ``cpu,cpuacct``) -> path."""


class CgroupPlace(Struct, frozen=True, gc=False):
    """Where a process stands, in all hierarchies."""

    path: str | None
    """In the unified hierarchy, else in name=systemd, else the most specific controller's; None when none is listed."""
    container: Container | None
    service: Service | None


def parse_hierarchies(raw: bytes) -> Hierarchies:
    """Lines ``id:controllers:path`` of /proc/PID/cgroup; other lines are left out, the mark of a removed group too."""
    found: Hierarchies = {}
    for line in raw[:MAX_BYTES].split(b"\n"):
        fields = line.split(b":", 2)
        if len(fields) == 3 and fields[2].startswith(b"/"):
            found.setdefault(decode(fields[1]), decode(fields[2].removesuffix(b" (deleted)")))
    return found


def _by_weight(hierarchies: Hierarchies) -> list[str]:
    """Distinct paths: unified, name=systemd, then controllers from the most to the least specific."""
    first = [hierarchies[name] for name in ("", "name=systemd") if name in hierarchies]
    others = [path for name, path in hierarchies.items() if name not in {"", "name=systemd"}]
    return list(dict.fromkeys([*first, *sorted(others, key=lambda path: (-path.count("/"), -len(path), path))]))


@lru_cache(maxsize=4096)
def parse_cgroup(raw: bytes) -> CgroupPlace:
    """The place that /proc/PID/cgroup tells: v1, hybrid or v2.

    On v1 and hybrid hosts a runtime may have moved the process in some hierarchies only, so the first path that shows
    a container decides; without one, the first that shows a service.
    """
    paths = _by_weight(parse_hierarchies(raw))
    places = [place(path) for path in paths]
    chosen = next((found for found in places if found[0]), None) or next((found for found in places if found[1]), None)
    container, service = chosen or (None, None)
    return CgroupPlace(paths[0] if paths else None, container, service)


@lru_cache(maxsize=4096)
def place(path: str) -> tuple[Container | None, Service | None]:
    """The innermost container and the host's unit that a group's path tells.

    A container whose group has a name of the user's choice (plain runc or ctr) does not show here; see
    `hostscope.platforms.linux.containers`.
    """
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    return _container(parts), _service(parts)


# Containers ---------------------------------------------------------------------------------------------------------

HEX_ID = r"(?P<id>[0-9a-f]{64})"
# Compiled at their first use, and kept by `re`: few commands ask for control groups.
_NAMED = (
    rf"(?:.+\.slice:)?(?P<runtime>docker|cri-containerd|nerdctl|crio|libpod|libpod-payload)[-:]{HEX_ID}(?:\.scope)?"
)
"""Both drivers of every engine. Podman's and CRI-O's monitors have ``conmon`` before the id, so they do not match.
The form with colons is what containerd makes of a systemd parent when it is set to the cgroupfs driver."""

_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "k8s.io": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_BARE = HEX_ID
_BUILD = "[a-z0-9]{25}"
"""BuildKit's name of one build step, under ``/docker/buildkit``."""
_POD = r"(?:.*-)?pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice.*)?"
"""The kubelet's group of a pod; its systemd driver writes the uid with underscores. Static pods have 32 digits."""
_MACHINE = r"machine-(?P<name>.+)\.scope"
_NSPAWN = r"systemd-nspawn@(?P<name>.+)\.service"
_LIBVIRT = r"(?P<driver>[a-z]+)-[0-9]+-(?P<name>.+)"
"""libvirt calls its machines after driver, number and name: ``qemu-3-web`` is a virtual machine."""
_ESCAPE = rb"\\x([0-9a-f]{2})"


def _container(parts: list[str]) -> Container | None:
    pod = _pod(parts)
    for index in range(len(parts) - 1, -1, -1):
        found = _container_at(parts, index)
        if found:
            return Container(found[0], found[1], pod=pod, source=found[2])
    return None


def _pod(parts: list[str]) -> str | None:
    matches = [re.fullmatch(_POD, part) for part in parts if "pod" in part]
    return next((match["uid"].replace("_", "-") for match in matches if match), None)


def _container_at(parts: list[str], index: int) -> tuple[str, str, str] | None:
    """Runtime, id and source of the container whose group is the component at `index`."""
    part, parent = parts[index], parts[index - 1] if index else ""
    named = re.fullmatch(_NAMED, part)
    if named:
        return _RUNTIMES[named["runtime"]], named["id"], "cgroup"
    if parent == "buildkit" and re.fullmatch(_BUILD, part):
        return "docker", part, "cgroup"
    if re.fullmatch(_BARE, part):
        return _bare(part, parent, parts[:index])
    return _lxc(part, parent) or _machine(part, parts[index + 1 : index + 2])


def _bare(part: str, parent: str, above: list[str]) -> tuple[str, str, str] | None:
    """An id without a runtime's name: the parent tells, or nothing does (`--cgroup-parent`, Kubernetes, ECS)."""
    if parent == "libpod_parent":
        return None  # Podman's group of a pod: what is in it is a container's monitor, or has a name of its own.
    if parent in {"docker", "k8s.io"}:
        return _RUNTIMES[parent], part, "cgroup"
    return "unknown", part, "cgroup" if any(name.startswith("kubepods") for name in above) else "heuristic"


def _lxc(part: str, parent: str) -> tuple[str, str, str] | None:
    """LXC before 4.0 has ``lxc/NAME``, then ``lxc.payload.NAME``; the monitor runs outside, in ``lxc.monitor…``."""
    if part.startswith("lxc.payload."):
        return "lxc", part.removeprefix("lxc.payload."), "cgroup"
    return ("lxc", part, "cgroup") if parent in {"lxc", "lxc.payload"} else None


def _machine(part: str, below: list[str]) -> tuple[str, str, str] | None:
    """systemd-nspawn. Its own process stands in ``supervisor``, which is not inside.

    A scope may belong to anything that registered a machine, so it is a guess until the machine's state is read.
    """
    if below == ["supervisor"]:
        return None
    service = re.fullmatch(_NSPAWN, part)
    if service:
        return "systemd-nspawn", unescape_unit(service["name"]), "cgroup"
    scope = re.fullmatch(_MACHINE, part)
    return _registered(unescape_unit(scope["name"])) if scope else None


def _registered(name: str) -> tuple[str, str, str] | None:
    libvirt = re.fullmatch(_LIBVIRT, name)
    if not libvirt:
        return "systemd-nspawn", name, "heuristic"
    return ("libvirt-lxc", libvirt["name"], "cgroup") if libvirt["driver"] == "lxc" else None


def unescape_unit(name: str) -> str:
    r"""The text in a unit's name: ``\x2d`` is a dash (systemd-escape(1)). A plain dash is kept."""
    return decode(re.sub(_ESCAPE, lambda match: bytes([int(match[1], 16)]), encode(name)))


# Services -----------------------------------------------------------------------------------------------------------

_UNIT = r"[A-Za-z0-9:_.\\@-]{1,245}\.(?:service|socket|target|device|mount|automount|swap|timer|path|slice|scope)"
_USER_MANAGER = r"user@(?P<uid>[0-9]{1,10})\.service"


def _service(parts: list[str]) -> Service | None:
    """As systemd reads it: the first component after the slices is the unit; after a user's manager, the user's."""
    units = [part.removeprefix("_") for part in parts]
    depth = _slices(units)
    manager = re.fullmatch(_USER_MANAGER, units[depth]) if depth < len(units) else None
    if manager:
        inner = _unit(units[depth + 1 :], "systemd --user", int(manager["uid"]))
        if inner:
            return inner
    return _unit(units, "systemd", None)


def _unit(units: list[str], manager: str, user: int | None) -> Service | None:
    depth = _slices(units)
    if depth == len(units) or not re.fullmatch(_UNIT, units[depth]):
        return None
    return Service(units[depth], manager, units[depth - 1] if depth else "-.slice", user)


def _slices(units: list[str]) -> int:
    """How many leading components are slices."""
    return next(
        (i for i, unit in enumerate(units) if not (unit.endswith(".slice") and re.fullmatch(_UNIT, unit))), len(units)
    )
