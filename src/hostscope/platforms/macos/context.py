"""What is particular to macOS about a process, and what it may do: asked, judged, and put together."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

from hostscope.model.gap import Gap, Reason
from hostscope.model.macos import Bundle, CodeSigning, Entitlement, Fact, MacosContext, Methods
from hostscope.model.process import Executable
from hostscope.model.request import MacosOptions
from hostscope.model.security import Security
from hostscope.platforms.macos import protection
from hostscope.platforms.macos.attempts import Attempts
from hostscope.platforms.macos.bundles import Bundles
from hostscope.platforms.macos.guests import guest_of, is_candidate
from hostscope.platforms.macos.parse import Arguments, Listed, Task, Usage
from hostscope.platforms.macos.parse_signing import DEBUGGED, VALID, flag_names
from hostscope.platforms.macos.powers import TASK_PORTS, Facts, derive_powers
from hostscope.platforms.macos.questions import Questions

GROUPS = frozenset({"exe", "memory", "activity", "security", "cgroup"})
"""Groups of fields with a part in `MacosContext`."""
TRANSLATED = 0x20000
"""P_TRANSLATED."""
_HARDENED, _LIBRARY_VALIDATION = 0x10000, 0x2000 | 0x10
LAUNCHCTL = "launchctl"
JOB_VARIABLE = "XPC_SERVICE_NAME="
"""Where launchd tells a job its label."""
_UNSIGNED = Gap("macos.entitlements", Reason.UNAVAILABLE, "it has no valid signature")


@lru_cache(maxsize=256)
def _methods(signing: bool, entitlements: bool, sandboxed: bool, responsible_pid: bool, debuggable: bool) -> Methods:
    """One for all processes that have the same values."""
    known = (signing, entitlements, sandboxed, responsible_pid, debuggable, True)
    return Methods(*(protection.KERNEL if one else None for one in known))


class Known(Struct, gc=False):
    """What the row has found out already."""

    pid: int
    task: Task | Listed
    exe: Executable | None
    listed: Listed | None
    """Its entry in the process table, where that was read."""
    usage: Usage | None
    arguments: Arguments | None


class Answered(Struct, gc=False):
    """The part of a row that is built here."""

    macos: MacosContext | None
    security: Security | None


Jobs = Callable[[], Mapping[int, str]]


class Contexts:
    """Contexts of one sweep."""

    def __init__(
        self,
        questions: Questions,
        attempts: Attempts,
        options: MacosOptions,
        wanted: frozenset[str],
        sip_config: int | None,
        bundles: Bundles,
        jobs: Jobs | None = None,
    ) -> None:
        self._ask = questions
        self._attempts = attempts
        self._options = options
        self._wanted = wanted
        self._sip = sip_config
        self._bundles = bundles
        self._jobs = jobs
        self._labels: Mapping[int, str] | None = None
        self._owners: dict[int, str | None] = {}
        self._candidates: dict[str, bool] = {}
        self._launchd: int | None = None

    def of(self, known: Known, gaps: list[Gap]) -> Answered:
        """The context of one process; a refusal is a gap."""
        if not self._wanted & GROUPS:
            return Answered(None, None)
        security = "security" in self._wanted
        flags = self._flags(known, gaps) if security and self._options.collect_code_signing else None
        signing = self._signing(known.pid, flags, gaps) if flags is not None else None
        entitlements = self._entitlements(known.pid, flags, gaps) if security else None
        sandboxed = self._sandboxed(known.pid, gaps) if security else None
        macos = self._context(known, flags, signing, entitlements, sandboxed, gaps)
        return Answered(macos, self._security(known, flags, entitlements, sandboxed) if security else None)

    def _context(
        self,
        known: Known,
        flags: int | None,
        signing: CodeSigning | None,
        entitlements: tuple[Entitlement, ...] | None,
        sandboxed: bool | None,
        gaps: list[Gap],
    ) -> MacosContext:
        pid, wanted, options = known.pid, self._wanted, self._options
        security, path = "security" in wanted, known.exe.path if known.exe else None
        identity = signing.identifier if signing else None
        architecture = self._architecture(pid, gaps) if "exe" in wanted and pid else None
        usage = known.usage
        responsible = self._responsible(pid, gaps) if security else None
        job = self._job(known, gaps) if "cgroup" in wanted else None
        judged = protection.debuggable(pid, flags, self._sip) if security else protection.UNJUDGED
        return MacosContext(
            signing=signing,
            entitlements=entitlements,
            sandboxed=sandboxed,
            architecture=architecture,
            translated=self._translated(known, architecture) if "exe" in wanted else None,
            responsible_pid=responsible,
            coalition=self._coalition(pid, gaps) if "cgroup" in wanted else None,
            bundle=self._bundle(path, gaps) if "exe" in wanted else None,
            launchd_job=job,
            launchd_job_method=(protection.HEURISTIC if self._jobs is None else LAUNCHCTL) if job else None,
            system_daemon=self._daemon(known, flags, identity, gaps) if security else None,
            sip_protected=protection.sip_protection(flags, path, self._sip, options.heuristics)
            if security and options.check_sip_protection
            else None,
            debuggable=judged.granted,
            debuggable_because=judged.because or None,
            footprint_bytes=usage.footprint_bytes if usage and "memory" in wanted else None,
            energy_nj=usage.billed_energy_nj if usage and "activity" in wanted else None,
            guest=self._guest(pid, path, signing) if "exe" in wanted and path else None,
            methods=_methods(
                signing is not None, entitlements is not None, sandboxed is not None, responsible is not None,
                judged.granted is not None,
            ) if security else None,
        )  # fmt: skip

    def _flags(self, known: Known, gaps: list[Gap]) -> int | None:
        return self._attempts.attempt("signatures", "macos.signing", gaps, self._ask.flags, known.pid)

    def _signing(self, pid: int, flags: int, gaps: list[Gap]) -> CodeSigning:
        """Without a valid signature the kernel tells its flags and nothing else."""
        if not flags & (VALID | DEBUGGED):
            return CodeSigning(flag_names(flags))
        return CodeSigning(
            flag_names(flags),
            self._attempts.attempt("signatures", "macos.signing.cdhash", gaps, self._ask.cdhash, pid),
            self._attempts.attempt("signatures", "macos.signing.team_id", gaps, self._ask.team, pid),
            self._attempts.attempt("signatures", "macos.signing.identifier", gaps, self._ask.identity, pid),
        )

    def _entitlements(self, pid: int, flags: int | None, gaps: list[Gap]) -> tuple[Entitlement, ...] | None:
        if not self._options.collect_entitlements:
            return None
        if not pid:  # the kernel has none
            return None
        if flags is not None and not flags & (VALID | DEBUGGED):
            gaps.append(_UNSIGNED)
            return None
        return self._attempts.attempt("entitlements", "macos.entitlements", gaps, self._ask.entitlements, pid)

    def _sandboxed(self, pid: int, gaps: list[Gap]) -> bool | None:
        if not self._options.handle_sandboxed_processes:
            return None
        return self._attempts.attempt("sandbox", "macos.sandboxed", gaps, self._ask.sandboxed, pid)

    def _architecture(self, pid: int, gaps: list[Gap]) -> str | None:
        return self._attempts.attempt("libproc", "macos.architecture", gaps, self._ask.architecture, pid)

    def _translated(self, known: Known, architecture: str | None) -> bool | None:
        """By the process table's flag; code of arm64 never is."""
        if known.listed is not None:
            return bool(known.listed.flags & TRANSLATED)
        return False if architecture is not None and architecture.startswith("arm64") else None

    def _daemon(self, known: Known, flags: int | None, identity: str | None, gaps: list[Gap]) -> Fact | None:
        path = known.exe.path if known.exe else None
        fact = protection.system_daemon(known.pid, flags, identity, path, self._options.heuristics)
        return fact if fact is not None and (known.pid == 0 or self._launched(known, gaps)) else None

    def _launched(self, known: Known, gaps: list[Gap]) -> bool | None:
        """Whether launchd started it: an orphan has launchd for a parent too, but keeps the number of its first one."""
        if known.task.ppid != 1:
            return known.pid == 1
        if self._launchd is None:
            found = self._attempts.attempt("libproc", "macos.system_daemon", gaps, self._ask.unique, 1)
            if found is None:
                return None
            self._launchd = found[0]
        found = self._attempts.attempt("libproc", "macos.system_daemon", gaps, self._ask.unique, known.pid)
        return None if found is None else found[1] == self._launchd

    def _responsible(self, pid: int, gaps: list[Gap]) -> int | None:
        return self._attempts.attempt("libproc", "macos.responsible_pid", gaps, self._ask.responsible, pid)

    def _coalition(self, pid: int, gaps: list[Gap]) -> int | None:
        return self._attempts.attempt("libproc", "macos.coalition", gaps, self._ask.coalition, pid)

    def _bundle(self, path: str | None, gaps: list[Gap]) -> Bundle | None:
        if path is None or not self._options.collect_bundle_info:
            return None
        return self._attempts.attempt("bundles", "macos.bundle", gaps, self._bundles.of, path)

    def _job(self, known: Known, gaps: list[Gap]) -> str | None:
        """As launchd tells; its variable in the environment is only a hint, which children inherit."""
        if self._jobs is not None:
            if self._labels is None:
                self._labels = self._attempts.attempt("launchd", "macos.launchd_job", gaps, self._jobs) or {}
            return self._labels.get(known.pid)
        if not self._options.heuristics or known.task.ppid != 1 or known.arguments is None:
            return None
        found = (text for text in known.arguments.environment if text.startswith(JOB_VARIABLE))
        return next(found, JOB_VARIABLE)[len(JOB_VARIABLE) :] or None

    def _guest(self, pid: int, path: str, signing: CodeSigning | None) -> str | None:
        if path not in self._candidates:
            self._candidates[path] = is_candidate(path)
        if not self._candidates[path] or not self._options.collect_code_signing:
            return None
        gaps: list[Gap] = []
        flags = None if signing else self._attempts.attempt("signatures", "macos.guest", gaps, self._ask.flags, pid)
        found = signing or (None if flags is None else self._signing(pid, flags, gaps))
        if found is None or "valid" not in found.flags:
            return None
        platform = "platform-binary" in found.flags
        return guest_of(found.identifier, found.team_id, platform, self._owner(pid) if platform else None)

    def _owner(self, pid: int) -> str | None:
        """Team of the process that is responsible for one."""
        gaps: list[Gap] = []
        responsible = self._responsible(pid, gaps)
        if responsible is None or responsible == pid:
            return None
        if responsible not in self._owners:
            team = self._attempts.attempt("signatures", "macos.guest", gaps, self._ask.team, responsible)
            self._owners[responsible] = team
        return self._owners[responsible]

    def _security(
        self, known: Known, flags: int | None, entitlements: tuple[Entitlement, ...] | None, sandboxed: bool | None
    ) -> Security:
        task = known.task
        return derive_powers(
            Facts(
                task.uid,
                task.ruid,
                task.svuid,
                sandboxed,
                None if self._sip is None else protection.allowed_names(self._sip),
                None if flags is None else bool(flags & _HARDENED),
                None if flags is None else bool(flags & _LIBRARY_VALIDATION),
                None if entitlements is None else any(entry.name in TASK_PORTS for entry in entitlements),
            )
        )
