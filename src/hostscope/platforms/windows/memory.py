"""Address spaces of processes: VirtualQueryEx, ReadProcessMemory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

from msgspec.structs import replace

from hostscope.errors import Denied, Unavailable
from hostscope.model.gap import Gap
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.text import decode_str
from hostscope.platforms.base_program import Privileges as PrivilegesProtocol
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.address_space import PAGE_BYTES, AddressSpace
from hostscope.platforms.windows.clock import Boot, read_boot
from hostscope.platforms.windows.identity import hold
from hostscope.platforms.windows.native import memory, paths, threads
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.native.handles import PROCESS_QUERY_INFORMATION, PROCESS_VM_READ
from hostscope.platforms.windows.parse_memory import FREE, Pages, by_drive, region_of, served_by
from hostscope.platforms.windows.privileges import Privileges

READ = PROCESS_QUERY_INFORMATION | PROCESS_VM_READ
MOST_REGIONS = 1 << 22
_RESIDENT, _SHARED = 1, 1 << 15
_AT_ONCE = 4096
_Name = tuple[str | None, str | None, tuple[Gap, ...]]
"""A path, who serves it, and why it could not be read."""
_UNNAMED: _Name = (None, None, ())


class Memory:
    """Implements `hostscope.platforms.base_memory.Memory`."""

    def __init__(self, boot: Boot | None = None, privileges: PrivilegesProtocol | None = None) -> None:
        self._known_boot = boot
        self._privileges = privileges or Privileges()

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        """All mappings, ascending; with `details` what each holds in memory, page by page.

        Raises:
            Gone, Denied, Mismatch

        Source: VirtualQueryEx, GetMappedFileNameW; QueryWorkingSetEx for details.
        Cost: a system call for each region, and one for each mapped file.
        """
        with self._held(key) as process:
            try:
                found = read_regions(process)
                return tuple(_detailed(process, region) for region in found) if details else found
            except OSError as failed:
                raise translate.error("VirtualQueryEx", failed, key.pid) from failed

    @contextmanager
    def open(self, key: ProcessKey) -> Iterator[AddressSpace]:
        """The address space of this very process.

        Raises:
            Gone, Denied, Mismatch
        """
        with self._held(key) as process:
            yield AddressSpace(process, key.pid)

    def give_way(self) -> None:
        """Others run before the calling thread from now on (THREAD_PRIORITY_LOWEST)."""
        threads.give_way()

    @contextmanager
    def executable(self, key: ProcessKey) -> Iterator[BinaryIO]:
        """The file that this very process runs: Windows lets nobody replace it while it runs, only rename it.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: its file has another name now, or the process has none.

        Source: QueryFullProcessImageNameW.
        """
        with self._held(key) as process:
            try:
                path = native.image_name(process)
            except OSError as failed:
                raise translate.error("QueryFullProcessImageNameW", failed, key.pid) from failed
            descriptor = _opened_file(path, key.pid)
        with open(descriptor, "rb") as file:
            yield file

    @contextmanager
    def _held(self, key: ProcessKey) -> Iterator[int]:
        if not key.pid:
            raise Unavailable("process 0 is the kernel's idle loop, without memory of its own")
        with hold(self._boot, self._privileges, key, READ, f"read the memory of process {key.pid}") as process:
            yield process

    @property
    def _boot(self) -> Boot:
        if self._known_boot is None:
            self._known_boot = read_boot()
        return self._known_boot


def _opened_file(path: str, pid: int) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except PermissionError as failed:
        raise Denied(f"{path}: {failed.strerror}", translate.DEBUG_HINT) from failed
    except OSError as failed:
        raise Unavailable(f"the executable {path} of process {pid}: {failed.strerror}") from failed


def read_regions(process: int) -> tuple[Region, ...]:
    """All regions of the process of a handle, free addresses left out. Raises OSError."""
    named = partial(_named, process, paths.drives(), memory.path_buffer())
    names: dict[int, _Name] = {}
    found: list[Region] = []
    address = 0
    while len(found) < MOST_REGIONS and (pages := _query(process, address)) is not None:
        address = pages.start + pages.size
        if pages.state == FREE:
            continue
        if pages.allocation not in names:
            mapped = pages.kind in (memory.MEM_IMAGE, memory.MEM_MAPPED)
            names[pages.allocation] = named(pages.start) if mapped else _UNNAMED
        found.append(region_of(pages, *names[pages.allocation]))
    return tuple(found)


def _named(process: int, drives: dict[str, str], buffer: Any, address: int) -> _Name:
    """The file that is mapped at an address."""
    try:
        device = memory.mapped_file(process, address, buffer)
    except OSError as failed:
        return None, None, (translate.gap("path", failed),)
    return (decode_str(by_drive(device, drives)), served_by(device), ()) if device is not None else _UNNAMED


def _query(process: int, address: int) -> Pages | None:
    """The pages at an address; None when there are none, or the answer does not lead on."""
    found = memory.query(process, address)
    if found is None:
        return None
    start, size = found.BaseAddress or 0, found.RegionSize
    if start + size <= address:
        return None
    return Pages(
        start, found.AllocationBase or 0, found.AllocationProtect, size, found.State, found.Protect, found.Type
    )


def _detailed(process: int, region: Region) -> Region:
    """The same region with the bytes of it that are in memory, and those that no other process can share."""
    if region.state == "reserved":
        return region
    try:
        resident, private = _held_bytes(process, region)
    except OSError as failed:  # Wine answers about its own process only
        return replace(region, gaps=(*region.gaps, translate.gap("resident_bytes", failed)))
    return replace(region, resident_bytes=resident, private_dirty_bytes=private)


def _held_bytes(process: int, region: Region) -> tuple[int, int]:
    """Raises OSError."""
    resident = private = 0
    for start in range(region.start, region.end, _AT_ONCE * PAGE_BYTES):
        addresses = range(start, min(start + _AT_ONCE * PAGE_BYTES, region.end), PAGE_BYTES)
        for page in memory.working_set(process, addresses):
            if page & _RESIDENT:
                resident += PAGE_BYTES
                private += 0 if page & _SHARED else PAGE_BYTES
    return resident, private
