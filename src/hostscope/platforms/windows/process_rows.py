"""Rows of one sweep: what the list says of a process, and what it answers when it is opened."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from hostscope.model.gap import Gap, Reason
from hostscope.model.key import ProcessKey
from hostscope.model.process import Process, Schedule, Session
from hostscope.model.windows import WindowsContext
from hostscope.platforms.tally import Tally
from hostscope.platforms.windows.attempts import attempt, value_of
from hostscope.platforms.windows.clock import Boot, filetime_ns
from hostscope.platforms.windows.facts import AskedFacts, Facts, ListedFacts, State
from hostscope.platforms.windows.hosting import Hosting, Hosts
from hostscope.platforms.windows.images import IDLE, SYSTEM, ImageFacts, Images
from hostscope.platforms.windows.native import handles
from hostscope.platforms.windows.native import process as native
from hostscope.platforms.windows.opened import LOOK, Opened
from hostscope.platforms.windows.parse import split_command_line
from hostscope.platforms.windows.parse_processes import Listed
from hostscope.platforms.windows.peb import Arguments
from hostscope.platforms.windows.security_context import SecurityContext, SecurityContexts
from hostscope.platforms.windows.session_owners import SessionOwners

PROGRAM_FIELDS = frozenset({"exe", "argv", "cwd"})
"""What only a process with a program has."""
OPENED_FIELDS = PROGRAM_FIELDS | {"schedule", "open_files", "owner", "groups", "security", "cgroup"}
"""Groups for which a process of the kernel's list is opened at all."""
PRIORITIES = {
    0x40: "idle", 0x4000: "below-normal", 0x20: "normal", 0x8000: "above-normal", 0x80: "high", 0x100: "realtime",
}  # fmt: skip
REALTIME = 16
"""Base priorities from which on the kernel does not vary a thread's priority."""
IDLE_NAME = "System Idle Process"
"""The kernel's list has none; every task manager calls it so."""

Started = Callable[[int], int | None]
"""When the process with a pid started (FILETIME); None when there is none."""


@dataclass(slots=True)
class _Look:
    """One process while its row is made."""

    listed: Listed
    opened: Opened | None
    """None where no handle is needed."""
    facts: Facts
    virtual: str | None
    wanted: frozenset[str]
    gaps: list[Gap] = field(default_factory=list)


class ProcessRows:
    """Rows of one sweep. Not for use by several threads."""

    def __init__(
        self,
        boot: Boot,
        contexts: SecurityContexts,
        wanted: frozenset[str],
        started: Started,
        hosts: Hosts | None = None,
    ) -> None:
        """`started` tells parents from processes that were given a parent's pid later; without `hosts` services are not
        asked for."""
        self._hosts = hosts
        self._boot = boot
        self._contexts = contexts
        self._wanted = wanted
        self._started = started
        self._owners = SessionOwners(contexts.account)
        self._arguments = Arguments()
        self._images = Images()
        self._schedules: dict[int, Schedule] = {}
        self._access = self._needed()

    def _needed(self) -> int:
        access = LOOK
        if "cwd" in self._wanted or ("argv" in self._wanted and not self._arguments.has_kernel()):
            access |= handles.PROCESS_VM_READ
        if self._wanted & {"open_files", "security"}:
            access |= handles.PROCESS_QUERY_INFORMATION
        return access

    def sweep(self, listing: Iterable[Listed], tally: Tally) -> Iterator[Process]:
        """The listed processes in their order.

        Cost: no call for what the kernel's list holds. Three open and close a process and see that it is the listed
        one; then two for its executable, two for architecture and package, one for arguments, one for the priority,
        two for GUI objects, four for the working directory; for its token see `Tokens.read`.
        Where tokens are closed, the session service is asked once for the owners of all processes.
        """
        for listed in listing:
            tally.seen += 1
            try:
                row = self.row(listed)
            except OSError:
                tally.vanished += 1
            except ValueError as nonsense:
                tally.failed += 1
                tally.note(f"process {listed.pid}: {nonsense}")
            else:
                yield row

    def row(self, listed: Listed) -> Process:
        """One process.

        Raises:
            OSError: it has ended since it was listed.
        """
        virtual = self._images.virtual(listed)
        wanted = self._wanted - PROGRAM_FIELDS if virtual else self._wanted
        if listed.pid == IDLE or (listed.entry and not wanted & OPENED_FIELDS):
            return self._row(_Look(listed, None, _facts(listed, None), virtual, wanted))
        with Opened(listed, self._access) as opened:
            return self._row(_Look(listed, opened, _facts(listed, opened), virtual, wanted))

    def _row(self, look: _Look) -> Process:
        listed, facts, wanted, gaps = look.listed, look.facts, look.wanted, look.gaps
        created = look.opened.created if look.opened else listed.created
        context = self._context(look)
        memory, charges = facts.memory(gaps) if "memory" in wanted else (None, None)
        state = self._state(look)
        handle_count = facts.handles(gaps) if "open_files" in wanted else None
        image = self._image(look)
        argv = self._argv(look)
        hosting = self._hosting(look, argv)
        process = Process(
            key=self._key(listed.pid, created, gaps),
            ppid=self._parent(listed, created, gaps),
            name=listed.name or (IDLE_NAME if listed.pid == IDLE else ""),
            state=state.name if state else None,
            kernel=look.virtual is not None if state else None,
            started_at_ns=filetime_ns(created) if created else None,
            exe=image.exe,
            argv=argv,
            cwd=self._cwd(look),
            owner=context.owner,
            groups=context.groups,
            session=Session(facts.session(gaps), None, None) if "session" in wanted else None,
            threads=listed.threads if "threads" in wanted else None,
            schedule=self._schedule(listed.base_priority) if "schedule" in wanted else None,
            cpu=facts.cpu(gaps) if "cpu" in wanted else None,
            memory=memory,
            io=facts.io(gaps) if "io" in wanted else None,
            open_files=handle_count,
            activity=facts.activity(gaps) if "activity" in wanted else None,
            security=context.security,
            service=hosting.service,
            windows=WindowsContext(
                integrity=context.integrity,
                protection=context.protection,
                token=context.token,
                critical=context.critical,
                secure=context.secure,
                mitigations=context.mitigations,
                job=context.job,
                architecture=image.architecture,
                wow64=image.wow64,
                virtual=look.virtual if state else None,
                native_path=image.native_path,
                package=image.package,
                suspended=state.suspended if state else None,
                priority=self._priority(look),
                memory=charges,
                handles=handle_count,
                gdi_objects=self._gui(look, "windows.gdi_objects", native.GR_GDIOBJECTS),
                user_objects=self._gui(look, "windows.user_objects", native.GR_USEROBJECTS),
                services=hosting.services,
                service_group=hosting.group,
            ),
            gaps=tuple(gaps),
        )
        return self._contexts.place(process, context, wanted)

    def _key(self, pid: int, created: int | None, gaps: list[Gap]) -> ProcessKey:
        """Without a creation time the key means no process that can be acted on: none has 0 but the idle one."""
        if created is None:
            gaps += (Gap("key.start", *_UNKNOWN), Gap("started_at_ns", *_UNKNOWN))
        return self._boot.key(pid, created or 0)

    def _parent(self, listed: Listed, created: int | None, gaps: list[Gap]) -> int | None:
        """The pid it was started from, unless a process has it that started later.

        A clock that was set back between the two makes a true parent look so. One whose pid nobody has any more stays:
        it tells who the parent was.
        """
        ppid = listed.ppid
        if ppid in (IDLE, SYSTEM) or created is None:
            return ppid
        started = self._started(ppid)
        if started is None or started <= created:
            return ppid
        gaps.append(Gap("ppid", Reason.GONE, f"its parent has ended; process {ppid} started after it"))
        return None

    def _context(self, look: _Look) -> SecurityContext:
        if look.opened is None:
            return SecurityContext()
        context = self._contexts.of(look.listed.pid, look.opened.handle, look.wanted)
        look.gaps += context.gaps
        owner = self._owners.fill(look.listed.pid, look.listed.session, context.owner, look.gaps)
        return context if owner is context.owner else replace(context, owner=owner)

    def _state(self, look: _Look) -> State | None:
        if "state" not in look.wanted:
            return None
        if look.virtual and not look.listed.threads:
            return State(None, None)  # the kernel's own need none
        return State("idle", False) if look.listed.pid == IDLE else look.facts.state(look.gaps)

    def _image(self, look: _Look) -> ImageFacts:
        if look.opened is None or "exe" not in look.wanted:
            return ImageFacts()
        return self._images.read(look.listed.pid, look.opened.need, look.gaps)

    def _hosting(self, look: _Look, argv: tuple[str, ...] | None) -> Hosting:
        if self._hosts is None or look.opened is None or "cgroup" not in look.wanted or look.virtual:
            return Hosting()
        listed = look.listed
        return self._hosts.of(listed.pid, listed.name, lambda: argv or self._read_argv(look), look.gaps)

    def _argv(self, look: _Look) -> tuple[str, ...] | None:
        return self._read_argv(look) if look.opened is not None and "argv" in look.wanted else None

    def _read_argv(self, look: _Look) -> tuple[str, ...] | None:
        text = value_of(attempt("argv", self._arguments.read, look.opened), look.gaps)
        return None if text is None else split_command_line(text)

    def _cwd(self, look: _Look) -> str | None:
        opened = look.opened
        if opened is None or "cwd" not in look.wanted:
            return None
        return value_of(attempt("cwd", lambda: opened.block().directory()), look.gaps)

    def _schedule(self, priority: int) -> Schedule:
        found = self._schedules.get(priority)
        if found is None:
            policy = "realtime" if priority >= REALTIME else "variable"
            found = self._schedules[priority] = Schedule(policy, priority, None, None)
        return found

    def _priority(self, look: _Look) -> str | None:
        opened = look.opened
        if opened is None or "schedule" not in look.wanted:
            return None
        found = value_of(attempt("windows.priority", lambda: native.priority_class(opened.need())), look.gaps)
        return None if found is None else PRIORITIES.get(found, f"class {found:#x}")

    def _gui(self, look: _Look, name: str, kind: int) -> int | None:
        opened = look.opened
        if opened is None or "open_files" not in look.wanted:
            return None
        return value_of(attempt(name, lambda: native.gui_objects(opened.need(), kind)), look.gaps)


_UNKNOWN = (Reason.DENIED, "this list does not tell when it started, and it may not be opened")


def _facts(listed: Listed, opened: Opened | None) -> Facts:
    return ListedFacts(listed) if listed.entry else AskedFacts(listed, opened)
