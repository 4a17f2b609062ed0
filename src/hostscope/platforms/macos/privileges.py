"""What we may do ourselves, and every use of it written down.

macOS has no capabilities: root decides, and what root may not (System Integrity Protection, entitlements) nobody can
raise. Started by sudo, a command begins with `lower_all`: the effective user becomes the one who typed sudo, and root
comes back for each `using` block only. Started by root himself there is nobody to become; then nothing is lowered.

The effective user is the *process's*: uses are counted under one lock, and what one thread raised works in the others
while its block is open.

A live command goes further: `settle` gives root up for good once its sources are open, unless it must go on asking
about other users' processes (`LIVE`). A descriptor of /dev/bpf stays usable without root.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from hostscope.audit import AuditTrail, default_path, this_process
from hostscope.errors import Denied
from hostscope.model.host import Ability

ROOT = "root"
ALIASES = {"dac_override": ROOT}
"""Linux' name of writing files in spite of their permissions, which root does here."""
READ_OTHERS = (ROOT,)
"""What most questions about other users' processes take."""
LIVE: dict[str, tuple[str, ...]] = {
    "capture": (),
    "dns": (ROOT,),
    "events": (ROOT,),
    "interfaces": (),
    "net": (ROOT,),
    "ps": (ROOT,),
    "services": (),
    "traffic": (ROOT,),
    "watch": (ROOT,),
}
"""Live commands, and what their look-ups need once their sources are open."""


class Identity(Protocol):
    """Whose rights we have; tests bring their own."""

    def effective(self) -> int: ...
    def invoker(self) -> tuple[int, int] | None: ...
    def become(self, uid: int) -> None: ...
    def become_for_good(self, uid: int, gid: int) -> None: ...


class SystemIdentity:
    """This process's own."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def effective(self) -> int:
        """The effective user."""
        return os.geteuid()

    def invoker(self) -> tuple[int, int] | None:
        """User and group who started us with root's rights: by the set-user-id bit, or by sudo; None for root himself.

        sudo's variables are believed: who could forge them is root already.
        """
        if os.getuid() != 0:
            return os.getuid(), os.getgid()
        uid, gid = (self._environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
        if not (uid.isdecimal() and gid.isdecimal() and 0 < int(uid) < 1 << 31 and 0 < int(gid) < 1 << 31):
            return None
        return int(uid), int(gid)

    def become(self, uid: int) -> None:
        """Changes the effective user only."""
        os.seteuid(uid)

    def become_for_good(self, uid: int, gid: int) -> None:
        """Groups first, then the user: afterwards nothing brings root back."""
        os.seteuid(0)
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)


class Privileges:
    """Implements `hostscope.platforms.base_program.Privileges`."""

    def __init__(self, trail: AuditTrail | None = None, identity: Identity | None = None) -> None:
        self._trail = trail or AuditTrail(default_path(), this_process())
        self._identity = identity or SystemIdentity()
        self._lock = threading.RLock()
        self._uses = 0
        self._lowered = False
        self._live: str | None = None
        self._kept: str | None = None
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be written to the audit trail, for an answer's coverage; each line once."""
        return tuple(self._notes)

    def held(self) -> tuple[str, ...]:
        """``root`` while it is in effect."""
        return (ROOT,) if self._identity.effective() == 0 else ()

    def available(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `names` that `using` can bring into effect."""
        return tuple(name for name in names if name == ROOT and (self._lowered or self._identity.effective() == 0))

    def abilities(self) -> tuple[Ability, ...]:
        """Each capability of hostscope here; what only needs raising counts as available."""
        from hostscope.platforms.macos.abilities import list_abilities

        return list_abilities(bool(self.available((ROOT,))), self._trail)

    def lower_all(self) -> None:
        """Takes root out of effect where somebody else started us, unless a `using` block is open."""
        invoker = self._identity.invoker()
        with self._lock:
            if invoker is None or self._uses or self._identity.effective() != 0:
                return
            self._identity.become(invoker[0])
            self._lowered = True

    @contextmanager
    def using(self, names: tuple[str, ...], why: str) -> Iterator[None]:
        """Raises root for the block and lowers it again; both steps go to the audit trail.

        Without root, nothing happens: what it would have shown becomes gaps.

        Raises:
            KeyError: a name is no privilege's.
            Denied: the system refused to give root back.
        """
        if unknown := [name for name in names if ALIASES.get(name, name) != ROOT]:
            raise KeyError(unknown[0])
        if not names or not self.available((ROOT,)):
            yield
            return
        before = self._raise(why)
        try:
            yield
        finally:
            self._lower(before, why)

    def _raise(self, why: str) -> tuple[str, ...]:
        with self._lock:
            before = self.held()
            try:
                if not before:
                    self._identity.become(0)
            except OSError as failed:
                self._record("privilege.raise", why, before, before, f"failed: {failed.strerror}")
                raise Denied(f"cannot become root again: {failed.strerror}") from failed
            self._uses += 1
        self._record("privilege.raise", why, before, (ROOT,), "done" if not before else "done; in effect before")
        return before

    def _lower(self, before: tuple[str, ...], why: str) -> None:
        with self._lock:
            self._uses -= 1
            invoker = self._identity.invoker()
            if self._lowered and not self._uses and invoker is not None:
                self._identity.become(invoker[0])
            after = self.held()
        self._record("privilege.lower", why, (ROOT,), after, "done" if not after else "done: still in effect")

    def limit_to(self, command: str, writes: bool = False) -> None:
        """The program runs this live command and nothing else: root is in effect in its blocks only.

        Args:
            command: the word typed.
            writes: it writes files while it runs; they are then the invoker's.

        Raises:
            KeyError: it is no live command.
        """
        LIVE[command]
        self._live = command
        self.lower_all()

    def keep(self, why: str) -> None:
        """Root is needed again when the live command ends: `settle` will not give it up for good."""
        self._kept = why

    def settle(self, method: str | None = None) -> None:
        """What the live command reads from is open: root is given up for good, unless its look-ups go on needing it."""
        if self._live is None or LIVE[self._live] or not self.available((ROOT,)):
            return
        invoker = self._identity.invoker()
        why = f"{self._live} has opened what it reads from"
        if invoker is None:
            self._notes["root stays in effect: root himself started this, and there is nobody to become"] = None
            return
        if self._kept is not None:
            self._notes[f"root is out of effect, and not given up for good: {self._kept}"] = None
            return
        with self._lock:
            try:
                self._identity.become_for_good(*invoker)
            except OSError as failed:
                self._notes[f"privileges could not be given up: {failed.strerror}"] = None
                self._record("privilege.drop", why, (ROOT,), (ROOT,), f"failed: {failed.strerror}")
                return
            self._lowered = False
        self._record("privilege.drop", why, (ROOT,), self.held(), "done")

    def _record(self, action: str, why: str, before: tuple[str, ...], after: tuple[str, ...], outcome: str) -> None:
        words = " ".join(before), " ".join(after)
        note = self._trail.try_append(action, what=ROOT, why=why, before=words[0], after=words[1], outcome=outcome)
        if note:
            self._notes[note] = None
