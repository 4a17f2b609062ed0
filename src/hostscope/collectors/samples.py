"""Processor share: how much time a process used between two looks."""

from collections.abc import Iterable, Iterator
from time import perf_counter_ns

from msgspec.structs import replace

from hostscope.model.key import ProcessKey
from hostscope.model.process import Process


class Samples:
    """The last look at every process. By `perf_counter_ns`, because Windows' monotonic clock moves every 16 ms only."""

    def __init__(self) -> None:
        self._last: dict[ProcessKey, tuple[int, int]] = {}

    def take(self, rows: Iterable[Process]) -> Iterator[Process]:
        """The rows with `cpu.ratio` against the look before; it stays None for processes that were not there then."""
        fresh: dict[ProcessKey, tuple[int, int]] = {}
        last, self._last = self._last, fresh
        for process in rows:
            if process.cpu is None:
                yield process
                continue
            now_ns, used_ns = perf_counter_ns(), process.cpu.user_ns + process.cpu.system_ns
            fresh[process.key] = (now_ns, used_ns)
            before = last.get(process.key)
            yield _with_ratio(process, before, now_ns, used_ns) if before else process


def _with_ratio(process: Process, before: tuple[int, int], now_ns: int, used_ns: int) -> Process:
    elapsed_ns = now_ns - before[0]
    if process.cpu is None or elapsed_ns <= 0:
        return process
    return replace(process, cpu=replace(process.cpu, ratio=max(0, used_ns - before[1]) / elapsed_ns))
