"""Address spaces of processes: /proc/PID/{maps,smaps,mem,pagemap,auxv}."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import BinaryIO

from msgspec.structs import replace

from hostscope.errors import Gone, Mismatch, Unavailable
from hostscope.model.key import ProcessKey
from hostscope.model.memory import Region
from hostscope.model.text import encode
from hostscope.platforms.linux import translate
from hostscope.platforms.linux.address_space import SHARED_MEMORY, AddressSpace, OpenMapped, takes_memory
from hostscope.platforms.linux.clock import PAGE_BYTES, Boot, read_boot
from hostscope.platforms.linux.detail import ENDED, open_holder, read_records
from hostscope.platforms.linux.pagemap import Pagemap, tells_holes
from hostscope.platforms.linux.parse import PF_KTHREAD, parse_stat
from hostscope.platforms.linux.parse_memory import parse_in_memory, parse_regions, parse_remote, parse_smaps
from hostscope.platforms.linux.privileges import READ_OTHERS, Privileges
from hostscope.platforms.linux.read import PATH_ONLY, read_at

MAPS_LIMIT, SMAPS_LIMIT = 1 << 25, 1 << 28
"""Bytes; far beyond vm.max_map_count lines."""
_AUXV_LIMIT = 4096
LOOK_BEHIND = ("checkpoint_restore",)
"""What opening the files behind mappings takes (Linux 5.9)."""
NICE = 10
"""Of threads that read memory."""
DEVICE_FLAGS = frozenset({"io", "pf"})
"""VmFlags of mappings of devices and of the kernel's own pages."""
_DEVICES = ("/dev/", "/sys/", "/proc/", "/dmabuf")
"""Where files stand that are registers of a device, PCI resources among them."""


class Memory:
    """Implements `hostscope.platforms.base_memory.Memory`."""

    def __init__(self, boot: Boot | None = None, privileges: Privileges | None = None) -> None:
        self._boot = boot or read_boot()
        self._privileges = privileges or Privileges()

    def regions(self, key: ProcessKey, details: bool) -> tuple[Region, ...]:
        """All mappings, ascending; with `details` what each holds, which walks page tables.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: a kernel thread, or a zombie.

        Source: /proc/PID/maps, smaps.
        Cost: one read for 4 KiB of text, a stat for each file. With details 0.1 us for each resident page, and so long
            (55 ms for 2 GiB) the process can change no mapping: what must not disturb it does without.
        """
        name, limit, parse = ("smaps", SMAPS_LIMIT, parse_smaps) if details else ("maps", MAPS_LIMIT, parse_regions)
        with self._opened(key) as (_, directory):
            try:
                raw = read_records(directory, name, limit)
            except OSError as failed:
                raise translate.error("maps", failed, key.pid) from failed
            if not raw:
                raise self._without_memory(key, directory)
            files = _Files(directory, self._mounts(directory), partial(self._open_mapped, key, directory))
            found = [files.fill(region) for region in parse(raw)]
        if len(raw) >= limit:
            raise Unavailable(f"process {key.pid}: {name} is longer than {limit} bytes")
        return tuple(found)

    @contextmanager
    def open(self, key: ProcessKey) -> Iterator[AddressSpace]:
        """The address space of this very process.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: a kernel thread, or a zombie.
        """
        with ExitStack() as closing:
            with self._opened(key) as (task, shown):
                directory = os.open(".", PATH_ONLY, dir_fd=shown)
                closing.callback(os.close, directory)
                try:
                    mem = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
                except OSError as failed:
                    if failed.errno in translate.VANISHED:
                        raise self._without_memory(key, directory) from failed
                    raise translate.error("mem", failed, key.pid) from failed
                closing.callback(os.close, mem)
                pagemap = self._pagemap(directory, closing)
                auxv = self._auxv(key, directory)
                in_memory = parse_in_memory(self._mounts(directory))
            open_mapped = partial(self._open_mapped, key, directory)
            yield AddressSpace(task, directory, mem, pagemap, auxv, in_memory, open_mapped)

    def give_way(self) -> None:
        """Others run before the calling thread from now on: who reads memory must not slow down whose it is.

        Linux has a nice value for each thread. At 10 a busy thread of the target pauses two thirds as long as at 0; at
        19 the scheduler lets us finish what we began instead, and it pauses longer than at 0 (measured on 6.18).
        """
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))

    @contextmanager
    def executable(self, key: ProcessKey) -> Iterator[BinaryIO]:
        """The file that this very process runs, whatever stands at its path now.

        Raises:
            Gone, Denied, Mismatch
            Unavailable: a kernel thread, or a zombie.

        Source: /proc/PID/exe.
        """
        with self._opened(key) as (_, directory):
            try:
                fd = os.open("exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
            except FileNotFoundError:
                raise self._without_memory(key, directory) from None
            except OSError as failed:
                raise translate.error("exe", failed, key.pid) from failed
        with open(fd, "rb") as file:
            yield file

    @contextmanager
    def _opened(self, key: ProcessKey) -> Iterator[tuple[int, int]]:
        """A thread that shows the memory, and its directory; read privileges are in effect inside the block."""
        with self._privileges.using(READ_OTHERS, f"read the memory of process {key.pid}"):
            try:
                process = os.open(f"/proc/{key.pid}", PATH_ONLY)
            except OSError as failed:
                raise translate.error("open", failed, key.pid) from failed
            try:
                self._check(key, process)
                with open_holder(process) as (thread, directory):
                    yield thread or key.pid, directory
            finally:
                os.close(process)

    def _check(self, key: ProcessKey, process: int) -> None:
        """The directory stays with its process, so one look after opening it is enough."""
        try:
            start = parse_stat(read_at(process, "stat")).start
        except OSError as failed:
            raise translate.error("stat", failed, key.pid) from failed
        if not self._boot.key(key.pid, start).same(key):
            raise Mismatch(f"process {key.pid} is not the one that was meant: its start differs")

    def _mounts(self, directory: int) -> bytes:
        try:
            raw = read_records(directory, "mountinfo", MAPS_LIMIT)
        except OSError:
            return b""  # then a read that gets no answer tells
        return raw[: raw.rfind(b"\n") + 1]

    def _open_mapped(self, key: ProcessKey, directory: int, region: Region) -> int | None:
        """The file behind a mapping, or None where that is denied. Source: /proc/PID/map_files (Linux 3.3)."""
        name = f"map_files/{region.start:x}-{region.end:x}"
        with self._privileges.using((*READ_OTHERS, *LOOK_BEHIND), f"find the holes of what process {key.pid} maps"):
            try:
                return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
            except OSError:
                return None

    def _pagemap(self, directory: int, closing: ExitStack) -> Pagemap | None:
        try:
            fd = os.open("pagemap", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return None  # a kernel without it: every page is read, and the manifest's method says so
        closing.callback(os.close, fd)
        return Pagemap(fd)

    def _auxv(self, key: ProcessKey, directory: int) -> bytes:
        try:
            raw = read_at(directory, "auxv", _AUXV_LIMIT)
        except OSError as failed:
            raise translate.error("auxv", failed, key.pid) from failed
        if not raw:
            raise self._without_memory(key, directory)
        return raw

    def _without_memory(self, key: ProcessKey, directory: int) -> Unavailable | Gone:
        try:
            status = parse_stat(read_at(directory, "stat"))
        except OSError:
            status = None
        if status is None or not (status.flags & PF_KTHREAD or status.state in ENDED):
            return Gone(f"process {key.pid}: there is no such process")
        what = "a kernel thread" if status.flags & PF_KTHREAD else "a zombie: it ended, and its memory with it"
        return Unavailable(f"process {key.pid} has no memory: it is {what}")


class _Files:
    """What mapped files are, as the process sees them; each is asked once."""

    def __init__(self, directory: int, mounts: bytes, open_mapped: OpenMapped) -> None:
        self._directory = directory
        self._remote = parse_remote(mounts)
        self._in_memory = parse_in_memory(mounts)
        self._open_mapped = open_mapped
        self._known: dict[tuple[str, int], os.stat_result | None] = {}
        self._flags: dict[int, frozenset[str]] | None = None

    def fill(self, region: Region) -> Region:
        """The region with `backed_bytes`, `special` and `served_by`."""
        path = region.path or ""
        if not region.inode:
            return region
        if takes_memory(region, self._in_memory):
            return region if self._tells_holes(region) else replace(region, served_by="tmpfs")
        if path.startswith(SHARED_MEMORY):
            return region
        if region.device in self._remote:  # asking after the file might wait for its server
            return replace(region, served_by=self._remote[region.device])
        found = self._status(path, region.inode)
        if found is None or region.deleted:
            return replace(region, special=self._out_of_sight(region, path))
        if not stat.S_ISREG(found.st_mode):
            return replace(region, special=True)
        if found.st_ino != region.inode:  # another file has its name now
            return replace(region, special=self._out_of_sight(region, path))
        left = -(-max(0, found.st_size - region.offset) // PAGE_BYTES) * PAGE_BYTES
        special = path.startswith(_DEVICES)
        return replace(region, backed_bytes=min(left, region.size_bytes), special=special)

    def _tells_holes(self, region: Region) -> bool:
        fd = self._open_mapped(region)
        if fd is None:
            return False
        try:
            return tells_holes(fd)
        finally:
            os.close(fd)

    def _out_of_sight(self, region: Region, path: str) -> bool:
        """Whether a mapping is of a device though its file cannot be looked at: by the kernel's flags of the mapping.

        Objects of the kernel have no path (anon_inode:…, socket:…).
        """
        if not path.startswith("/") or path.startswith(_DEVICES):
            return True
        if region.flags:
            return bool(DEVICE_FLAGS & set(region.flags))
        if self._flags is None:
            self._flags = self._read_flags()
        return bool(DEVICE_FLAGS & self._flags.get(region.start, frozenset()))

    def _read_flags(self) -> dict[int, frozenset[str]]:
        """Costs as smaps, so it is read only where such a mapping exists, and once."""
        try:
            regions = parse_smaps(read_records(self._directory, "smaps", SMAPS_LIMIT))
        except (OSError, ValueError):
            return {}
        return {region.start: frozenset(region.flags) for region in regions}

    def _status(self, path: str, inode: int) -> os.stat_result | None:
        place = (path, inode)
        if place not in self._known:
            try:
                self._known[place] = os.stat(b"root" + encode(path), dir_fd=self._directory)
            except OSError:
                self._known[place] = None
        return self._known[place]
