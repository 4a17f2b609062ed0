"""One debugged process: its modules, threads and breakpoints.

A breakpoint is the instruction INT3 in place of a function's first byte. To get over it a thread runs that one
instruction with the byte restored, and meanwhile all other threads are suspended, so that none slips through.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct

from hostscope.model.key import ProcessKey
from hostscope.platforms.windows.native import control, debug, memory, objects, threads
from hostscope.platforms.windows.parse_context import FORMS, register, with_register, with_trap
from hostscope.platforms.windows.parse_exports import parse_exports
from hostscope.platforms.windows.trace_calls import SELF, WORD, Function, Seen

FORM = FORMS["amd64"]
INT3 = b"\xcc"
IN_REGISTERS = ("rcx", "rdx", "r8", "r9")
SHADOW_BYTES = 0x28
"""On the stack at a function's entry: the return address, and room for four arguments."""
LAST_ERROR_AT = 0x68
"""Of TEB."""
MOST_PENDING = 64
"""Calls of one thread that have not returned; older ones never will (longjmp, exceptions)."""


class Module(Struct, frozen=True):
    """A loaded library."""

    base: int
    name: str


class Pending(Struct):
    """A call that has begun."""

    function: Function
    arguments: tuple[int, ...]
    before: tuple[int | None, ...]
    target: int | None
    return_at: int
    stack: int
    """The stack pointer once it has returned."""
    began_ns: int


class Thread(Struct):
    """A thread of the process."""

    tid: int
    handle: int
    block: int
    pending: list[Pending]


class Returned(Struct, frozen=True):
    """A call that has returned."""

    seen: Seen
    tid: int
    duration_ns: int
    caller: str
    outside: bool


class Debugged:
    """A process that we debug. Its methods may be called while it stands at a debug event."""

    def __init__(self, key: ProcessKey, process: int, wanted: tuple[Function, ...], is_32_bit: bool = False) -> None:
        """`process` is the handle that the debugger interface gave, which may do everything, and closes."""
        self.key = key
        self.process = process
        self.is_32_bit = is_32_bit
        """Its calls are seen where they leave 32-bit code: in the ntdll that has ours' width."""
        self._wanted = {function.name: function for function in wanted}
        self._threads: dict[int, Thread] = {}
        self._modules: dict[int, Module] = {}
        self._entries: dict[int, Function] = {}
        self._placed: dict[int, bytes] = {}
        """Original byte by address."""
        self._ours: set[int] = set()
        """Every address that ever had a breakpoint of ours."""
        self._returns: dict[int, int] = {}
        """Calls that will return to an address."""
        self._stepping: tuple[int, int] | None = None
        """Thread and address that is stepped over."""
        self._held: list[Thread] = []
        self.blocked: set[str] = set()
        """Functions that have a breakpoint of somebody else, or pages that cannot be written."""
        self.ending = False
        """Breakpoints are gone, and what hit one before is sent back to its start."""

    @property
    def found(self) -> frozenset[str]:
        """Functions that have a breakpoint."""
        return frozenset(function.name for function in self._entries.values())

    # What comes and goes --------------------------------------------------------------------------------------------

    def add_thread(self, tid: int, handle: int, block: int) -> None:
        """A thread; one that begins while others are held is held, too."""
        thread = Thread(tid, handle, block, [])
        self._threads[tid] = thread
        if self._stepping is not None:
            self._hold(thread)

    def drop_thread(self, tid: int) -> None:
        """It ended; what it called never returns."""
        thread = self._threads.pop(tid, None)
        for pending in thread.pending if thread else ():
            self._forget(pending)
        if self._stepping is not None and self._stepping[0] == tid:
            self._stepped()

    def add_module(self, base: int) -> None:
        """A library: breakpoints are set in it if it has wanted functions."""
        exports = parse_exports(self._read, base, frozenset(self._wanted))
        if exports is None:
            return
        name = exports.name.lower() or f"{base:#x}"
        self._modules[base] = Module(base, name)
        for function, address in exports.addresses.items():
            if name.removesuffix(".dll") == self._wanted[function].module and exports.is_64_bit and not self.ending:
                if self._place(address):
                    self._entries[address] = self._wanted[function]
                else:
                    self.blocked.add(function)

    def drop_module(self, base: int) -> None:
        """A library that is unloaded takes its breakpoints along: those that are not there any more."""
        if self._modules.pop(base, None):
            stepped = self._stepping[1] if self._stepping else None
            for address in [at for at in self._placed if at != stepped and self._read(at, 1) != INT3]:
                del self._placed[address]
                self._entries.pop(address, None)

    # Breakpoints ----------------------------------------------------------------------------------------------------

    def at_breakpoint(self, tid: int, address: int) -> Returned | bool | None:
        """A thread met INT3: what returned, None for one of ours without news, False for one that is not ours."""
        if address not in self._ours or tid not in self._threads:
            return False
        if address not in self._placed and self._read(address, 1) == INT3:
            return False  # the program's own, where one of ours was before
        thread = self._threads[tid]
        context = threads.context(thread.handle, FORM.size, FORM.flags_at, FORM.everything)
        if self._stepping is not None:  # it met this one before it was held: it will meet it again
            threads.set_context(thread.handle, with_register(context, "rip", address))
            return None
        came = None
        if address in self._placed and not self.ending:
            came = self._returned(thread, context, address)
            if address in self._entries:
                self._called(thread, context, self._entries[address])
        self._go_back(thread, context, address)
        return came

    def at_step(self, tid: int) -> bool:
        """A thread ran one instruction; whether we had it do so."""
        if self._stepping is None or self._stepping[0] != tid:
            return False
        self._stepped()
        return True

    def remove_all(self) -> int:
        """Restores every byte, with everybody standing still so that nobody reads half of it; how many it could not."""
        self.ending = True
        with self._standing_still():
            failed = sum(not self._write(address, original) for address, original in self._placed.items())
        self._placed.clear()
        return failed

    def let_run(self) -> None:
        """At the end: nobody waits any more for a thread whose one instruction did not come, as it was suspended."""
        if self._stepping is not None and (thread := self._threads.get(self._stepping[0])) is not None:
            with suppress(OSError):  # it ended
                threads.suspend(thread.handle)
                try:
                    context = threads.context(thread.handle, FORM.size, FORM.flags_at, FORM.everything)
                    threads.set_context(thread.handle, with_trap(context, False))
                finally:
                    threads.resume(thread.handle)
        self._stepped()

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        try:
            control.suspend(self.process)
        except OSError:  # it is ending
            yield
            return
        try:
            yield
        finally:
            control.resume(self.process)

    def _go_back(self, thread: Thread, context: bytes, address: int) -> None:
        """To the instruction that INT3 replaces: by one step, or for good where it is not needed any more."""
        context = with_register(context, "rip", address)
        original = self._placed.get(address)
        if original is not None:
            self._write(address, original)
            self._stepping = thread.tid, address
            for other in self._threads.values():
                if other is not thread:
                    self._hold(other)
            context = with_trap(context, True)
        threads.set_context(thread.handle, context)

    def _stepped(self) -> None:
        """The byte goes back, and everybody runs on."""
        if self._stepping is not None:
            _, address = self._stepping
            if address in self._placed:
                self._write(address, INT3)
        self._stepping = None
        for thread in self._held:
            with suppress(OSError):  # it ended
                threads.resume(thread.handle)
        self._held.clear()

    def _hold(self, thread: Thread) -> None:
        with suppress(OSError):  # it ended
            threads.suspend(thread.handle)
            self._held.append(thread)

    def _place(self, address: int) -> bool:
        if address in self._placed:
            return True
        original = self._read(address, 1)
        if len(original) != 1 or original == INT3 or not self._write(address, INT3):
            return False
        self._placed[address] = original
        self._ours.add(address)
        return True

    def _take(self, address: int) -> None:
        original = self._placed.pop(address, None)
        if original is not None:
            self._write(address, original)

    # Calls ----------------------------------------------------------------------------------------------------------

    def _called(self, thread: Thread, context: bytes, function: Function) -> None:
        stack = register(context, "rsp")
        return_at = self._word(stack)
        if return_at is None:
            return
        arguments = self._arguments(context, stack, len(function.parameters))
        pending = Pending(
            function, arguments, self._pointed(function, arguments), self._target(function, arguments), return_at,
            stack + 8, time.perf_counter_ns(),
        )  # fmt: skip
        thread.pending.append(pending)
        self._returns[return_at] = self._returns.get(return_at, 0) + 1
        self._place(return_at)
        if len(thread.pending) > MOST_PENDING:
            self._forget(thread.pending.pop(0))

    def _returned(self, thread: Thread, context: bytes, address: int) -> Returned | None:
        """The call that came back here; those that were left behind by jumps are forgotten."""
        stack = register(context, "rsp")
        while thread.pending and thread.pending[-1].stack < stack:
            self._forget(thread.pending.pop())
        if not thread.pending or (thread.pending[-1].return_at, thread.pending[-1].stack) != (address, stack):
            return None
        pending = thread.pending.pop()
        self._forget(pending)
        seen = Seen(
            pending.function, pending.arguments, pending.before, self._pointed(pending.function, pending.arguments),
            register(context, "rax"), self._last_error(thread), pending.target,
        )  # fmt: skip
        caller, outside = self._place_of(address)
        return Returned(seen, thread.tid, time.perf_counter_ns() - pending.began_ns, caller, outside)

    def _forget(self, pending: Pending) -> None:
        """Its return address needs no breakpoint any more, if nobody else returns there."""
        left = self._returns.get(pending.return_at, 1) - 1
        if left:
            self._returns[pending.return_at] = left
            return
        self._returns.pop(pending.return_at, None)
        if pending.return_at not in self._entries:
            self._take(pending.return_at)

    def _arguments(self, context: bytes, stack: int, count: int) -> tuple[int, ...]:
        found = [register(context, name) for name in IN_REGISTERS[:count]]
        raw = self._read(stack + SHADOW_BYTES, 8 * max(0, count - 4))
        found += [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
        return tuple(found + [0] * (count - len(found)))

    def _pointed(self, function: Function, arguments: tuple[int, ...]) -> tuple[int | None, ...]:
        kinds = ("in-word", "out-word", "out-page")
        return tuple(
            self._word(value) if parameter.kind in kinds and value else None
            for parameter, value in zip(function.parameters, arguments, strict=True)
        )

    def _target(self, function: Function, arguments: tuple[int, ...]) -> int | None:
        """Of the handle: the pid when it is another process."""
        place = function.place("handle")
        if place is None or arguments[place] in (SELF, 0):
            return None
        pid = objects.process_behind(self.process, arguments[place])
        return None if pid == self.key.pid else pid

    def _last_error(self, thread: Thread) -> int | None:
        raw = self._read(thread.block + LAST_ERROR_AT, 4) if thread.block else b""
        return int.from_bytes(raw, "little") if len(raw) == 4 else None

    def _place_of(self, address: int) -> tuple[str, bool]:
        """``ntdll.dll+0x1234``, and whether it is outside of every library.

        By the kernel's map: what a library says of its own size is the process's to write.
        """
        try:
            pages = memory.query(self.process, address)
        except OSError:
            pages = None
        module = self._modules.get(pages.AllocationBase or 0) if pages else None
        if module is None or pages is None or pages.Type != memory.MEM_IMAGE:
            return f"{address:#x}", pages is None or pages.Type != memory.MEM_IMAGE
        return f"{module.name}+{address - module.base:#x}", False

    # Memory ---------------------------------------------------------------------------------------------------------

    def _word(self, address: int) -> int | None:
        raw = self._read(address & WORD, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else None

    def _read(self, address: int, size: int) -> bytes:
        into = bytearray(size)
        return bytes(into[: memory.read_into(self.process, address, memoryview(into))])

    def _write(self, address: int, content: bytes) -> bool:
        done = memory.write(self.process, address, content) == len(content)
        debug.kernel32.FlushInstructionCache(self.process, address, len(content))
        return done
