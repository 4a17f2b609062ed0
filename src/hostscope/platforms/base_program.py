"""What concerns our own program: its privileges, its console, the service that it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hostscope.model.host import Ability
    from hostscope.model.service import ServiceStep


class Console(Protocol):
    """The console that this program was started on. It belongs to the program, not to the host that it looks at."""

    def prepare(self) -> None:
        """Has it take UTF-8 and the sequences that we draw with."""

    def serving(self, name: str) -> AbstractContextManager[Callable[[int], None]]:
        """The block is the service of that name, which the service manager started us as.

        Its events come to who is `listening`; what is given takes the exit code that the manager is told.

        Raises:
            UsageError: we were not started by the service manager.
            Unsupported: programs need nothing of the kind to be services here.
        """

    def listening(self, take: Callable[[str], bool]) -> AbstractContextManager[None]:
        """Until the block ends, `take` is called, from another thread, with each event that is not a signal.

        Events are ``interrupt break close logoff shutdown``. `take` says whether nobody else need see the event; after
        the last three the program is ended within seconds, whatever it says.
        """


class Autostart(Protocol):
    """Live commands that the system's service manager runs. Only `hostscope.respond` may import it."""

    def install(self, name: str, arguments: tuple[str, ...]) -> str:
        """Registers a service of ours that runs ``hostscope ARGUMENTS``; the command line that was registered.

        Raises:
            UsageError: something has the name already.
            Denied, Unsupported
        """

    def act(self, name: str, step: ServiceStep) -> None:
        """Starts a service, has it end as an interrupt would, or registers it no more; returns before that is done.

        One that runs is removed when it has stopped.

        Raises:
            Gone: there is no such service.
            Refused: `install` did not make it.
            Denied, Unsupported
        """


class Privileges(Protocol):
    """What we may do ourselves."""

    def held(self) -> tuple[str, ...]:
        """Privileges in effect now, by the system's names."""

    def abilities(self) -> tuple[Ability, ...]:
        """Each capability of hostscope here: available or not, why, and what enables it."""

    def lower_all(self) -> None:
        """Takes every privilege out of effect that no open `using` block raised; they can be raised again."""

    def using(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        """Raises the named privileges for the block and lowers them again; both steps go to the audit trail."""

    def limit_to(self, command: str, writes: bool = False) -> None:
        """The program runs this live command and nothing else: what it never needs is given up, for good.

        Args:
            command: the word typed.
            writes: it writes files while it runs, in spite of their permissions if need be.
        """

    def settle(self, method: str | None = None) -> None:
        """What a live command reads from is open: what it needs no more is given up, for good.

        Nothing happens without `limit_to`. Call it before threads are started.
        """
