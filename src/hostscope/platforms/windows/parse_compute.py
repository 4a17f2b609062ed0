"""What the Host Compute Service and runtimes tell in JSON. Pure, bounded; imports and is fuzzed on every system."""

import json
import re
import struct
from typing import Any, NamedTuple

from hostscope.model.container import Container
from hostscope.model.text import decode_utf16

MAX_BYTES = 16 << 20
MAX_SYSTEMS = 10_000
OWNERS = {
    "docker": "docker",
    "containerd-shim-runhcs-v1.exe": "containerd",
    "wsl": "wsl",
    "cri-containerd": "containerd",
}
VM_DOMAIN = "S-1-5-83-1-"
"""``NT VIRTUAL MACHINE``: the four numbers behind it are the machine's GUID."""
GUID = re.compile(r"\{?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?", re.I)
CONTAINER_DISK = re.compile(r"\\Device\\VhdHardDisk\{([0-9a-f-]{36})\}\\", re.I)


class System(NamedTuple):
    """One compute system."""

    container: Container
    has_host_processes: bool
    """Its processes are the host's too (no virtual machine of its own)."""


def parse_systems(raw: bytes) -> tuple[System, ...]:
    """Every compute system that has an id.

    Raises:
        ValueError: it is no JSON of the expected form.
    """
    found = _json(raw)
    if not isinstance(found, list):
        raise ValueError("the list of compute systems is no list")
    return tuple(filter(None, map(_system, found[:MAX_SYSTEMS])))


def parse_process_list(raw: bytes) -> tuple[int, ...]:
    """Pids of a container's processes. Raises as `parse_systems`."""
    found = _json(raw)
    listed = found.get("ProcessList") if isinstance(found, dict) else None
    processes = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    pids = (one.get("ProcessId") for one in processes)
    return tuple(pid for pid in pids if type(pid) is int and 0 < pid < 1 << 32)


def parse_docker(raw: bytes) -> tuple[str | None, str | None]:
    """Name and image in Docker's config.v2.json. Raises as `parse_systems`."""
    found = _loaded(raw)
    if not isinstance(found, dict):
        raise ValueError("the configuration of a container is no object")
    config = found.get("Config")
    name, image = _text(found, "Name"), _text(config if isinstance(config, dict) else {}, "Image")
    return name.removeprefix("/") if name else None, image


def machine_of(sid: str) -> str | None:
    """The GUID of the virtual machine whose account this is; None for other accounts."""
    parts = sid.removeprefix(VM_DOMAIN).split("-")
    if not sid.startswith(VM_DOMAIN) or len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return None
    numbers = [int(part) for part in parts]
    if max(numbers) >= 1 << 32:
        return None
    first, second, third, *rest = struct.unpack("<IHH8B", struct.pack("<4I", *numbers))
    tail = bytes(rest).hex()
    return f"{first:08x}-{second:04x}-{third:04x}-{tail[:4]}-{tail[4:]}"


def machine_in(argv: tuple[str, ...]) -> str | None:
    """The GUID that a worker process of Hyper-V was started with."""
    found = GUID.fullmatch(argv[1]) if len(argv) > 1 else None
    return found[1].lower() if found else None


def disk_of(native_path: str) -> str | None:
    """The GUID of the container's disk that a program was started from."""
    found = CONTAINER_DISK.match(native_path)
    return found[1].lower() if found else None


def _system(told: Any) -> System | None:
    identifier = _text(told, "Id") if isinstance(told, dict) else None
    if not identifier:
        return None
    machine = _text(told, "SystemType") == "VirtualMachine"
    owner = (_text(told, "Owner") or "").lower()
    runtime = OWNERS.get(owner) or ("hyper-v" if machine else "unknown")
    container = Container(runtime, identifier.lower(), name=_text(told, "Name"), source="state")
    return System(container, not machine and _text(told, "RuntimeOsType") != "Linux")


def _json(raw: bytes) -> Any:
    return _loaded(decode_utf16(raw[: len(raw) & ~1]).encode("utf-8")) if raw else []


def _loaded(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise ValueError("the answer is too long")
    try:
        return json.loads(raw)
    except RecursionError as failed:
        raise ValueError("the answer is nested too deeply") from failed


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    return value if isinstance(value, str) and value else None
