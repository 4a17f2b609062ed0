"""Containers, as local state tells."""

from msgspec import Struct

SCHEMA = "hostscope.container/1"


class Container(Struct, frozen=True, gc=False):
    """The container a process runs in."""

    runtime: str
    """``docker containerd cri-o podman lxc libvirt-lxc systemd-nspawn runc crun``; ``unknown`` when only the shape is
    known."""
    id: str
    name: str | None = None
    image: str | None = None
    pod: str | None = None
    """Pod name, namespace first: ``default/web-0``; the pod's uid where only the control group tells."""
    started_at_ns: int | None = None
    source: str = "cgroup"
    """What told: ``cgroup`` (path only), ``state`` (the runtime's files), ``heuristic``."""
