"""What container runtimes write about their containers. Pure: bytes in, facts out; None for bytes that are not theirs.

Each runtime documents its commands, not these files, so only fields that have been stable for years are read, and a
field of another type than expected is as good as missing.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from hostscope.model.text import decode
from hostscope.platforms.linux.podman_state import parse_pod_id


class ContainerFacts(Struct, frozen=True):
    """What one file tells; None where it is silent."""

    runtime: str | None = None
    name: str | None = None
    image: str | None = None
    pod: str | None = None
    started_at_ns: int | None = None

    def over(self, other: "ContainerFacts") -> "ContainerFacts":
        """These facts, completed by those of `other`."""
        return ContainerFacts(
            self.runtime or other.runtime,
            self.name or other.name,
            self.image or other.image,
            self.pod or other.pod,
            self.started_at_ns if self.started_at_ns is not None else other.started_at_ns,
        )


class OciState(Struct, frozen=True):
    """A container of an OCI runtime (runc, crun)."""

    id: str
    cgroups: tuple[str, ...]
    """Paths within the hierarchies."""
    created_at_ns: int | None


def parse_docker(raw: bytes) -> ContainerFacts | None:
    """``config.v2.json`` of the Docker engine."""
    document = _object(raw)
    if document is None:
        return None
    config, state = _map(document.get("Config")), _map(document.get("State"))
    return ContainerFacts(
        "docker",
        _text(_string(document, "Name").removeprefix("/")),
        _text(_string(config, "Image")),
        _pod(_map(config.get("Labels")), "io.kubernetes.pod.namespace", "io.kubernetes.pod.name"),
        parse_instant(_string(state, "StartedAt")),
    )


def parse_bundle(raw: bytes) -> ContainerFacts | None:
    """``config.json`` of an OCI bundle, by the annotations of containerd's CRI plugin, CRI-O, nerdctl or Podman.

    Of Podman the pod is its id: names stand in its database alone.
    """
    document = _object(raw)
    if document is None:
        return None
    notes = _map(document.get("annotations"))
    if _string(notes, "io.container.manager") == "libpod":  # Containers in its pods have annotations of CRI-O, too.
        group = _string(_map(document.get("linux")), "cgroupsPath")
        return ContainerFacts("podman", pod=parse_pod_id(group))
    return _crio(notes) if "io.kubernetes.cri-o.ContainerType" in notes else _containerd(notes)


def _crio(notes: Mapping[str, Any]) -> ContainerFacts:
    """CRI-O copies the kubelet's labels into annotations, and keeps them once more as JSON in one."""
    labels = {**notes, **_map(_object(_string(notes, "io.kubernetes.cri-o.Labels").encode()))}
    sandbox = notes.get("io.kubernetes.cri-o.ContainerType") == "sandbox"
    return ContainerFacts(
        "cri-o",
        _text("POD" if sandbox else _string(labels, "io.kubernetes.container.name")),
        _first(notes, "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"),
        _pod(labels, "io.kubernetes.pod.namespace", "io.kubernetes.pod.name"),
        parse_instant(_string(notes, "io.kubernetes.cri-o.Created")),
    )


def _containerd(notes: Mapping[str, Any]) -> ContainerFacts:
    sandbox = notes.get("io.kubernetes.cri.container-type") == "sandbox"
    manager = "cri-o" if notes.get("io.container.manager") == "cri-o" else None
    return ContainerFacts(
        manager,
        "POD" if sandbox else _first(notes, "io.kubernetes.cri.container-name", "nerdctl/name"),
        _first(notes, "io.kubernetes.cri.image-name", "io.kubernetes.cri.podsandbox.image-name", "nerdctl/image"),
        _pod(notes, "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"),
    )


def parse_storage(raw: bytes) -> dict[str, ContainerFacts] | None:
    """``containers.json`` of containers/storage (Podman, CRI-O): id -> facts."""
    try:
        entries = msgspec.json.decode(raw, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return {_string(entry, "id"): _stored(entry) for entry in entries if _string(entry, "id")}


def _stored(entry: dict[str, Any]) -> ContainerFacts:
    metadata = _map(_object(_string(entry, "metadata").encode()))
    names = entry.get("names")
    first = names[0] if isinstance(names, list) and names else None
    kubernetes = "pod-name" in metadata
    return ContainerFacts(
        None,
        _first(metadata, "metadata-name" if kubernetes else "name") or _text(first),
        _first(metadata, "image-name"),
        _pod(metadata, "namespace", "pod-name") if kubernetes and _string(metadata, "namespace") else None,
    )


def parse_runc(raw: bytes) -> OciState | None:
    """``state.json`` of runc."""
    document = _object(raw)
    name = _text(document.get("id")) if document else None
    if document is None or name is None:
        return None
    paths = _map(document.get("cgroup_paths"))
    return OciState(name, _within(paths), parse_instant(_string(document, "created")))


def _within(paths: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths below their hierarchy. With the unified one alone it is /sys/fs/cgroup itself, else each has a folder."""
    found = [str(path).removeprefix("/sys/fs/cgroup") for path in paths.values() if isinstance(path, str)]
    if set(paths) == {""}:
        return tuple(found)
    return tuple(dict.fromkeys("/" + path.removeprefix("/").partition("/")[2] for path in found))


def parse_crun(raw: bytes) -> OciState | None:
    """``status`` of crun; it does not say the id, which is the folder's name."""
    document = _object(raw)
    path = _string(document, "cgroup-path") if document else ""
    if document is None or "pid" not in document:
        return None
    return OciState("", ("/" + path.strip("/"),) if path else (), parse_instant(_string(document, "created")))


def parse_lxc(raw: bytes) -> ContainerFacts:
    """An LXC configuration: host name, and for the image the root file system; the last setting counts.

    Before LXC 3.0 they were ``lxc.utsname`` and ``lxc.rootfs``. What a template made the root from is not kept.
    """
    root = _setting(raw, rb"lxc\.rootfs(?:\.path)?")
    return ContainerFacts("lxc", _setting(raw, rb"lxc\.uts\.?name"), root.removeprefix("dir:") if root else None)


def _setting(raw: bytes, name: bytes) -> str | None:
    values = re.findall(rb"^[ \t]*" + name + rb"[ \t]*=[ \t]*(\S+)", raw, re.MULTILINE)
    return decode(values[-1]) if values else None


def parse_machine(raw: bytes) -> tuple[str, ContainerFacts] | None:
    """/run/systemd/machines/NAME: the class (``container vm host``) and what it says of a container."""
    fields = dict(_assignment(line) for line in raw.split(b"\n") if b"=" in line)
    if b"NAME" not in fields:
        return None
    real = fields.get(b"REALTIME", b"")
    started = int(real) * 1000 if re.fullmatch(rb"[0-9]{1,19}", real) else None
    service, image = fields.get(b"SERVICE", b""), fields.get(b"ROOT") or None
    facts = ContainerFacts(
        decode(service) or None, decode(fields[b"NAME"]), decode(image) if image else None, None, started
    )
    return decode(fields.get(b"CLASS", b"")), facts


def _assignment(line: bytes) -> tuple[bytes, bytes]:
    """One ``NAME=value``; values may be in double quotes with backslashes (systemd's env-file)."""
    name, _, value = line.partition(b"=")
    if len(value) >= 2 and value.startswith(b'"') and value.endswith(b'"'):
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    return name, value


def parse_data_root(raw: bytes) -> str | None:
    """``data-root`` (once ``graph``) of /etc/docker/daemon.json."""
    document = _object(raw) or {}
    path = _string(document, "data-root") or _string(document, "graph")
    return path if path.startswith("/") and "\0" not in path else None


_INSTANT = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9})[0-9]*)?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


def parse_instant(text: str) -> int | None:
    """RFC 3339 -> UTC nanoseconds since the epoch; None for anything else, and for Go's zero time (year 1)."""
    from datetime import UTC, datetime

    match = re.fullmatch(_INSTANT, text)  # compiled at the first use: few hosts have containers
    if not match or int(match[1]) < 1970:
        return None
    try:
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        seconds = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None
    if match[8]:
        seconds -= (1 if match[8] == "+" else -1) * (int(match[9]) * 3600 + int(match[10]) * 60)
    return seconds * 1_000_000_000 + int((match[7] or "0").ljust(9, "0"))


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _text(value: object) -> str | None:
    """A string of a document as one of ours; None when it is empty or no string."""
    return decode(value.encode()) if isinstance(value, str) and value else None


def _first(values: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := _text(values.get(name)))), None)


def _pod(values: Mapping[str, Any], namespace: str, name: str) -> str | None:
    pod = _first(values, name)
    return f"{_first(values, namespace) or ''}/{pod}".removeprefix("/") if pod else None
