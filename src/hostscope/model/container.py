"""Containers, as local state tells."""

from msgspec import Struct

SCHEMA = "hostscope.container/1"


class Container(Struct, frozen=True, gc=False):
    """The container a process runs in."""

    runtime: str
    """``docker containerd cri-o podman lxc libvirt-lxc systemd-nspawn runc crun``, ``hyper-v wsl wsl1`` (machines and
    Linux programs on Windows), ``apple-container`` and products that run machines on macOS;
    ``unknown`` when only the shape is known."""
    id: str
    name: str | None = None
    image: str | None = None
    """As it was asked for; the root file system where a runtime has no images (LXC, systemd-nspawn)."""
    pod: str | None = None
    """Pod name, namespace first: ``default/web-0``; the pod's uid or id where nothing tells the name."""
    started_at_ns: int | None = None
    source: str = "cgroup"
    """What told: ``cgroup`` (path only), ``state`` (the runtime's files), ``signature`` (macOS: of the
    process that runs its virtual machine), ``heuristic``."""
