"""Which regions go into a dump, in which order, and why the others stay out."""

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from hostscope.model.dump import DumpRequest
from hostscope.model.memory import Region
from hostscope.model.process import Process

DEVICE_FLAGS = frozenset({"io", "pf"})
"""VmFlags of mappings of devices and of the kernel's own pages."""
KERNEL_PAGES = ("[vvar]", "[vvar_vclock]", "[vsyscall]")


class Chosen(Struct, frozen=True, gc=False):
    """What becomes of one region."""

    region: Region
    included: bool
    skipped: str | None = None
    first: bool = False
    """Whether it is read before the others."""


def without_memory(process: Process) -> bool:
    """Whether it is a kernel thread, or ended; one whose first thread alone has ended looks so, too, and is not."""
    return bool(process.kernel) or (process.state in ("zombie", "dead") and (process.threads or 1) < 2)


def select(regions: Sequence[Region], request: DumpRequest, suspicious: Collection[int]) -> tuple[Chosen, ...]:
    """What becomes of each region, in the order of addresses; `suspicious` are the starts of those with anomalies."""
    return tuple(_choose(region, request.policy, region.start in suspicious) for region in regions)


def reading_order(chosen: Sequence[Chosen]) -> Iterator[int]:
    """Indexes of the included regions, suspicious ones first where that was asked for."""
    for first in (True, False):
        yield from (index for index, one in enumerate(chosen) if one.included and one.first is first)


def _choose(region: Region, policy: str, suspicious: bool) -> Chosen:
    why = obstacle(region)
    if why:
        return Chosen(region, False, why)
    if not _wanted(region, policy, suspicious):
        return Chosen(region, False, f"policy {policy}")
    return Chosen(region, True, first=suspicious and policy == "suspicious-first")


def obstacle(region: Region) -> str | None:
    """What keeps a region out of every dump."""
    if region.path in KERNEL_PAGES:
        return "the kernel's own page, the same in every process"
    if region.state == "reserved":
        return "reserved: addresses without memory behind them"
    if region.guard:
        return "guard pages: reading one would take its guard away"
    if region.kind is not None and not set("rx") & set(region.permissions):
        return "no access: the process itself cannot read it"
    if region.special or DEVICE_FLAGS & set(region.flags):
        return "device memory: reading it may act on the device"
    return None


def is_reservation(region: Region) -> bool:
    """Whether the process itself can only keep others from using its addresses: guards, heaps of run times to come."""
    return not region.has_file and not set("rwx") & set(region.permissions)


def _wanted(region: Region, policy: str, suspicious: bool) -> bool:
    if policy == "private":
        changed = "w" in region.permissions or bool(region.private_dirty_bytes)
        return region.permissions.endswith("p") and (not region.has_file or changed)
    if policy == "executable":
        return "x" in region.permissions
    if policy == "anonymous":
        return not region.has_file
    if policy == "suspicious":
        return suspicious or (region.path or "").startswith("[stack")
    return True
