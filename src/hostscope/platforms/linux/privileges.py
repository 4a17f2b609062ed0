"""What we may do ourselves, and every use of it written down.

A command starts with `Privileges.lower_all`: capabilities stay permitted, but none is in effect. Each privileged step
then raises what it needs with `using`, for that block only. As root this reaches file access too: without
``dac_override`` in effect uid 0 opens no file of others, so a sweep says `using(("sys_ptrace", "dac_read_search"), …)`
and an answer written into someone's private directory needs ``using(("dac_override",), …)`` around it.

Capabilities are the calling *thread's*. `using` raises them for the thread that enters it, must be left by the same
thread, and counts uses per thread, so blocks may nest and overlap (generators). Threads inherit what is in effect
when they start: call `lower_all` before any is started.

Cost: capset(2) takes 1 µs; each of the two lines of the audit trail is an fsync: 0.7 ms for both on the development
machine's ext4, the first time 5 ms, which is mostly loading the hash library. So a sweep raises once, not for each
process. Without any permitted capability nothing is done and nothing written.

A live command goes further. `limit_to` gives up at its start whatever it never needs, `settle` whatever it needed only
to open what it now reads from; both for good, in the set of permitted capabilities (see `live`).
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from hostscope.errors import Denied
from hostscope.model.host import Ability
from hostscope.platforms.linux import capabilities
from hostscope.platforms.linux.parse import NO_ID, parse_security, parse_status
from hostscope.platforms.linux.read import read_file, read_text

if TYPE_CHECKING:  # imported when a privilege is used, which much of what is looked at does not take
    from hostscope.audit import AuditTrail
    from hostscope.chain import Who

READ_OTHERS = ("sys_ptrace", "dac_read_search")
"""What reading other users' /proc files takes: ptrace access (proc(5)), and directories nobody else may enter."""


class Held(Struct, frozen=True):
    """Capability masks of the calling thread."""

    effective: int
    permitted: int
    bounding: int


STANDS_IN = ("sys_admin",)
"""For CAP_BPF and CAP_PERFMON, as it did before they were split off in Linux 5.8."""


class _Uses(threading.local):
    """What this thread's open `using` blocks raised."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.raised = 0


class Privileges:
    """Implements `hostscope.platforms.base_program.Privileges`."""

    def __init__(self, trail: "AuditTrail | None" = None) -> None:
        self._given = trail
        self._uses = _Uses()
        self._notes: dict[str, None] = {}
        self._live: tuple[str, tuple[str, ...]] | None = None

    @cached_property
    def _trail(self) -> "AuditTrail":
        from hostscope.audit import AuditTrail, default_path

        return self._given or AuditTrail(default_path(), ourselves())

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be written to the audit trail, for an answer's coverage; each line once."""
        return tuple(self._notes)

    def held(self) -> tuple[str, ...]:
        """Effective capabilities of this thread by name, in kernel order; ``root`` first when the user is uid 0."""
        root = ("root",) if os.geteuid() == 0 else ()
        return root + capabilities.names(read_held().effective)

    def available(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `names` that `using` can bring into effect."""
        permitted = read_held().permitted
        return tuple(name for name in names if permitted & capabilities.mask([name]))

    def abilities(self) -> tuple[Ability, ...]:
        """Each capability of hostscope here; what only needs raising counts as available."""
        from hostscope.platforms.linux.abilities import Ourselves, list_abilities

        held = read_held()
        return list_abilities(Ourselves(held.permitted, held.bounding, os.getuid(), os.getgid()), self._trail)

    def lower_all(self) -> None:
        """Takes every capability out of effect that no open `using` block of this thread raised; all stay permitted.

        Where Python's own files lie in a directory that only a capability opens (a private home, run by sudo),
        dac_read_search stays in effect, or modules could no longer be loaded; a note says so.
        """
        if not read_held().effective & ~self._uses.raised:
            return
        loadable = _loadable()
        _set_effective(self._uses.raised)
        if loadable - _loadable() and self.available(("dac_read_search",)):
            _set_effective(self._uses.raised | capabilities.mask(["dac_read_search"]))
            self._notes["dac_read_search stays in effect: Python's modules are in a private directory"] = None

    def limit_to(self, command: str, writes: bool = False) -> None:
        """The program runs this live command and nothing else: what it never needs is given up, for good.

        Args:
            command: the word typed.
            writes: it writes files while it runs, in spite of their permissions if need be.

        Raises:
            KeyError: it is no live command.
        """
        from hostscope.platforms.linux.live import LIVE, WRITE_FILES

        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads would keep what is given up later
        also = WRITE_FILES if writes else ()
        needed = (*LIVE[command].most, *also)
        self._live = command, also
        self.lower_all()
        self._give_up(needed, f"{command} begins")

    def settle(self, method: str | None = None) -> None:
        """What the live command reads from is open: what it needs no more is given up by the calling thread, for good.

        Threads inherit what is left when they start, so this comes before they do. Without `limit_to` nothing happens:
        a program that uses hostscope as a library keeps what it has.
        """
        from hostscope.platforms.linux.live import LIVE

        if self._live is not None:
            command, also = self._live
            self._give_up((*LIVE[command].kept(method), *also), f"{command} has opened what it reads from")

    @contextmanager
    def using(self, names: tuple[str, ...], why: str) -> Iterator[None]:
        """Raises the named capabilities for the block and lowers them again; both steps go to the audit trail.

        Names that are not permitted are left out: what they would have shown becomes gaps. The trail names them, as
        it does those that were in effect before. With nothing permitted, nothing happens.

        Raises:
            KeyError: a name is no capability's.
            Denied: the kernel refused to raise a permitted one.
        """
        usable = self._usable(names)
        if not usable:
            yield
            return
        thread = threading.get_ident()
        before, missing = self._raise(usable, why)
        try:
            outcome = _outcome(usable, names, missing)
            self._record("privilege.raise", usable, why, (before, before | missing), outcome)
            yield
        finally:
            self._lower(usable, why, thread)

    def _usable(self, names: tuple[str, ...]) -> tuple[str, ...]:
        usable = self.available(names)
        if {"bpf", "perfmon"} & set(names) - set(usable):
            usable += tuple(name for name in self.available(STANDS_IN) if name not in usable)
        return usable

    def _give_up(self, needed: tuple[str, ...], why: str) -> None:
        held = read_held()
        kept = held.permitted & (capabilities.mask(self._usable(needed)) | held.effective)
        lost = capabilities.names(held.permitted & ~kept)
        if not lost:
            return
        try:
            _limit_permitted(kept)
        except OSError as failed:
            self._record("privilege.drop", lost, why, (held.permitted,) * 2, f"failed: {failed.strerror}")
            self._notes[f"privileges could not be given up: {failed.strerror}"] = None
            return
        others = _threads_beyond(kept)
        if others:
            self._notes[f"{others} threads that had started before keep privileges that were given up"] = None
        outcome = f"done, but for {others} threads that had started before" if others else "done"
        self._record("privilege.drop", lost, why, (held.permitted, kept), outcome)

    def _raise(self, usable: tuple[str, ...], why: str) -> tuple[int, int]:
        """The mask before, and what was missing in it; an interrupt may come as soon as this returns."""
        before = read_held().effective
        missing = capabilities.mask(usable) & ~before
        try:
            if missing:
                _set_effective(before | missing)
        except OSError as failed:
            self._record("privilege.raise", usable, why, (before, before), f"failed: {failed.strerror}")
            raise Denied(f"cannot raise {' '.join(usable)}: {failed.strerror}") from failed
        self._uses.counts.update(usable)
        self._uses.raised |= missing
        return before, missing

    def _lower(self, usable: tuple[str, ...], why: str, thread: int) -> None:
        before = read_held().effective
        if thread != threading.get_ident():
            lost = "failed: the block was left by another thread, the one that entered it keeps them"
            self._record("privilege.lower", usable, why, (before, before), lost)
            self._notes[f"privileges stay raised ({' '.join(usable)}): {lost}"] = None
            return
        after = before & ~self._release(usable)
        if after != before:
            _set_effective(after)
        self._record("privilege.lower", usable, why, (before, after), "done" if after != before else "done: still used")

    def _release(self, usable: tuple[str, ...]) -> int:
        """The mask of what nobody in this thread uses any more and was not in effect before it was raised."""
        self._uses.counts.subtract(usable)
        unused = capabilities.mask(name for name in usable if self._uses.counts[name] <= 0)
        dropped = unused & self._uses.raised
        self._uses.raised &= ~dropped
        return dropped

    def _record(self, action: str, usable: tuple[str, ...], why: str, masks: tuple[int, int], outcome: str) -> None:
        before, after = (" ".join(capabilities.names(mask)) for mask in masks)
        note = self._trail.try_append(
            action, what=" ".join(usable), why=why, before=before, after=after, outcome=outcome
        )
        if note:
            self._notes[note] = None


def lacking(names: tuple[str, ...]) -> str:
    """`` (not permitted: CAP_BPF)`` of those capabilities that this thread cannot raise, for a message; or nothing."""
    permitted = read_held().permitted
    if set(names) & {"bpf", "perfmon"} and permitted & capabilities.mask(STANDS_IN):
        names = tuple(name for name in names if name not in ("bpf", "perfmon"))
    missing = [f"CAP_{name.upper()}" for name in names if not permitted & capabilities.mask([name])]
    return f" (not permitted: {' '.join(missing)})" if missing else ""


def granting(missing: str) -> str:
    """What to add to a hint when `lacking` found something."""
    return "; hostscope doctor shows how to grant it" if missing else ""


def ourselves() -> "Who":
    """Who runs this, with the login user that the kernel remembers through su and sudo."""
    from hostscope.audit import this_process
    from hostscope.chain import Who

    text = read_text("/proc/self/loginuid")
    login = int(text) if text and text.isdecimal() else NO_ID
    who = this_process()
    return Who(uid=who.uid, login_uid=None if login == NO_ID else login, pid=who.pid, tty=who.tty)


def read_held() -> Held:
    """This thread's masks. Source: /proc/thread-self/status, which costs less than loading ctypes."""
    security = parse_security(parse_status(read_file("/proc/thread-self/status")).security)
    return Held(security.effective, security.permitted, security.bounding)


def _set_effective(mask: int) -> None:
    from hostscope.platforms.linux.native import libc

    libc.set_effective(mask)


def _limit_permitted(mask: int) -> None:
    from hostscope.platforms.linux.native import libc

    libc.limit_permitted(mask)


def _threads_beyond(kept: int) -> int:
    """Our threads that are permitted more."""
    found = 0
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):
            status = parse_status(read_file(f"/proc/self/task/{task}/status"))
            found += bool(parse_security(status.security).permitted & ~kept)
    return found


def _outcome(usable: tuple[str, ...], names: tuple[str, ...], missing: int) -> str:
    remarks = [] if missing else ["in effect before"]
    if left_out := [name for name in names if name not in usable]:
        remarks.append(f"not permitted: {' '.join(left_out)}")
    return "; ".join(["done", *remarks])


def _loadable() -> set[str]:
    """Directories that modules can be loaded from now."""
    found = set()
    for path in sys.path:
        with suppress(OSError):
            os.scandir(path or ".").close()
            found.add(path)
    return found
