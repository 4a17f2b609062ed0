"""Traffic by process, counted in the kernel: which method, and why not the better one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from hostscope.errors import Denied, Unsupported, UsageError
from hostscope.model.traffic import TrafficRequest
from hostscope.platforms.base import Meter, Privileges
from hostscope.platforms.linux import iterator
from hostscope.platforms.linux.clock import Boot
from hostscope.platforms.linux.loader import Programs
from hostscope.platforms.linux.payload_meter import MISSES, PROGRAMS, PayloadMeter
from hostscope.platforms.linux.program_cache import load_image
from hostscope.platforms.tally import Tally

LOAD_PROGRAMS = ("bpf", "perfmon")


class Traffic:
    """Implements `hostscope.platforms.base.Traffic`."""

    def __init__(self, boot: Boot, privileges: Privileges | None = None) -> None:
        self._boot, self._privileges = boot, privileges

    @contextmanager
    def open(self, request: TrafficRequest, tally: Tally) -> Iterator[Meter]:
        """See `Traffic.open`: ``accounting`` (Linux 6.3), else ``wire``.

        Needs: CAP_BPF and CAP_PERFMON; ``wire`` besides CAP_NET_RAW, and CAP_SYS_ADMIN for other namespaces.
        """
        methods = self._methods(request.method)
        with ExitStack() as stack:
            for place, (name, make) in enumerate(methods):
                try:
                    meter = make(request, tally, stack)
                    break
                except (Denied, Unsupported) as failed:
                    if place == len(methods) - 1:
                        raise
                    tally.method_reason = f"{name} cannot be used: {failed}"
            tally.method = meter.method
            yield meter

    def _methods(self, asked: str | None) -> "list[tuple[str, _Make]]":
        methods: dict[str, _Make] = {"accounting": self._accounting}
        if asked is None:
            return list(methods.items())
        if asked not in methods:
            raise UsageError(f"there is no method {asked!r}", f"methods here: {', '.join(methods)}")
        return [(asked, methods[asked])]

    def _accounting(self, request: TrafficRequest, tally: Tally, stack: ExitStack) -> Meter:
        if obstacle := iterator.obstacle():
            raise Unsupported(obstacle)
        found = load_image("traffic")
        programs = stack.enter_context(Programs(found.image, entries={"usages": request.max_flows}))
        with self._raised(LOAD_PROGRAMS, "count what processes send and receive"):
            meter = PayloadMeter(programs, self._boot, request.interfaces)
            for name in PROGRAMS:
                programs.attach(name)
        if found.note:
            tally.note(f"eBPF programs: {found.note}")
        tally.effects.append("eBPF programs on the tracepoints sock_send_length and sock_recv_length")
        tally.note(f"counts {MISSES}")
        return meter

    def _raised(self, names: tuple[str, ...], why: str) -> AbstractContextManager[None]:
        return self._privileges.using(names, why) if self._privileges else nullcontext()


_Make = Callable[[TrafficRequest, Tally, ExitStack], Meter]
