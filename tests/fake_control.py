"""Acting on a host in memory: states change, nothing else does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as changed

from hostscope.errors import Denied, Gone, Mismatch, Unsupported
from hostscope.model.container import Container
from hostscope.model.event import Event
from hostscope.model.key import ProcessKey
from hostscope.model.memory import ThreadState
from hostscope.model.process import Process
from hostscope.model.response import Identity, Role
from hostscope.model.syscall import TraceRequest
from hostscope.platforms.base import Host
from hostscope.platforms.base_control import Snapshot, Spawned
from hostscope.platforms.tally import Tally


@dataclass
class FakeControl:
    """Changes the rows of a fake host.

    Attributes:
        stubborn: pids that ignore being asked.
        immortal: pids that nothing ends, and the state they are in.
        forbidden: pids that we may not signal.
        on_signal: called with (signal, pid) before it takes effect; may change the rows.
        sent: what was sent, in order.
    """

    rows: list[Process]
    roles: dict[int, Role] = field(default_factory=dict)
    stubborn: set[int] = field(default_factory=set)
    immortal: dict[int, str] = field(default_factory=dict)
    forbidden: set[int] = field(default_factory=set)
    on_signal: Callable[[str, int], None] | None = None
    kernel_kills_containers: bool = False
    sent: list[tuple[str, int]] = field(default_factory=list)

    def _row(self, key: ProcessKey) -> Process:
        row = next((row for row in self.rows if row.key.pid == key.pid), None)
        if row is None:
            raise Gone(f"process {key.pid}: there is no such process")
        if not changed(row.key, serial=self._serial(row)).same(key):
            raise Mismatch(f"process {key.pid} is not the one that was meant")
        return row

    @staticmethod
    def _serial(row: Process) -> int:
        return row.key.start * 1000 + row.key.pid

    def pin(self, key: ProcessKey) -> ProcessKey:
        return changed(key, serial=self._serial(self._row(key)))

    def identify(self, process: Process) -> Identity:
        row, pid = self._row(process.key), process.key.pid
        return Identity(self.pin(process.key), self.roles.get(pid), pid not in self.forbidden, row.state == "zombie")

    def terminate(self, key: ProcessKey, force: bool) -> None:
        self._signal("kill" if force else "term", key)
        if key.pid in self.immortal:
            self._set(key.pid, self.immortal[key.pid])
        elif force or (key.pid not in self.stubborn and self._row(key).state != "stopped"):
            self.rows[:] = [row for row in self.rows if row.key.pid != key.pid]

    def suspend(self, key: ProcessKey) -> None:
        self._signal("stop", key)
        self._set(key.pid, self.immortal.get(key.pid, "stopped"))

    def resume(self, key: ProcessKey) -> None:
        self._signal("cont", key)
        self._set(key.pid, "sleeping")

    def wait(self, key: ProcessKey, timeout_s: float) -> bool:
        return not any(row.key.pid == key.pid and row.state != "zombie" for row in self.rows)

    def terminate_container(self, member: ProcessKey, container: Container) -> bool:
        if self.kernel_kills_containers:
            self.sent.append(("group", member.pid))
            self.rows[:] = [row for row in self.rows if row.container is None or row.container.id != container.id]
        return self.kernel_kills_containers

    def freeze(self, key: ProcessKey) -> AbstractContextManager[tuple[ThreadState, ...]]:
        raise Unsupported("a made-up process has no threads")

    def registers(self, key: ProcessKey) -> tuple[ThreadState, ...]:
        raise Unsupported("a made-up process has no threads")

    def snapshot(self, key: ProcessKey) -> AbstractContextManager[Snapshot]:
        raise Unsupported("a made-up process has no memory")

    def write_dump(self, key: ProcessKey, fd: int) -> None:
        raise Unsupported("a made-up process has no memory")

    def spawn(self, argv: tuple[str, ...]) -> AbstractContextManager[Spawned]:
        raise Unsupported("nothing can be started on a made-up host")

    def trace(self, request: TraceRequest, stop: threading.Event, tally: Tally) -> Iterator[Event]:
        raise Unsupported("a made-up process makes no calls")

    def _signal(self, name: str, key: ProcessKey) -> None:
        if self._row(key).state == "zombie":
            raise Gone(f"process {key.pid} has ended")
        if key.pid in self.forbidden:
            raise Denied(f"process {key.pid}: permission denied", "needs root")
        self.sent.append((name, key.pid))
        if self.on_signal:
            self.on_signal(name, key.pid)

    def _set(self, pid: int, state: str) -> None:
        self.rows[:] = [changed(row, state=state) if row.key.pid == pid else row for row in self.rows]


def control_of(host: Host, **given: object) -> FakeControl:
    """A control of the rows that a fake host shows now."""
    return replace(FakeControl(host.processes.sweeps[0]), **given)  # type: ignore[attr-defined, arg-type]
