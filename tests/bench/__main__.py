"""``make bench``: hostscope beside its peers, area by area; ``python -m tests.bench wire sockets`` runs only these.

Absolute times depend on the machine and on what else it does; the ratios are what to read. Each area is a program of
its own, ``python -m tests.bench.AREA``, so that none inherits the memory or the children of another.
"""

import subprocess
import sys
from pathlib import Path

from tests.bench.measure import HOSTSCOPE, compile_peer, show, stating_disturbance

__all__ = ["HOSTSCOPE", "compile_peer", "show", "stating_disturbance"]
AREAS = (
    "processes", "sockets", "wire", "traffic", "capture", "memory", "events", "syscalls", "signatures", "windows",
    "macos",
)  # fmt: skip


def main() -> None:
    """The areas that the arguments name, or all that are there."""
    wanted = sys.argv[1:] or [area for area in AREAS if Path(__file__).with_name(f"{area}.py").exists()]
    unknown = sorted(set(wanted) - set(AREAS))
    if unknown:
        raise SystemExit(f"no such area: {', '.join(unknown)}; there are {', '.join(AREAS)}")
    failed = []
    for area in wanted:
        print(f"== {area}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.bench.{area}"], check=False).returncode:
            failed.append(area)
    if failed:
        raise SystemExit(f"could not be measured to the end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
