"""TCP connections over which nothing need have been sent: who opened and who closed them.

bpf/connects.bpf.c writes them down; here its table is read beside what counts payload.
"""

from contextlib import AbstractContextManager
from typing import Self

from msgspec.structs import replace

from hostscope.model.traffic import Flow, Reading
from hostscope.platforms.base_network import Meter
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.count_table import tick_ns
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.payload_record import KEY, USAGE, flow_of
from hostscope.platforms.linux.program_cache import load_image
from hostscope.platforms.posix_accounts import Accounts

PROGRAM = "on_state"
EFFECT = "an eBPF program on the tracepoint inet_sock_set_state"


class Connections(AbstractContextManager["Connections"]):
    """The last 16,384 connections that were opened or closed since."""

    def __init__(self, boot: Boot) -> None:
        """Begins to take note. Cost: 0.1 µs for each change of a connection's state.

        Needs: CAP_BPF, CAP_PERFMON.

        Raises:
            Denied, Unsupported, Unavailable
        """
        self._boot, self._accounts, self._tick_ns = boot, Accounts(), tick_ns()
        self._seen: dict[bytes, Flow] = {}
        self._programs = Programs(load_image("connects").image)
        try:
            self._programs.attach(PROGRAM)
            self._table = self._programs.map("connections")
        except BaseException:
            self._programs.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def flows(self) -> tuple[Flow, ...]:
        """One for each connection, without payload; what did not change is the same object.

        Cost: a system call for each MiB, 0.3 µs a connection, 10 µs for one that changed.
        """
        before, self._seen = self._seen, {}
        size = KEY.size + USAGE.size
        for number, _, values in self._table.pieces():
            for value in (values[n * size : (n + 1) * size] for n in range(number)):
                self._seen[value] = before.get(value) or self._flow(value)
        return tuple([flow for flow in self._seen.values() if flow.local.port])

    def _flow(self, value: bytes) -> Flow:
        return flow_of(value[: KEY.size], value[KEY.size :], self._boot, self._accounts, self._tick_ns)


class WithConnections:
    """A meter that also tells of connections without payload."""

    def __init__(self, meter: Meter, connections: Connections) -> None:
        self.method, self._meter, self._connections = meter.method, meter, connections

    def read(self) -> Reading:
        """See `Meter.read`."""
        connections = self._connections.flows()
        reading = self._meter.read()
        return replace(reading, flows=reading.flows + connections)
