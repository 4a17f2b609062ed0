"""What one process holds: handles, memory, threads, sockets, environment, modules, windows.

A handle of the process stays open while its parts are read, so that nobody else can be given its pid meanwhile.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec.structs import replace

from hostscope.errors import Error, Unsupported, UsageError
from hostscope.model.detail import MemoryMap, Module, OpenFile, ProcessDetail, Thread, Variable, Window
from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.socket import Socket, SocketRequest
from hostscope.platforms import base_memory, base_network, base_program
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.attempts import as_gap
from hostscope.platforms.windows.clock import TICK_NS, Boot, filetime_ns
from hostscope.platforms.windows.facts import UNKNOWN_STATE
from hostscope.platforms.windows.identity import hold
from hostscope.platforms.windows.images import SYSTEM
from hostscope.platforms.windows.native import desktop, handles, modules, thread_names, threads
from hostscope.platforms.windows.open_handles import read_handles
from hostscope.platforms.windows.parse_processes import ThreadEntry
from hostscope.platforms.windows.peb import Block
from hostscope.platforms.windows.privileges import READ_OTHERS
from hostscope.platforms.windows.process_list import read_processes
from hostscope.platforms.windows.waits import STATES, WAIT_REASONS

PARTS = ("open_files", "maps", "threads", "sockets", "environment", "modules", "windows")
READ_MEMORY = handles.PROCESS_QUERY_LIMITED_INFORMATION | handles.PROCESS_VM_READ
LOAD_MEMORY = handles.PROCESS_QUERY_INFORMATION | handles.PROCESS_VM_READ

Part = TypeVar("Part")


class Details:
    """Reads what processes of one host hold."""

    def __init__(
        self, boot: Boot, privileges: base_program.Privileges, memory: base_memory.Memory, sockets: base_network.Sockets
    ) -> None:
        self._boot = boot
        self._privileges = privileges
        self._memory = memory
        self._sockets = sockets

    def read(self, key: ProcessKey, parts: frozenset[str]) -> ProcessDetail:
        """The named parts of one process; a part that cannot be read is None with a gap of its own.

        Raises:
            UsageError: a part has no such name.
            Gone, Denied, Mismatch: nothing can be read at all.
        """
        if unknown := parts - set(PARTS):
            raise UsageError(f"unknown part {sorted(unknown)[0]!r}", f"parts: {', '.join(PARTS)}")
        with (
            self._privileges.using(READ_OTHERS, f"read process {key.pid}"),
            hold(self._boot, self._privileges, key, 0, f"read process {key.pid}"),
        ):
            return _Reader(key, self._memory, self._sockets).read(parts)


class _Reader:
    def __init__(self, key: ProcessKey, memory: base_memory.Memory, sockets: base_network.Sockets) -> None:
        self._key = key
        self._pid = key.pid
        self._memory = memory
        self._sockets = sockets
        self._gaps: list[Gap] = []

    def read(self, parts: frozenset[str]) -> ProcessDetail:
        def part(name: str, read: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...] | None:
            return self._attempt(name, read) if name in parts else None

        found = part("modules", self._modules)
        return ProcessDetail(
            open_files=part("open_files", self._open_files),
            maps=part("maps", self._maps),
            threads=part("threads", lambda: self._threads(found)),
            sockets=part("sockets", self._held_sockets),
            environment=part("environment", self._environment),
            modules=found,
            windows=part("windows", self._windows),
            gaps=tuple(self._gaps),
        )

    def _attempt(self, name: str, read: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...] | None:
        try:
            return read()
        except (Error, OSError, ValueError) as failed:
            self._gaps.append(as_gap(name, failed))
        return None

    def _open_files(self) -> tuple[OpenFile, ...]:
        with _opened_if_allowed(self._pid, handles.PROCESS_DUP_HANDLE) as process:
            files, gaps = read_handles(self._pid, process)
        self._gaps += gaps
        return files

    def _maps(self) -> tuple[MemoryMap, ...]:
        regions = self._memory.regions(self._key, details=False)
        refused = next((gap for region in regions for gap in region.gaps), None)
        self._gaps += [replace(refused, field=f"maps.{refused.field}")] if refused else []
        return tuple(
            MemoryMap(r.start, r.end, r.permissions, r.offset, r.device, r.inode, r.path, r.deleted) for r in regions
        )

    def _modules(self) -> tuple[Module, ...]:
        with handles.opened(self._pid, LOAD_MEMORY) as process:
            found, failed = [], None
            for base_address in modules.module_bases(process):
                try:
                    found.append(_module(modules.describe_module(process, base_address)))
                except OSError as unloaded:
                    failed = unloaded
        if failed and not found:
            raise failed
        if failed:
            self._gaps.append(Gap("modules", Reason.TRUNCATED, f"one or more could not be described: {failed}"))
        return tuple(found)

    def _held_sockets(self) -> tuple[Socket, ...]:
        found = []
        for socket in self._sockets.sweep(SocketRequest(tcp_details=False), Tally()):
            owners = tuple(owner for owner in socket.owners or () if owner.key.same(self._key))
            if owners:
                found.append(replace(socket, owners=owners))
        return tuple(found)

    def _environment(self) -> tuple[Variable, ...]:
        with handles.opened(self._pid, READ_MEMORY) as process:
            found, gap = Block(process).environment()
        if gap:
            self._gaps.append(gap)
        return found

    def _windows(self) -> tuple[Window, ...]:
        return tuple(Window(*shown) for shown in desktop.windows_of(self._pid))

    # Threads ----------------------------------------------------------------------------------------------------

    def _threads(self, loaded: tuple[Module, ...] | None) -> tuple[Thread, ...]:
        listed = next((one for one in read_processes() if one.pid == self._pid), None)
        entries = list(listed.thread_entries()) if listed else []
        places = sorted((module.base, module.base + module.size_bytes, module.path) for module in loaded or ())
        refused: dict[str, Exception] = {}
        found = tuple(self._thread(entry, places, refused) for entry in entries)
        if not any(entry.state for entry in entries):  # all of them "initialized": the kernel does not tell (Wine)
            found = tuple(replace(thread, state=UNKNOWN) for thread in found)
            self._gaps += [Gap("threads.state", UNKNOWN_STATE.reason, UNKNOWN_STATE.detail)] if found else []
        self._gaps += (as_gap(field, failed) for field, failed in refused.items())
        return found

    def _thread(self, entry: ThreadEntry, places: list[tuple[int, int, str]], refused: dict[str, Exception]) -> Thread:
        start = self._start_address(entry, refused)
        return Thread(
            tid=entry.tid,
            name=_thread_name(entry.tid, refused),
            state=STATES.get(entry.state, f"state {entry.state}"),
            user_ns=entry.user_time * TICK_NS,
            system_ns=entry.kernel_time * TICK_NS,
            started_at_ns=filetime_ns(entry.created),
            last_cpu=None,
            start_address=start,
            start_module=_at(start, places) if start else None,
            wait_reason=WAIT_REASONS.get(entry.reason, f"reason {entry.reason}") if entry.state == WAITING else None,
        )

    def _start_address(self, entry: ThreadEntry, refused: dict[str, Exception]) -> int | None:
        """As CreateThread was given it; for the kernel's own as the kernel lists it."""
        if self._pid == SYSTEM:
            return entry.start_address or None
        try:
            with handles.opened_thread(entry.tid, handles.THREAD_QUERY_INFORMATION) as thread:
                return threads.start_address(thread) or None
        except OSError as failed:
            refused.setdefault("threads.start_address", failed)
            return None


WAITING = 5
UNKNOWN = "unknown"


def _thread_name(tid: int, refused: dict[str, Exception]) -> str:
    try:
        with handles.opened_thread(tid, handles.THREAD_QUERY_LIMITED_INFORMATION) as thread:
            return thread_names.thread_name(thread)
    except (OSError, Unsupported) as failed:
        refused.setdefault("threads.name", failed)
        return ""


def _at(address: int, places: list[tuple[int, int, str]]) -> str | None:
    """The module that an address is in."""
    place = bisect_right(places, (address, 1 << 64, "")) - 1
    return places[place][2] if place >= 0 and address < places[place][1] else None


def _module(loaded: modules.Loaded) -> Module:
    name = loaded.path.rpartition("\\")[2]
    return Module(name, loaded.path, loaded.base, loaded.size_bytes, loaded.entry_point)


@contextmanager
def _opened_if_allowed(pid: int, access: int) -> Iterator[int | None]:
    """A handle, or None where it is refused."""
    try:
        opening = handles.opened(pid, access)
        process = opening.__enter__()
    except OSError:
        yield None
        return
    try:
        yield process
    finally:
        opening.__exit__(None, None, None)
