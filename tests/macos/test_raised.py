"""Root is in effect for single steps only, each with its reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostscope.errors import Denied, UsageError
from hostscope.model.capture import CaptureRequest
from hostscope.model.process import Account, Process
from hostscope.model.socket import SocketRequest
from hostscope.platforms.macos import packet_device, signalling
from hostscope.platforms.macos.capture import Capture
from hostscope.platforms.macos.clock import read_boot
from hostscope.platforms.macos.control import Control
from hostscope.platforms.macos.interfaces import WHERE
from hostscope.platforms.macos.memory import Memory
from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.owners import owners_of
from hostscope.platforms.macos.process_list import read_key
from hostscope.platforms.macos.sockets import Sockets
from hostscope.platforms.tally import Tally
from tests.macos.scripted import Darwin
from tests.macos.scripted_mach import PAGE, Mach
from tests.unit.platforms.macos.network_bytes import link_message, pcblist

PID, BASE = 4242, 0x1_0000_0000


class Raising:
    """Privileges that remember what they were raised for, and whether they are now."""

    def __init__(self, available: bool = True) -> None:
        self.reasons: list[str] = []
        self.open, self._available = 0, available

    def available(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names if self._available else ()

    @contextmanager
    def using(self, names: tuple[str, ...], why: str) -> Iterator[None]:
        assert names == ("root",)
        self.reasons.append(why)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


def test_memory_is_opened_with_root_and_read_without(darwin: Darwin) -> None:
    darwin.add(PID)
    mach = Mach(darwin)
    mach.region(PID, BASE, b"x" * PAGE)
    raising: Any = Raising()
    boot = read_boot()
    memory = Memory(boot, raising)
    with memory.open(read_key(boot, PID)) as space:
        assert raising.open == 0
        assert space.read_bytes(BASE, 2) == b"xx"
    assert raising.reasons == [f"read the memory of process {PID}"]
    memory.regions(read_key(boot, PID), False)
    assert (len(raising.reasons), raising.open) == (2, 0)


def test_rows_of_sockets_come_when_root_is_lowered_again(darwin: Darwin) -> None:
    for name in ("tcp", "udp"):
        darwin.value(f"net.inet.{name}.pcblist_n", pcblist())
    raising: Any = Raising()
    sockets = Sockets(owners_of(read_boot()), lambda uid: Account(str(uid), None), raising)
    for _ in sockets.sweep(SocketRequest(), Tally()):
        assert raising.open == 0
    sockets.owners(1)
    assert (raising.reasons, raising.open) == (["list sockets and who holds them", "find the owners of port 1"], 0)


def test_a_capture_that_fails_leaves_nothing_raised(darwin: Darwin, monkeypatch: pytest.MonkeyPatch) -> None:
    darwin.numbers(WHERE, link_message(b"en0", 4, 0x6, 0x8863))
    raising: Any = Raising()

    def refuse(name: str) -> int:
        assert raising.open == 1
        raise UsageError("no")

    monkeypatch.setattr(packet_device, "opened", refuse)
    with pytest.raises(UsageError), Capture(dict, raising).open(CaptureRequest(), Tally()):
        pass
    assert (raising.open, len(raising.reasons)) == (0, 1)


@pytest.mark.parametrize("available", [True, False])
def test_signals_are_tried_without_root_first(darwin: Darwin, monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    darwin.add(PID)
    raising: Any = Raising(available)
    boot = read_boot()
    key, tried = read_key(boot, PID), list[int]()

    def send(boot: Any, key: Any, number: int) -> None:
        tried.append(raising.open)
        if not raising.open:
            raise Denied("no")

    monkeypatch.setattr(signalling, "send", send)
    control = Control(boot, raising)
    if available:
        control.suspend(key)
        assert (tried, len(raising.reasons)) == ([0, 1], 1)
    else:
        with pytest.raises(Denied):
            control.suspend(key)
        assert (tried, raising.reasons) == ([0], [])


def test_what_root_may_signal_is_permitted(darwin: Darwin, monkeypatch: pytest.MonkeyPatch) -> None:
    darwin.add(PID)
    raising: Any = Raising()

    def kill(pid: int, number: int) -> None:
        if not raising.open:
            raise PermissionError(errnos.EPERM, "no")

    monkeypatch.setattr(signalling.os, "kill", kill)
    boot = read_boot()
    assert Control(boot, raising).identify(Process(read_key(boot, PID), 1, "x")).permitted
