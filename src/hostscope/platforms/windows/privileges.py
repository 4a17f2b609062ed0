"""What we may do ourselves, and every use of it written down.

A command starts with `Privileges.lower_all`: the privileges of our token stay assigned, but none is enabled. Each
privileged step then enables what it needs with `using`, for that block only.

Privileges are the *process's*: all threads run with the primary token, so uses are counted for the whole process under
one lock, and a privilege that one thread raised works in the others while its block is open. SeChangeNotifyPrivilege is
left alone: without it every directory on the way to a file is checked, and Python's own files may not open any more.

Cost: AdjustTokenPrivileges takes microseconds; each of the two lines of the audit trail is a write to a file. So a
sweep raises once, not for each process. Without any assigned privilege nothing is done and nothing written.

A live command goes further. `limit_to` removes at its start whatever it never needs, `settle` whatever it needed only
to open what it now reads from: both for good (SE_PRIVILEGE_REMOVED), see `live`.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hostscope.audit import AuditTrail, default_path, this_process
from hostscope.model.host import Ability
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.parse_token import parse_privileges, privilege_state
from hostscope.platforms.windows.privilege_names import NAMES

READ_OTHERS = ("SeDebugPrivilege",)
"""What opening other users' processes takes; protected processes stay closed."""
ELSEWHERE = frozenset({"dac_override"})
"""Linux' name of writing in spite of permissions. Windows has that for backups only: it is left out."""
KEPT = frozenset({"SeChangeNotifyPrivilege"})


class Privileges:
    """Implements `hostscope.platforms.base_program.Privileges`."""

    def __init__(self, trail: AuditTrail | None = None) -> None:
        self._trail = trail or AuditTrail(default_path(), this_process())
        self._lock = threading.RLock()
        self._uses: Counter[str] = Counter()
        self._raised: set[str] = set()
        self._notes: dict[str, None] = {}
        self._live: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be written to the audit trail, for an answer's coverage; each line once."""
        return tuple(self._notes)

    def held(self) -> tuple[str, ...]:
        """Enabled privileges of our token by name."""
        return tuple(name for name, state in read_states().items() if state == "enabled")

    def available(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `names` that `using` can bring into effect."""
        states = read_states()
        return tuple(name for name in names if states.get(name) in ("enabled", "disabled"))

    def abilities(self) -> tuple[Ability, ...]:
        """Each capability of hostscope here; what only needs enabling counts as available."""
        from hostscope.platforms.windows.abilities import list_abilities

        return list_abilities(read_states(), self._trail)

    def lower_all(self) -> None:
        """Disables every privilege that no open `using` block raised; all stay assigned."""
        with self._lock:
            try:
                states = read_states()
            except OSError as failed:
                self._notes[f"privileges could not be lowered: {failed.strerror}"] = None
                return
            kept = KEPT | self._raised
            self._disable(tuple(name for name, state in states.items() if state == "enabled" and name not in kept))

    def limit_to(self, command: str, writes: bool = False) -> None:
        """The program runs this live command and nothing else: what it never needs is given up, for good.

        Args:
            command: the word typed.
            writes: it writes files while it runs; that takes no privilege here.

        Raises:
            KeyError: it is no live command.
        """
        from hostscope.platforms.windows.live import LIVE

        needed = LIVE[command].most
        self._live = command
        self.lower_all()
        self._give_up(needed, f"{command} begins")

    def settle(self, method: str | None = None) -> None:
        """What the live command reads from is open: what it needs no more is given up, for good.

        Without `limit_to` nothing happens: a program that uses hostscope as a library keeps what it has.
        """
        from hostscope.platforms.windows.live import LIVE

        if self._live is not None:
            self._give_up(LIVE[self._live].kept(method), f"{self._live} has opened what it reads from")

    @contextmanager
    def using(self, names: tuple[str, ...], why: str) -> Iterator[None]:
        """Enables the named privileges for the block and disables them again; both steps go to the audit trail.

        Names that are not assigned are left out: what they would have shown becomes gaps. The trail names them, as it
        does those that were enabled before. With nothing assigned, nothing happens. When Windows refuses to enable an
        assigned one the block runs without: the trail and `notes` say so.

        Raises:
            KeyError: a name is no privilege's.
        """
        if unknown := [name for name in names if name not in NAMES and name not in ELSEWHERE]:
            raise KeyError(unknown[0])
        usable = self._usable(names)
        raised = self._raise(usable, why) if usable else None
        if raised is None:
            yield
            return
        before, missing = raised
        try:
            outcome = _outcome(usable, names, missing)
            self._record("privilege.raise", usable, why, before, (*before, *missing), outcome)
            yield
        finally:
            self._lower(usable, why)

    def _usable(self, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return self.available(names)
        except OSError as failed:
            self._notes[f"our own privileges could not be read: {failed.strerror}"] = None
            return ()

    def _raise(self, usable: tuple[str, ...], why: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """What was enabled before, and what was not; None when Windows refuses.

        An interrupt may come as soon as this returns.
        """
        with self._lock:
            before: tuple[str, ...] = ()
            missing: tuple[str, ...] = ()
            try:
                before = self.held()
                missing = tuple(name for name in usable if name not in before)
                _switch(missing, enabled=True)
            except OSError as failed:
                self._disable(missing[:-1])  # the last one is not enabled
                self._record("privilege.raise", usable, why, before, before, f"failed: {failed.strerror}")
                self._notes[f"{' '.join(usable)} could not be enabled: {failed.strerror}"] = None
                return None
            self._uses.update(usable)
            self._raised.update(missing)
            return before, missing

    def _lower(self, usable: tuple[str, ...], why: str) -> None:
        with self._lock:
            before = self._held_if_told()
            self._uses.subtract(usable)
            dropped = tuple(name for name in usable if self._uses[name] <= 0 and name in self._raised)
            self._raised.difference_update(dropped)
            refused = self._disable(dropped)
        after = before if refused else tuple(name for name in before if name not in dropped)
        outcome = f"failed: {refused}" if refused else "done" if dropped else "done: still used"
        self._record("privilege.lower", usable, why, before, after, outcome)

    def _held_if_told(self) -> tuple[str, ...]:
        try:
            return self.held()
        except OSError:
            return ()

    def _disable(self, names: tuple[str, ...]) -> str | None:
        """What stood in the way, which is told as well; None when they are disabled."""
        try:
            _switch(names, enabled=False)
        except OSError as failed:
            self._notes[f"{' '.join(names)} could not be disabled: {failed.strerror}"] = None
            return failed.strerror
        return None

    def _give_up(self, needed: tuple[str, ...], why: str) -> None:
        with self._lock:
            states: Mapping[str, str] = {}
            lost: tuple[str, ...] = ()
            try:
                states = read_states()
                lost = tuple(
                    name
                    for name, state in states.items()
                    if state != "removed" and name not in KEPT | self._raised and name not in needed
                )
                if not lost:
                    return
                _remove(lost)
            except OSError as failed:
                self._record("privilege.drop", lost, why, tuple(states), tuple(states), f"failed: {failed.strerror}")
                self._notes[f"privileges could not be given up: {failed.strerror}"] = None
                return
        self._record("privilege.drop", lost, why, tuple(states), tuple(name for name in states if name not in lost))

    def _record(
        self,
        action: str,
        usable: tuple[str, ...],
        why: str,
        before: tuple[str, ...],
        after: tuple[str, ...],
        outcome: str = "done",
    ) -> None:
        note = self._trail.try_append(
            action, what=" ".join(usable), why=why, before=" ".join(before), after=" ".join(after), outcome=outcome
        )
        if note:
            self._notes[note] = None


def read_states() -> Mapping[str, str]:
    """Name -> ``enabled disabled removed`` of the privileges of our own token.

    Raises:
        SystemRefused

    Cost: two calls; names are asked once.
    """
    with native.opened_own() as token:
        holdings = parse_privileges(native.read_information(token, native.TokenPrivileges).raw)
    return {_name(held.low, held.high): privilege_state(held.attributes) for held in holdings}


def _name(low: int, high: int) -> str:
    if (low, high) not in _names:
        _names[low, high] = native.privilege_name(low, high) or f"privilege {high:x}:{low:x}"
    return _names[low, high]


_names: dict[tuple[int, int], str] = {}


def _switch(names: tuple[str, ...], enabled: bool) -> None:
    if names:
        with native.opened_own(native.TOKEN_QUERY | native.TOKEN_ADJUST_PRIVILEGES) as token:
            for name in names:
                native.set_privilege(token, native.privilege_number(name), enabled)


def _remove(names: tuple[str, ...]) -> None:
    with native.opened_own(native.TOKEN_QUERY | native.TOKEN_ADJUST_PRIVILEGES) as token:
        for name in names:
            native.remove_privilege(token, native.privilege_number(name))


def _outcome(usable: tuple[str, ...], names: tuple[str, ...], missing: tuple[str, ...]) -> str:
    remarks = [] if missing else ["enabled before"]
    if left_out := [name for name in names if name not in usable]:
        remarks.append(f"not assigned: {' '.join(left_out)}")
    return "; ".join(["done", *remarks])
