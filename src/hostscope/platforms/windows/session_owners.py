"""Whose a process is where its token is closed to us: by the session service, asked once a sweep."""

from collections.abc import Callable, Mapping

from hostscope.errors import Unsupported
from hostscope.model.gap import Gap, Reason
from hostscope.model.process import Account
from hostscope.platforms.windows.native import wtsapi

OWNER, USER = "owner", "windows.token.user_sid"
LABEL = "its token is closed; its owner is what the session service says (WTSEnumerateProcesses)"
"""Of the gap that stays where an owner was found so: the service read the token some moments before or after us."""


class SessionOwners:
    """Owners for one sweep. Not for use by several threads."""

    def __init__(self, account: Callable[[bytes], Account]) -> None:
        self._account = account
        self._sids: Mapping[tuple[int, int], bytes] | None = None

    def fill(self, pid: int, session: int | None, owner: Account | None, gaps: list[Gap]) -> Account | None:
        """The owner as it is; where it was refused, as the session service says, with `LABEL` in the gap that stays."""
        refused = next((gap for gap in gaps if gap.field == OWNER and gap.reason is Reason.DENIED), None)
        if owner is not None or refused is None or session is None:
            return owner
        sid = self._all().get((pid, session))
        if sid is None:
            return None
        try:
            found = self._account(sid)
        except ValueError:  # no whole SID
            return None
        gaps[gaps.index(refused)] = Gap(USER, refused.reason, LABEL)
        return found

    def _all(self) -> Mapping[tuple[int, int], bytes]:
        """By pid and session; nothing where the service does not answer: then the gaps stay as they are."""
        if self._sids is None:
            try:
                found = wtsapi.owned_processes()
            except (OSError, Unsupported):
                found = []
            self._sids = {(one.pid, one.session): one.sid for one in found if one.sid is not None}
        return self._sids
