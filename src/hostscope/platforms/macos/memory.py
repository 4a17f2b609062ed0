"""Address spaces of processes: mach_vm_region_recurse, mach_vm_read_overwrite."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from stat import S_ISREG
from typing import BinaryIO

from hostscope.errors import Unavailable, Unsupported
from hostscope.model.detail import MemoryMap
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.text import encode
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.macos import tasks
from hostscope.platforms.macos.address_space import AddressSpace
from hostscope.platforms.macos.clock import Boot
from hostscope.platforms.macos.native import libproc, mach, sysctls
from hostscope.platforms.macos.native.mach import KernFailure, vm_region_submap_info_64
from hostscope.platforms.macos.parse import parse_text
from hostscope.platforms.macos.parse_detail import parse_region
from hostscope.platforms.macos.parse_region import permissions, tag_name
from hostscope.platforms.macos.raised import raised
from hostscope.platforms.macos.translate import error, gap

MOST_REGIONS = 1_000_000
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
DEVICE_TAGS = frozenset({21})
"""VM_MEMORY_IOKIT: registers of devices and memory that they share; reading may act on them."""


class Memory:
    """Implements `hostscope.platforms.base_memory.Memory`."""

    def __init__(self, boot: Boot, privileges: Privileges | None = None) -> None:
        self._boot, self._privileges = boot, privileges
        self._page_bytes: int | None = None

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        """All mappings, ascending, shared caches by their parts; the kernel tells what each holds at no further cost.

        Raises:
            Gone, Mismatch
            Denied: the reason and what helps, as far as the kernel lets it be known (`tasks.refused`).

        Source: mach_vm_region_recurse, PROC_PIDREGIONPATHINFO. Cost: one call for each region, and one for each that
            has a file behind it.
        """
        with self._raised(key), tasks.opened(self._boot, key, to_read=True) as task:
            return self.regions_of(key, task)

    @contextmanager
    def open(self, key: ProcessKey) -> Iterator[AddressSpace]:
        """The address space of this very process. Raises as `regions`."""
        with ExitStack() as closing:
            with self._raised(key):
                task = closing.enter_context(tasks.opened(self._boot, key, to_read=True))
            yield self.of_task(key, task)

    def give_way(self) -> None:
        """Others run before the calling thread from now on (QOS_CLASS_UTILITY)."""
        with suppress(Unsupported):
            mach.give_way()

    @contextmanager
    def executable(self, key: ProcessKey) -> Iterator[BinaryIO]:
        """The file at the path of the program that this process runs.

        macOS has no handle of a running image: a file that has replaced it since is what is read. The kernel refuses
        to write into a running image's file, and kills a process whose signed pages were changed.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: there is no regular file any more.
        """
        tasks.check(self._boot, key)
        try:
            with self._raised(key):
                path = parse_text(libproc.read_path(key.pid, libproc.path_buffer()))
                file = open(os.open(encode(path), _FLAGS), "rb")  # noqa: SIM115  (closed below)
        except OSError as failed:
            raise error("open the executable", failed, key.pid) from failed
        with file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unavailable(f"{path} is no regular file")
            tasks.check(self._boot, key)
            yield file

    def _raised(self, key: ProcessKey) -> AbstractContextManager[None]:
        return raised(self._privileges, f"read the memory of process {key.pid}")

    def of_task(self, key: ProcessKey, task: int) -> AddressSpace:
        """The address space behind a right that somebody else holds."""
        return AddressSpace(key.pid, task, self._page(), partial(tasks.check, self._boot, key))

    def regions_of(self, key: ProcessKey, task: int) -> tuple[Region, ...]:
        """Its mappings."""
        return tuple(self._read(key.pid, task))

    def _page(self) -> int:
        """Of the kernel; a translated process has smaller ones, which is of no consequence here."""
        if self._page_bytes is None:
            try:
                self._page_bytes = int.from_bytes(sysctls.read_name("hw.pagesize"), "little")
            except OSError as failed:
                raise error("sysctl hw.pagesize", failed) from failed
            if self._page_bytes < 4096 or self._page_bytes & (self._page_bytes - 1):
                raise Unavailable(f"the kernel says that pages have {self._page_bytes} bytes")
        return self._page_bytes

    def _read(self, pid: int, task: int) -> Iterator[Region]:
        question = libproc.Question(libproc.PROC_PIDREGIONPATHINFO, libproc.proc_regionwithpathinfo)
        address = depth = 0
        for _ in range(MOST_REGIONS):
            try:
                start, size, depth, info = mach.region(task, address, depth)
            except KernFailure as failed:
                if failed.code == mach.KERN_INVALID_ADDRESS:
                    return
                raise tasks.translated(failed, pid) from None
            if info.is_submap:
                depth += 1
                continue
            if not size or start + size <= address:
                return
            address = start + size
            file = _file(question, pid, start) if info.external_pager else None
            yield _region(start, size, info, file, self._page())


def _file(question: libproc.Question, pid: int, address: int) -> MemoryMap | Gap:
    """What is mapped, without a path for memory of pagers that are no file systems."""
    try:
        return parse_region(question.ask(pid, address))
    except OSError as failed:
        return gap("path", failed)
    except ValueError as failed:
        return Gap("path", Reason.UNAVAILABLE, str(failed))


def _region(start: int, size: int, info: vm_region_submap_info_64, file: MemoryMap | Gap | None, page: int) -> Region:
    mapped = file if isinstance(file, MemoryMap) and file.path else None
    return Region(
        start=start,
        end=start + size,
        permissions=permissions(info.protection, info.share_mode),
        offset=int(info.offset) if mapped else 0,
        device=mapped.device if mapped else "",
        inode=mapped.inode if mapped else 0,
        path=mapped.path if mapped else tag_name(info.user_tag),
        resident_bytes=info.pages_resident * page,
        private_dirty_bytes=info.pages_dirtied * page if info.ref_count == 1 else None,
        special=info.user_tag in DEVICE_TAGS,
        gaps=(file,) if isinstance(file, Gap) else (),
    )
