"""Users and groups by number, on systems that number them."""

import os
from collections.abc import Callable
from importlib import import_module

from hostscope.model.process import Account
from hostscope.model.text import decode


class Accounts:
    """Users and groups by number, each looked up once.

    Source: the C library's name service (getpwuid_r, getgrgid_r). Linux reads /etc/passwd first on every usual host;
    macOS asks opendirectoryd. Hosts with network directories may ask them.
    """

    def __init__(self) -> None:
        self._users: dict[int, Account] = {}
        self._groups: dict[int, Account] = {}

    def user(self, uid: int) -> Account:
        """The user with its name, or without one when nobody has the number."""
        found = self._users.get(uid)
        if found is None:
            found = self._users[uid] = Account(str(uid), _name(_user_name, uid))
        return found

    def group(self, gid: int) -> Account:
        """The group with its name, or without one."""
        found = self._groups.get(gid)
        if found is None:
            found = self._groups[gid] = Account(str(gid), _name(_group_name, gid))
        return found


def _user_name(uid: int) -> str:
    name: str = import_module("pwd").getpwuid(uid).pw_name  # Windows, where this is parsed too, has no such module
    return name


def _group_name(gid: int) -> str:
    name: str = import_module("grp").getgrgid(gid).gr_name
    return name


def _name(look_up: Callable[[int], str], number: int) -> str | None:
    try:
        return decode(os.fsencode(look_up(number)))
    except (KeyError, OverflowError):
        return None
