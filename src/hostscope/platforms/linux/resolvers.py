"""How names are resolved: the C library's file, containers' files, systemd-resolved and NetworkManager."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from hostscope.errors import Denied, HostError, Unsupported
from hostscope.model.container import Container
from hostscope.model.dns import DnsQuery, Resolver
from hostscope.model.text import decode, encode
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.linux.cgroups import parse_cgroup
from hostscope.platforms.linux.containers import Containers
from hostscope.platforms.linux.net_namespaces import parse_link
from hostscope.platforms.linux.networkmanager import NETWORK_MANAGER, read_network_manager
from hostscope.platforms.linux.parse_resolv import (
    DEFAULT_SERVER,
    MAX_NAMESERVERS,
    ResolvConf,
    is_loopback,
    parse_resolv_conf,
)
from hostscope.platforms.linux.privileges import READ_OTHERS
from hostscope.platforms.linux.read import PATH_ONLY, list_pids, read_file
from hostscope.platforms.linux.resolved import RESOLVED, read_resolved
from hostscope.platforms.linux.translate import REFUSED, VANISHED
from hostscope.platforms.tally import Tally

if TYPE_CHECKING:
    from hostscope.platforms.linux.bus import Bus

FILE = "resolv.conf"
MAX_FILE_BYTES = 1 << 16
_SERVICES = {"systemd-resolved": (RESOLVED, read_resolved), "NetworkManager": (NETWORK_MANAGER, read_network_manager)}


class Resolvers:
    """Implements `hostscope.platforms.base_network.Resolvers`."""

    def __init__(
        self,
        root: str = "/",
        address: str | None = None,
        containers: Containers | None = None,
        privileges: Privileges | None = None,
    ) -> None:
        """`address` is the system bus's; `containers` names whose files are looked into, None looks into none."""
        self._root = root.rstrip("/")
        self._address = address or f"unix:path={self._root}/run/dbus/system_bus_socket"
        self._containers = containers
        self._privileges = privileges

    def resolvers(self, tally: Tally) -> Iterator[Resolver]:
        """This host's file first, then what the services that may stand behind it ask, then containers' files.

        A service that is not running has no rows; one that does not answer is a note, and counts as denied or failed.

        Needs: CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for the files of containers.
        Source: resolv.conf(5), org.freedesktop.resolve1, org.freedesktop.NetworkManager.DnsManager.
        Cost: a few calls to each service; for containers two system calls a process.
        """
        tally.method = FILE
        yield from self._of_host(tally)
        if os.path.exists(self._address.removeprefix("unix:path=")):
            for name, (service, read) in _SERVICES.items():
                yield from self._of_service(name, service, read, tally)
        else:
            tally.note("there is no system bus: neither systemd-resolved nor NetworkManager was asked")
        if self._containers is not None:
            yield from self._of_containers(self._containers, tally)

    def queries(self, stop: threading.Event, tally: Tally) -> Iterator[DnsQuery]:
        """Programs ask in many ways here, which no service sees all of.

        Raises:
            Unsupported: always.
        """
        raise Unsupported("no service of this system tells of all questions: packets do")

    def _of_host(self, tally: Tally) -> Iterator[Resolver]:
        path = f"{self._root}/etc/{FILE}"
        try:
            raw = read_file(path, MAX_FILE_BYTES)
        except FileNotFoundError:
            tally.note(f"there is no {path}: the C library asks {DEFAULT_SERVER}")
            raw = b""
        except OSError as failed:
            tally.failed += 1
            tally.note(f"{path}: {failed.strerror}")
            return
        net_ns = parse_link(os.readlink("/proc/self/ns/net"))
        yield from _of_file(parse_resolv_conf(raw), decode(os.path.realpath(encode(path))), None, net_ns, tally)

    def _of_service(
        self, name: str, service: str, read: "Callable[[Bus], Iterator[Resolver]]", tally: Tally
    ) -> Iterator[Resolver]:
        from hostscope.platforms.linux.bus import Bus, NotOnBus  # jeepney takes 25 ms to import

        found: list[Resolver] = []
        try:
            bus = Bus(self._address, service)
        except NotOnBus:
            return
        except (HostError, Denied) as failed:
            return _say(tally, name, failed)
        try:
            with bus:
                found += read(bus)
        except (HostError, Denied) as failed:
            _say(tally, name, failed)
        tally.method = f"{tally.method}, {name}"
        yield from found

    def _of_containers(self, containers: Containers, tally: Tally) -> Iterator[Resolver]:
        """The file of each container; of its processes the first that has not ended shows it."""
        done: set[str] = set()
        with self._raised():
            for container, pid in _inside(containers, tally):
                if container.id in done:
                    continue
                try:
                    raw = _read_inside(pid)
                    net_ns = parse_link(os.readlink(f"/proc/{pid}/ns/net"))
                except OSError as failed:
                    if failed.errno in VANISHED and not os.path.exists(f"/proc/{pid}/root/"):  # ended, perhaps a zombie
                        continue
                    _count(tally, container, failed)
                    done.add(container.id)
                    continue
                done.add(container.id)
                yield from _of_file(parse_resolv_conf(raw), f"/proc/{pid}/root/etc/{FILE}", container, net_ns, tally)

    def _raised(self) -> AbstractContextManager[None]:
        why = "read how containers resolve names"
        return self._privileges.using(READ_OTHERS, why) if self._privileges else nullcontext()


def _inside(containers: Containers, tally: Tally) -> Iterator[tuple[Container, int]]:
    """The processes that are in a container, in the order of pids."""
    for pid in list_pids():
        try:
            container = _container(containers, read_file(f"/proc/{pid}/cgroup"))
        except OSError as failed:
            if failed.errno not in VANISHED | REFUSED:
                raise
            tally.denied += failed.errno in REFUSED
            continue
        if container is not None:
            yield container, pid


def _container(containers: Containers, raw: bytes) -> Container | None:
    place = parse_cgroup(raw)
    if place.container is not None:
        return containers.describe(place.container)
    return containers.at(place.path) if place.path else None


def _read_inside(pid: int) -> bytes:
    """The file of a container, found without following links: they would lead through our own root.

    Raises:
        OSError: it is no regular file there, or not readable.
    """
    folder = os.open(f"/proc/{pid}/root/etc", PATH_ONLY | os.O_NOFOLLOW)
    try:
        # Nobody may make us wait: what a container has there may be a pipe.
        handle = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(None, "no regular file")
        return os.read(handle, MAX_FILE_BYTES)
    finally:
        os.close(handle)


def _say(tally: Tally, name: str, failed: HostError | Denied) -> None:
    tally.denied += isinstance(failed, Denied)
    tally.failed += not isinstance(failed, Denied)
    tally.note(f"{name}: {failed.message}")


def _count(tally: Tally, container: Container, failed: OSError) -> None:
    if failed.errno in REFUSED:
        tally.denied += 1
        return
    tally.failed += failed.errno not in VANISHED
    why = "there is none" if failed.errno in VANISHED else failed.strerror
    tally.note(f"container {container.name or container.id[:12]}: /etc/{FILE}: {why}")


def _of_file(
    conf: ResolvConf, path: str, container: Container | None, net_ns: int | None, tally: Tally
) -> Iterator[Resolver]:
    for line in _remarks(conf, path):
        tally.note(line)
    for address in conf.nameservers[:MAX_NAMESERVERS] or (DEFAULT_SERVER,):
        yield Resolver(
            address=address,
            port=53,
            source=FILE,
            interface=address.partition("%")[2] or None,
            search=conf.search,
            options=conf.options,
            stub=is_loopback(address),
            path=path,
            container=(container.name or container.id[:12]) if container else None,
            net_ns=net_ns,
        )


def _remarks(conf: ResolvConf, path: str) -> Iterator[str]:
    if ignored := conf.nameservers[MAX_NAMESERVERS:]:
        yield f"{path}: the C library asks {MAX_NAMESERVERS} servers at most, never {', '.join(ignored)}"
    if conf.wrong:
        yield f"{path}: no address: {', '.join(conf.wrong)}"
    if not conf.nameservers:
        yield f"{path}: names no server: the C library asks {DEFAULT_SERVER}"
