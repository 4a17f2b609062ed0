"""The work that is measured, one function per contestant. Each runs in a fresh interpreter: ``python -m
tests.bench.peers NAME REPEATS`` prints the median seconds of one sweep, the rows and the peak memory in MiB."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

COMMON = (
    "pid", "ppid", "name", "status", "create_time", "cpu_times", "memory_info", "num_threads", "cmdline", "exe",
    "uids", "gids", "username", "nice", "terminal",
)  # fmt: skip
"""psutil's names for hostscope's basic fields."""

PS_COLUMNS = "pid,ppid,comm,state,lstart,time,rss,vsz,nlwp,user,euid,ruid,suid,egid,rgid,sgid,nice,tty,args"
"""The same for ps, which has no executable path."""


def hostscope_rows(method: str, fields: str) -> Callable[[], int]:
    """A sweep to records that are all kept until it ends."""
    from hostscope.collectors import processes
    from hostscope.model import request
    from hostscope.platforms import open_host

    host = open_host()
    wanted = request.ProcessRequest(fields=getattr(request, fields), method=method)
    return lambda: len(processes.collect(host, wanted).rows())


def hostscope_columns() -> Callable[[], int]:
    """A columnar sweep with arguments and executable."""
    from hostscope.model.request import ProcessRequest
    from hostscope.platforms import open_host
    from hostscope.platforms.tally import Tally

    host = open_host()
    wanted = ProcessRequest(fields=frozenset({"argv", "exe"}), method="iterator")
    return lambda: len(host.processes.columns(wanted, Tally())["pid"])


def psutil_rows() -> Callable[[], int]:
    """psutil's sweep over the same fields, all of them read: its objects of the sweep before are forgotten.

    With them it (psutil 6 and later) neither reads when a process started nor looks whether the pid is still the same
    process: `psutil_kept`.
    """
    import psutil

    def sweep() -> int:
        psutil.process_iter.cache_clear()
        return len([process.info for process in psutil.process_iter(COMMON)])

    return sweep


def psutil_kept() -> Callable[[], int]:
    """psutil's sweep with the objects of the sweep before, start times included."""
    import psutil

    return lambda: len([process.info for process in psutil.process_iter(COMMON)])


def ps_text() -> Callable[[], int]:
    """ps writing the same columns; its output is read and thrown away."""
    command = ["ps", "-eo", PS_COLUMNS]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.count(b"\n")


CONTESTANTS: dict[str, Callable[[], Callable[[], int]]] = {
    "columns": hostscope_columns,
    "iterator_full": lambda: hostscope_rows("iterator", "FULL"),
    "iterator_basic": lambda: hostscope_rows("iterator", "BASIC"),
    "proc_basic": lambda: hostscope_rows("proc", "BASIC"),
    "proc_full": lambda: hostscope_rows("proc", "FULL"),
    "psutil": psutil_rows,
    "psutil_kept": psutil_kept,
    "ps": ps_text,
}


def main() -> None:
    """Measures one contestant after one uncounted sweep."""
    sweep, times, rows = CONTESTANTS[sys.argv[1]](), [], 0
    sweep()
    for _ in range(int(sys.argv[2])):
        began = time.perf_counter()
        rows = sweep()
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": statistics.median(times), "rows": rows, "peak_mib": peak}))


if __name__ == "__main__":
    main()
