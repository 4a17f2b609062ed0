"""Containers, by what their runtimes keep on this host. Files are only read, at most a few megabytes of each."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from hostscope.model.container import Container
from hostscope.model.text import decode, encode
from hostscope.platforms.linux.cgroups import place
from hostscope.platforms.linux.container_state import (
    ContainerFacts,
    OciState,
    parse_bundle,
    parse_crun,
    parse_data_root,
    parse_docker,
    parse_lxc,
    parse_machine,
    parse_runc,
    parse_storage,
)
from hostscope.platforms.linux.group_walk import walk_groups
from hostscope.platforms.linux.podman_state import parse_bolt, parse_sqlite

MAX_BYTES = 16 << 20
"""A state file longer than this is not read: Docker's and containerd's stay under 100 KiB."""
MAX_ENTRIES = 4096
"""Entries of one folder that are looked at."""
MAX_GROUPS = 50_000
"""Control groups that `containers` walks through."""
MAX_REMEMBERED = 4096

CONTAINERD = ("run/containerd", "run/k3s/containerd", "var/snap/microk8s/common/run/containerd")
"""State folders of containerd: as packaged, in k3s, in MicroK8s."""
STORAGES = ("var/lib/containers/storage", "run/containers/storage")
"""Folders of containers/storage: lasting and volatile."""

Stamp = tuple[int, int, int]
"""(inode, size, mtime_ns) of a file."""


class _Remembered(Struct, frozen=True):
    path: str
    stamp: Stamp
    container: Container


class _Found(Struct, frozen=True):
    """Facts about one container, and the file that they depend on."""

    path: str
    facts: ContainerFacts


class Containers:
    """Containers below one root of the file system.

    System-wide state is asked before users' (rootless Docker and Podman), which count only when they own the file:
    no user can name another's container. Not for use by several threads.
    """

    def __init__(self, root: str = "/", storages: tuple[str, ...] = (), max_age_s: float = 0.5) -> None:
        """`storages` are further folders of containers/storage (`podman --root`).

        `at` looks whether runtimes' state folders changed when it last did so `max_age_s` ago.
        """
        self._root = root.rstrip("/")
        self._max_age_s = max_age_s
        self._checked_s = -max_age_s
        self._storages = storages
        self._pods: dict[str, tuple[Stamp | None, dict[str, str]]] = {}
        self._remembered: dict[tuple[str, str], _Remembered] = {}
        self._oci: tuple[tuple[tuple[str, int], ...], dict[str, tuple[str, str]]] = ((), {})
        self._readers: dict[str, tuple[Callable[[str], _Found | None], ...]] = {
            "docker": (self._docker,),
            "containerd": (self._containerd,),
            "podman": (self._storage,),
            "cri-o": (self._storage,),
            "runc": (self._runtime,),
            "crun": (self._runtime,),
            "lxc": (self._lxc,),
            "systemd-nspawn": (self._machine,),
            "unknown": (self._docker, self._containerd, self._storage),
        }

    def describe(self, container: Container) -> Container:
        """The same container with what local state tells; as it was when that is missing or cannot be read.

        `started_at_ns` is when the runtime created the container's first process, where it does not say when that
        was let go (the two are milliseconds apart, except in `runc create`).

        Source: Docker ``config.v2.json``, containerd task bundles, containers/storage, libpod's database, runc and crun
        state, LXC configuration, /run/systemd/machines.
        Cost: one system call when nothing changed since it was last asked for, else about ten.
        """
        known = self._remembered.get((container.runtime, container.id))
        if known and _stamp(known.path) == known.stamp:
            return known.container
        found = self._find(container) if _is_name(container.id) else None
        stamp = _stamp(found.path) if found else None
        if found is None or stamp is None:
            return container
        described = _merge(container, found.facts)
        self._remember(container, _Remembered(found.path, stamp, described))
        return described

    def at(self, path: str) -> Container | None:
        """The container of plain runc, crun or ctr whose control group is `path` or above it.

        Such groups have names of the user's choice; the runtimes' state tells which they are.
        Cost: nothing within `max_age_s` of the last call, else a stat for each state folder; the states are read again
        when one was added or removed.
        """
        groups = self._groups()
        while path not in {"", "/"}:
            found = groups.get(path)
            if found:
                return self.describe(Container(found[0], found[1], source="state"))
            path = path.rpartition("/")[0]
        return None

    def containers(self) -> Iterator[Container]:
        """Every container that local state or a control group shows, stopped ones included; each once."""
        seen: set[str] = set()
        for container in self._all():
            mark = container.id if len(container.id) == 64 else f"{container.runtime}/{container.id}"
            if mark not in seen:
                seen.add(mark)
                yield self.describe(container)

    # Looking one up ---------------------------------------------------------------------------------------------------

    def _find(self, container: Container) -> _Found | None:
        for reader in self._readers.get(container.runtime, ()):
            found = reader(container.id)
            if found:
                started = self._created(container.id) if found.facts.started_at_ns is None else None
                return _Found(found.path, found.facts.over(ContainerFacts(started_at_ns=started)))
        return None

    def _remember(self, container: Container, entry: _Remembered) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[container.runtime, container.id] = entry

    def _docker(self, name: str) -> _Found | None:
        for folder, owner in self._docker_roots():
            path = f"{folder}/containers/{name}/config.v2.json"
            raw = _read(path, owner)
            facts = parse_docker(raw) if raw else None
            if facts:
                return _Found(path, facts)
        return None

    def _containerd(self, name: str) -> _Found | None:
        for namespace in self._tasks():
            path = f"{namespace}/{name}/config.json"
            raw = _read(path)
            facts = parse_bundle(raw) if raw else None
            if facts:
                return _Found(path, facts.over(ContainerFacts("containerd")))
        return None

    def _storage(self, name: str) -> _Found | None:
        """Podman and CRI-O. Names stand in the storage's index, the pod in the bundle (of Podman its id)."""
        for folder, owner in self._drivers():
            path = f"{folder}/{name}/userdata/config.json"
            raw = _read(path, owner)
            bundle = parse_bundle(raw) if raw else None
            stored = self._stored(folder, owner).get(name)
            if bundle and bundle.pod and bundle.runtime == "podman":
                bundle = replace(bundle, pod=self._pod_names(folder, owner).get(bundle.pod, bundle.pod))
            if bundle:
                return _Found(path, _as_seen(bundle.over(stored.facts) if stored else bundle))
            if stored:
                return _Found(stored.path, _as_seen(stored.facts))
        return None

    def _stored(self, folder: str, owner: int) -> dict[str, _Found]:
        found: dict[str, _Found] = {}
        for name in ("volatile-containers.json", "containers.json"):
            path = f"{folder}/{name}"
            raw = _read(path, owner)
            stored = (parse_storage(raw) if raw else None) or {}
            found |= {id_: _Found(path, facts) for id_, facts in stored.items()}
        return found

    def _pod_names(self, folder: str, owner: int) -> dict[str, str]:
        """Id -> name of Podman's pods, read again when their database changed."""
        store = folder.rpartition("/")[0]
        found: dict[str, str] = {}
        for path, parse in ((f"{store}/libpod/bolt_state.db", parse_bolt), (f"{store}/db.sql", parse_sqlite)):
            stamp = _stamp(path)
            if path not in self._pods or self._pods[path][0] != stamp:
                raw = _read(path, owner) if stamp else None
                self._pods[path] = stamp, (parse(raw) if raw else None) or {}
            found |= self._pods[path][1]
        return found

    def _runtime(self, name: str) -> _Found | None:
        """Plain runc or crun: there is nothing to know but that it exists, and since when."""
        for runtime, folder in self._runtime_roots():
            path, state = _oci_state(folder, name)
            if state:
                return _Found(path, ContainerFacts(runtime, None, None, None, state.created_at_ns))
        return None

    def _created(self, name: str) -> int | None:
        states = (_oci_state(folder, name)[1] for _, folder in self._runtime_roots())
        return next((state.created_at_ns for state in states if state), None)

    def _lxc(self, name: str) -> _Found | None:
        path = f"{self._root}/var/lib/lxc/{name}/config"
        raw = _read(path)
        return _Found(path, parse_lxc(raw).over(ContainerFacts(name=name))) if raw is not None else None

    def _machine(self, name: str) -> _Found | None:
        path = f"{self._root}/run/systemd/machines/{name}"
        raw = _read(path)
        parsed = parse_machine(raw) if raw else None
        return _Found(path, parsed[1]) if parsed and parsed[0] == "container" else None

    # Where they stand -------------------------------------------------------------------------------------------------

    def _users(self) -> list[tuple[int, str]]:
        """Users with a runtime folder, and their homes. Homes of others are left alone: they may be automounted."""
        uids = {name for name in _names(f"{self._root}/run/user") if name.isascii() and name.isdecimal()}
        lines = (_read(f"{self._root}/etc/passwd") or b"").split(b"\n")
        entries = [line.split(b":") for line in lines]
        homes = {decode(entry[2]): decode(entry[5]) for entry in entries if len(entry) == 7}
        return [(int(uid), f"{self._root}{homes[uid]}") for uid in sorted(uids & homes.keys(), key=int)]

    def _docker_roots(self) -> list[tuple[str, int]]:
        configured = parse_data_root(_read(f"{self._root}/etc/docker/daemon.json") or b"")
        system = [f"{self._root}{path}" for path in dict.fromkeys((configured or "/var/lib/docker", "/var/lib/docker"))]
        return [(path, 0) for path in system] + [(f"{home}/.local/share/docker", uid) for uid, home in self._users()]

    def _tasks(self) -> list[str]:
        """One folder for each namespace of containerd."""
        roots = [f"{self._root}/{folder}/io.containerd.runtime.v2.task" for folder in CONTAINERD]
        return [f"{root}/{name}" for root in roots for name in _names(root)]

    def _drivers(self) -> list[tuple[str, int]]:
        """Folders such as ``overlay-containers`` with the uid that must own what is in them."""
        stores = [(path, 0) for path in self._storages] + [(f"{self._root}/{path}", 0) for path in STORAGES]
        for uid, home in self._users():
            stores += [
                (f"{home}/.local/share/containers/storage", uid),
                (f"{self._root}/run/user/{uid}/containers", uid),
            ]
        return [
            (f"{store}/{name}", uid) for store, uid in stores for name in _names(store) if name.endswith("-containers")
        ]

    def _runtime_roots(self) -> list[tuple[str, str]]:
        """State folders of OCI runtimes, with what their containers are of when nothing else tells."""
        roots = [("runc", f"{self._root}/run/runc"), ("crun", f"{self._root}/run/crun")]
        for uid, _ in self._users():
            roots += [(name, f"{self._root}/run/user/{uid}/{name}") for name in ("runc", "crun")]
        shared = [("containerd", f"{self._root}/{folder}/runc") for folder in CONTAINERD]
        for runtime, folder in [*shared, ("docker", f"{self._root}/run/docker/runtime-runc")]:
            roots += [(runtime, f"{folder}/{name}") for name in _names(folder)]
        return roots

    def _groups(self) -> dict[str, tuple[str, str]]:
        """Control group -> (runtime, id), by the states of runc and crun."""
        now_s = time.monotonic()
        if now_s - self._checked_s < self._max_age_s:
            return self._oci[1]
        self._checked_s = now_s
        roots = self._runtime_roots()
        stamps = tuple((folder, _changed(folder)) for _, folder in roots)
        if stamps != self._oci[0]:
            states = [(runtime, *found) for runtime, folder in roots for found in _oci_states(folder)]
            self._oci = stamps, {path: (runtime, name) for runtime, name, state in states for path in state.cgroups}
            self._oci[1].pop("/", None)
        return self._oci[1]

    # Listing all ------------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Container]:
        for folder, _ in self._docker_roots():
            yield from _each("docker", _names(f"{folder}/containers"))
        for folder, owner in self._drivers():
            yield from _each("podman", self._stored(folder, owner))
        for folder in self._tasks():
            yield from _each("containerd", _names(folder))
        yield from (Container(runtime, name, source="state") for runtime, name in self._groups().values())
        lxc = f"{self._root}/var/lib/lxc"
        yield from _each("lxc", (name for name in _names(lxc) if _stamp(f"{lxc}/{name}/config")))
        machines = [name for name in _names(f"{self._root}/run/systemd/machines") if self._machine(name)]
        yield from _each("systemd-nspawn", machines)
        yield from self._by_group()

    def _by_group(self) -> Iterator[Container]:
        for path in _walk_groups(f"{self._root}/sys/fs/cgroup"):
            container, _ = place(path)
            if container:
                yield container


def _each(runtime: str, names: Iterable[str]) -> Iterator[Container]:
    return (Container(runtime, name, source="state") for name in names if _is_name(name))


def _as_seen(facts: ContainerFacts) -> ContainerFacts:
    """The runtime by its bundle; an index alone is Podman's (CRI-O's bundles outlive the container's process)."""
    return facts.over(ContainerFacts("podman"))


def _merge(container: Container, facts: ContainerFacts) -> Container:
    runtime = facts.runtime if container.runtime in {"unknown", "podman", "systemd-nspawn"} else None
    return Container(
        runtime or container.runtime,
        container.id,
        facts.name or container.name,
        facts.image or container.image,
        facts.pod or container.pod,
        facts.started_at_ns if facts.started_at_ns is not None else container.started_at_ns,
        "state",
    )


def _is_name(name: str) -> bool:
    """Whether an id can be the name of a folder: ids come from control group paths, which others choose."""
    return bool(name) and name not in {".", ".."} and "/" not in name and "\0" not in name


def _read(path: str, owner: int | None = None) -> bytes | None:
    """A regular file as a whole; None when it is absent, not ours to read, too long, or not `owner`'s (or root's)."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with open(os.open(encode(path), flags), "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            trusted = owner is None or owner in {0, found.st_uid}
            if not stat.S_ISREG(found.st_mode) or not trusted or found.st_size > MAX_BYTES:
                return None
            return file.read(MAX_BYTES)
    except OSError:
        return None


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(encode(path), follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _changed(folder: str) -> int:
    stamp = _stamp(folder)
    return stamp[2] if stamp else 0


def _names(folder: str) -> list[str]:
    """Folder entries in order; none when it is absent or not ours to read."""
    try:
        with os.scandir(encode(folder)) as entries:
            return sorted(decode(entry.name) for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False))
    except OSError:
        return []


def _oci_state(folder: str, name: str) -> tuple[str, OciState | None]:
    path = f"{folder}/{name}/state.json"
    raw = _read(path)
    if raw is not None:
        return path, parse_runc(raw)
    path = f"{folder}/{name}/status"
    raw = _read(path)
    return path, parse_crun(raw) if raw is not None else None


def _oci_states(folder: str) -> Iterator[tuple[str, OciState]]:
    for name in _names(folder):
        _, state = _oci_state(folder, name)
        if state:
            yield name, state


def _walk_groups(mount: str) -> Iterator[str]:
    """Paths of groups: of the unified hierarchy, and of name=systemd and pids on v1 hosts."""
    unified = os.path.exists(f"{mount}/cgroup.controllers")
    tops = [mount] if unified else [f"{mount}/{name}" for name in ("unified", "systemd", "pids")]
    left = MAX_GROUPS
    for top in tops:
        for folder in walk_groups(encode(top)):
            left -= 1
            if left < 0:
                return
            yield decode(folder)[len(top) :] or "/"
