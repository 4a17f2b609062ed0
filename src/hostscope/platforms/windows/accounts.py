"""Names of SIDs and privileges, each asked once."""

from collections.abc import Callable

from hostscope.errors import Unsupported
from hostscope.model.process import Account
from hostscope.model.text import decode_str
from hostscope.platforms.windows.native import token as native
from hostscope.platforms.windows.parse_token import sid_text

NO_ACCOUNT = ("S-1-5-5-", "S-1-15-2-", "S-1-15-3-")
"""Logon sessions, AppContainers and capabilities: nobody's account, so no directory is asked about them."""
MAX_REMEMBERED = 8192


class Accounts:
    """Accounts by SID, and names of privileges, for one host.

    A domain's controller may have to be asked over the network: that is why each SID is asked once, failures too.
    """

    def __init__(self, read: Callable[[bytes], str | None] = native.account_name) -> None:
        self._read = read
        self._known: dict[bytes, Account] = {}
        self._failures: dict[str, Exception] = {}
        self._privileges: dict[tuple[int, int], str] = {}

    def account(self, sid: bytes, named: bool = True) -> Account:
        """The account; its name is None when nothing knows the SID or nobody answers, and without `named`.

        Raises:
            ValueError: it is no whole SID.
        """
        if not named:
            return Account(sid_text(sid), None)
        found = self._known.get(sid)
        if found is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
                self._failures.clear()
            text = sid_text(sid)
            found = self._known[sid] = Account(text, self._name(sid, text))
        return found

    def failure(self, sid: str) -> Exception | None:
        """Why nobody could be asked for the name of this SID; None when somebody answered, or need not be asked."""
        return self._failures.get(sid)

    def privilege(self, low: int, high: int) -> str:
        """Such as ``SeDebugPrivilege``; ``privilege high:low`` for a number that has no name here."""
        found = self._privileges.get((low, high))
        if found is None:
            found = self._privileges[low, high] = self._privilege(low, high)
        return found

    def _name(self, sid: bytes, text: str) -> str | None:
        if text.startswith(NO_ACCOUNT):
            return None
        try:
            name = self._read(sid)
        except (OSError, Unsupported) as failed:
            self._failures[text] = failed
            return None
        return None if name is None else decode_str(name)

    def _privilege(self, low: int, high: int) -> str:
        try:
            name = native.privilege_name(low, high)
        except (OSError, Unsupported):
            name = None
        return decode_str(name) if name else f"privilege {high:x}:{low:x}"
