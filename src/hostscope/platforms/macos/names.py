"""Numbers to names: users, groups, terminals."""

import os

from hostscope.model.process import Account
from hostscope.model.text import decode
from hostscope.platforms.macos.native import machine


class Accounts:
    """Users and groups by number, each looked up once.

    Source: getpwuid_r(3), which asks opendirectoryd; a Mac that is bound to a directory may ask the network.
    """

    def __init__(self) -> None:
        self._users: dict[int, Account] = {}
        self._groups: dict[int, Account] = {}

    def user(self, uid: int) -> Account:
        """The user with its name, or without one when nobody has the number."""
        found = self._users.get(uid)
        if found is None:
            found = self._users[uid] = Account(str(uid), _user_name(uid))
        return found

    def group(self, gid: int) -> Account:
        """The group with its name, or without one."""
        found = self._groups.get(gid)
        if found is None:
            found = self._groups[gid] = Account(str(gid), _group_name(gid))
        return found


def _user_name(uid: int) -> str | None:
    import pwd

    try:
        return decode(os.fsencode(pwd.getpwuid(uid).pw_name))
    except (KeyError, OverflowError):
        return None


def _group_name(gid: int) -> str | None:
    import grp

    try:
        return decode(os.fsencode(grp.getgrgid(gid).gr_name))
    except (KeyError, OverflowError):
        return None


class Terminals:
    """Controlling terminals by device number, each looked up once."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def name(self, device: int | None) -> str | None:
        """Such as ``ttys003``; ``MAJOR:MINOR`` when no device has the number; None for none."""
        if device is None:
            return None
        if device not in self._names:
            name = machine.terminal(device)
            self._names[device] = decode(name) if name else _numbers(device)
        return self._names[device]


def _numbers(device: int) -> str:
    """Darwin's dev_t: eight bits of major number, twenty-four of minor."""
    return f"{device >> 24 & 0xFF}:{device & 0xFFFFFF}"
