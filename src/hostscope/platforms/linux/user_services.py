"""systemd's managers of users, each asked on its own private socket.

A user's session bus takes nobody but that user, the manager itself root as well. Everything below /run/user/UID is the
user's to arrange, so what is connected to is a socket that belongs to the user, found without following a link: root
is not led to another service.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from msgspec.structs import replace

from hostscope.errors import Denied, HostError, Unavailable
from hostscope.model.gap import Gap
from hostscope.model.service import ServiceState
from hostscope.model.text import encode
from hostscope.platforms.linux.privileges import Privileges
from hostscope.platforms.linux.read import PATH_ONLY
from hostscope.platforms.linux.systemd import SYSTEMD, list_units
from hostscope.platforms.linux.translate import REFUSED

MANAGER = "systemd --user"
TIMEOUT_S = 1.0
"""A user's manager that does not answer must not hold up the others for long."""
MAX_USERS = 256
CONNECT_TO_OTHERS = ("dac_override",)
"""What connecting takes: /run/user/UID is its user's alone, and so is the socket."""


class UserServices:
    """The managers that have a socket below /run/user."""

    def __init__(self, root: str, privileges: Privileges | None = None) -> None:
        self._folder = f"{root}/run/user"
        self._privileges = privileges

    def uids(self) -> list[int]:
        """Of users with a runtime folder, in order."""
        try:
            names = os.listdir(encode(self._folder))
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdigit() and len(name) <= 10)[:MAX_USERS]

    def units(self, uid: int) -> dict[str, ServiceState]:
        """Every unit that a user's manager has loaded, by name; none where the user has no manager.

        Raises:
            Denied, Unavailable: it cannot be asked.

        Cost: as `Services.services`.
        """
        try:
            with self._address(uid) as address:
                return self._ask(uid, address)
        except FileNotFoundError:
            return {}
        except OSError as failed:
            if isinstance(failed, Denied):
                raise
            kind = Denied if failed.errno in REFUSED else Unavailable
            raise kind(f"the manager of user {uid}: {failed.strerror}", "needs that user or root") from failed

    def _ask(self, uid: int, address: str) -> dict[str, ServiceState]:
        from hostscope.platforms.linux.bus import Bus  # jeepney takes 25 ms to import

        why = f"ask the service manager of user {uid}"
        with self._privileges.using(CONNECT_TO_OTHERS, why) if self._privileges else nullcontext():
            bus = Bus(address, SYSTEMD, private=True, timeout_s=TIMEOUT_S)
        with bus:
            found = list_units(bus)
        return {name: replace(state, manager=MANAGER, user=uid) for name, state in found.items()}

    @contextmanager
    def _address(self, uid: int) -> Iterator[str]:
        """The user's socket by an open descriptor. Raises `OSError`, `Denied`, `Unavailable`."""
        why = f"find the service manager of user {uid}"
        with self._privileges.using(CONNECT_TO_OTHERS, why) if self._privileges else nullcontext():
            place = self._open(uid)
        try:
            found = os.fstat(place)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != uid:
                raise Unavailable(f"the manager of user {uid}: its socket is none, or another user's")
            yield f"unix:path=/proc/self/fd/{place}"
        finally:
            os.close(place)

    def _open(self, uid: int) -> int:
        place = os.open(encode(f"{self._folder}/{uid}"), PATH_ONLY | os.O_NOFOLLOW)
        for name, kind in (("systemd", os.O_DIRECTORY), ("private", 0)):
            above = place
            try:
                place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=above)
            finally:
                os.close(above)
        return place


def not_listed(uid: int, failed: HostError | Denied) -> Gap:
    """Why the units of a user are missing; it stands in the row of the manager's own unit."""
    return Gap("user_units", failed.reason, f"units of user {uid} are not listed: {failed}")


def unit_of(uid: int) -> str:
    """The system's unit that runs a user's manager."""
    return f"user@{uid}.service"
