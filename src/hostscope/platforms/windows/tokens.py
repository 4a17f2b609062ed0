"""Tokens of processes: each distinct one is built once, however many processes run with its like."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar

from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account
from hostscope.model.windows import Token, TokenGroup, TokenPrivilege
from hostscope.platforms.windows import parse_token as parse
from hostscope.platforms.windows.accounts import Accounts
from hostscope.platforms.windows.attempts import as_gap, attempt
from hostscope.platforms.windows.native import lsa
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.native.token import Answer

Value = TypeVar("Value")
LINKED = -1
"""Stands among the classes of information for whether there is a linked token."""
MAX_REMEMBERED = 4096

SECURITY_CLASSES = (
    native.TokenUser, native.TokenGroups, native.TokenPrivileges, native.TokenStatistics, native.TokenRestrictedSids,
    native.TokenElevationType, native.TokenElevation, native.TokenVirtualizationEnabled, native.TokenIntegrityLevel,
    native.TokenUIAccess, native.TokenIsAppContainer,
)  # fmt: skip
CONTAINER_CLASSES = (native.TokenAppContainerSid, native.TokenCapabilities)
"""Asked where there is an AppContainer."""
CLASSES: dict[str, tuple[int, ...]] = {
    "owner": (native.TokenUser,),
    "groups": (native.TokenGroups,),
    "security": SECURITY_CLASSES,
}
"""Classes of information by the group of fields that needs them."""
FIELDS = {
    native.TokenUser: "windows.token.user_sid",
    native.TokenGroups: "windows.token.groups",
    native.TokenPrivileges: "windows.token.privileges",
    native.TokenStatistics: "windows.token.logon_session",
    native.TokenRestrictedSids: "windows.token.restricted",
    native.TokenElevationType: "windows.token.elevation",
    native.TokenElevation: "windows.token.elevated",
    native.TokenVirtualizationEnabled: "windows.token.virtualised",
    native.TokenIntegrityLevel: "windows.integrity",
    native.TokenUIAccess: "windows.token.ui_access",
    native.TokenIsAppContainer: "windows.token.app_container",
    native.TokenAppContainerSid: "windows.token.app_container",
    native.TokenCapabilities: "windows.token.app_capabilities",
    LINKED: "windows.token.linked",
}
DERIVED = {
    native.TokenUser: "windows.token.user_name",
    native.TokenStatistics: "windows.token.logon_type",
}
"""Fields that follow from the answer of a class besides its own."""
LOGON_TYPES = {
    0: "system", 2: "interactive", 3: "network", 4: "batch", 5: "service", 6: "proxy", 7: "unlock",
    8: "network-cleartext", 9: "new-credentials", 10: "remote-interactive", 11: "cached-interactive",
    12: "cached-remote-interactive", 13: "cached-unlock",
}  # fmt: skip
"""SECURITY_LOGON_TYPE; 0 is what the system's own first session has."""


class TokenFacts(NamedTuple):
    """What a token tells of its process; None where it was not asked for or is in a gap."""

    owner: Account | None = None
    groups: tuple[Account, ...] | None = None
    """Enabled ones, without the integrity label."""
    integrity: str | None = None
    token: Token | None = None
    gaps: tuple[Gap, ...] = ()


class Tokens:
    """Reads tokens for one host; equal ones are one object."""

    def __init__(self, accounts: Accounts | None = None, group_names: bool = True) -> None:
        """Without `group_names` those of groups are not looked up, only of users."""
        self._accounts = accounts or Accounts()
        self._group_names = group_names
        self._built: dict[Hashable, TokenFacts] = {}
        self._logons: dict[str, str | Gap | None] = {}

    def read(self, process: int, wanted: frozenset[str]) -> TokenFacts:
        """What the primary token of a process tells about the wanted groups of fields.

        Args:
            process: a handle with PROCESS_QUERY_LIMITED_INFORMATION.
            wanted: of ``owner groups security``; others mean nothing here.

        Cost: a token opened and closed; one call for ``owner`` and ``groups`` each, eleven for ``security``, and three
        more for AppContainers and split logons.
        """
        asked = {kind: None for group in CLASSES if group in wanted for kind in CLASSES[group]}
        if not asked:
            return TokenFacts()
        try:
            with native.opened_token(process) as token:
                answers = ask(token, asked)
        except (OSError, ValueError) as failed:
            return refused(wanted, failed)
        return self._known(answers, wanted)

    def _known(self, answers: dict[int, Any], wanted: frozenset[str]) -> TokenFacts:
        mark = (*answers.items(), "owner" in wanted, "groups" in wanted, "security" in wanted)
        found = self._built.get(mark)
        if found is None:
            if len(self._built) >= MAX_REMEMBERED:
                self._built.clear()
            found = self._built[mark] = self._building(answers).facts(wanted)
        return found

    def account(self, sid: bytes) -> Account:
        """The account of a SID. Raises ValueError: it is no whole one."""
        return self._accounts.account(sid)

    def without_group_names(self) -> "Tokens":
        """The same without names of groups."""
        return Tokens(self._accounts, group_names=False)

    def _building(self, answers: dict[int, Any]) -> "_Building":
        return _Building(answers, self._accounts, self._logon_type, self._group_names)

    def _logon_type(self, session: str) -> str | Gap | None:
        if session not in self._logons:
            self._logons[session] = attempt("windows.token.logon_type", _read_logon_type, session)
        return self._logons[session]


class _Building:
    """One token's answers, becoming records."""

    def __init__(
        self,
        answers: dict[int, Any],
        accounts: Accounts,
        logon_type: Callable[[str], str | Gap | None],
        group_names: bool,
    ) -> None:
        self._answers = answers
        self._accounts = accounts
        self._logon_type = logon_type
        self._group_names = group_names
        self._gaps: dict[str, Gap] = {}

    def facts(self, wanted: frozenset[str]) -> TokenFacts:
        owner = self._owner() if "owner" in wanted else None
        groups = self._groups() if "groups" in wanted else None
        token = self._token() if "security" in wanted else None
        integrity = self._read(native.TokenIntegrityLevel, lambda told: parse.parse_integrity(*told)) if token else None
        return TokenFacts(owner, groups, integrity, token, tuple(self._gaps.values()))

    def _read(self, kind: int, parser: Callable[[Any], Value], field: str | None = None) -> Value | None:
        """The parsed answer of one class, or None with its gap kept."""
        told, name = self._answers.get(kind), field or FIELDS[kind]
        if told is None:
            return None
        found = Gap(name, told.reason, told.detail) if isinstance(told, Gap) else attempt(name, parser, told)
        if isinstance(found, Gap):
            self._gaps[found.field] = found
            return None
        return found

    def _user(self, field: str) -> Account | None:
        account = self._read(native.TokenUser, lambda told: self._accounts.account(parse.parse_user(*told)), field)
        if account is not None and (failed := self._accounts.failure(account.id)):
            self._keep(as_gap(f"{field.removesuffix('_sid')}{'_name' if '_sid' in field else '.name'}", failed))
        return account

    def _keep(self, gap: Gap) -> None:
        self._gaps[gap.field] = gap

    def _follow(self, kind: int, field: str) -> None:
        """What follows from an answer that was refused is as unknown."""
        refused = self._gaps.get(FIELDS[kind])
        if refused is not None:
            self._keep(Gap(field, refused.reason, refused.detail))

    def _owner(self) -> Account | None:
        return self._user("owner")

    def _groups(self) -> tuple[Account, ...] | None:
        members = self._read(native.TokenGroups, lambda told: parse.parse_groups(*told), "groups")
        if members is None:
            return None
        enabled = (member for member in members if member.attributes & native.SE_GROUP_ENABLED)
        return tuple(
            self._accounts.account(member.sid, self._group_names)
            for member in enabled
            if not member.attributes & native.SE_GROUP_INTEGRITY
        )

    def _token(self) -> Token:
        user, session = self._user("windows.token.user_sid"), self._session()
        for told, field in DERIVED.items():
            self._follow(told, field)
        return Token(
            user_sid=user.id if user else None,
            user_name=user.name if user else None,
            groups=self._read(native.TokenGroups, self._members),
            privileges=self._read(native.TokenPrivileges, self._privileges),
            elevated=self._flag(native.TokenElevation),
            elevation=self._read(native.TokenElevationType, _elevation),
            linked=self._read(LINKED, bool),
            virtualised=self._flag(native.TokenVirtualizationEnabled),
            ui_access=self._flag(native.TokenUIAccess),
            logon_session=session,
            logon_type=self._type_of(session),
            app_container=self._app_container(),
            app_capabilities=self._read(native.TokenCapabilities, _sids),
            restricted=self._read(native.TokenRestrictedSids, lambda told: bool(parse.parse_groups(*told))),
        )

    def _flag(self, kind: int) -> bool | None:
        return self._read(kind, lambda told: bool(parse.parse_number(told.raw)))

    def _session(self) -> str | None:
        found = self._read(native.TokenStatistics, lambda told: parse.parse_statistics(told.raw))
        return found.logon_session if found else None

    def _type_of(self, session: str | None) -> str | None:
        found = self._logon_type(session) if session else None
        if isinstance(found, Gap):
            self._keep(found)
            return None
        return found

    def _app_container(self) -> str | None:
        if not self._flag(native.TokenIsAppContainer):
            return None
        sid = self._read(native.TokenAppContainerSid, lambda told: parse.parse_app_container(*told))
        return parse.sid_text(sid) if sid else None

    def _members(self, told: Answer) -> tuple[TokenGroup, ...]:
        return tuple(
            TokenGroup(account.id, account.name, parse.group_words(member.attributes))
            for member in parse.parse_groups(*told)
            for account in (self._accounts.account(member.sid, self._group_names),)
        )

    def _privileges(self, told: Answer) -> tuple[TokenPrivilege, ...]:
        return tuple(
            TokenPrivilege(
                self._accounts.privilege(held.low, held.high),
                parse.privilege_state(held.attributes),
                bool(held.attributes & native.SE_PRIVILEGE_ENABLED_BY_DEFAULT),
            )
            for held in parse.parse_privileges(told.raw)
        )


def has_thread_token(thread: int) -> bool:
    """Whether a thread runs with another token than its process's.

    Needs: THREAD_QUERY_LIMITED_INFORMATION.

    Raises:
        SystemRefused
    """
    try:
        with native.opened_thread_token(thread):
            return True
    except OSError as failed:
        code: int | None = getattr(failed, "winerror", None)
        if code not in (native.ERROR_NO_TOKEN, native.ERROR_CANT_OPEN_ANONYMOUS):
            raise
        return code == native.ERROR_CANT_OPEN_ANONYMOUS  # it has one, of nobody, which nobody may open


def ask(token: int, kinds: Iterable[int]) -> dict[int, Any]:
    """The answers of a token by class: `Answer`, or the gap; for `LINKED` a bool."""
    answers: dict[int, Any] = {kind: _asked(token, kind) for kind in kinds}
    if _number(answers.get(native.TokenIsAppContainer)):
        for kind in CONTAINER_CLASSES:
            answers[kind] = _asked(token, kind)
    told = answers.get(native.TokenElevationType)
    elevation = _number(told)
    if isinstance(told, Gap):
        answers[LINKED] = told
    elif elevation is not None:
        split = elevation in (2, 3)
        answers[LINKED] = attempt(FIELDS[LINKED], native.has_linked, token) if split else False
    return answers


def _asked(token: int, kind: int) -> Answer | Gap:
    """One class; an open token cannot have gone, so "invalid parameter" is a class that this Windows lacks."""
    found = attempt(FIELDS[kind], native.read_information, token, kind)
    if isinstance(found, Gap) and found.reason is Reason.GONE:
        return Gap(found.field, Reason.UNSUPPORTED, "this Windows does not tell")
    return found


def refused(wanted: frozenset[str], failed: Exception) -> TokenFacts:
    """Gaps of everything that needs a token which could not be opened."""
    fields: list[str] = [field for field in ("owner", "groups", "security") if field in wanted]
    fields += ["windows.token", "windows.integrity"] if "security" in wanted else []
    return TokenFacts(gaps=tuple(as_gap(field, failed) for field in fields))


def _read_logon_type(session: str) -> str | None:
    high, _, low = session.partition(":")
    kind = lsa.read_logon(int(low, 16), _signed(int(high, 16))).kind
    return LOGON_TYPES.get(kind, f"type {kind}")


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number


def _number(told: Answer | Gap | None) -> int | None:
    if not isinstance(told, Answer) or len(told.raw) < 4:
        return None
    return parse.parse_number(told.raw)


def _elevation(told: Answer) -> str:
    kind = parse.parse_number(told.raw)
    return parse.ELEVATIONS.get(kind, f"type {kind}")


def _sids(told: Answer) -> tuple[str, ...]:
    return tuple(parse.sid_text(member.sid) for member in parse.parse_groups(*told))
