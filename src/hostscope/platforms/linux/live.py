"""What live commands open with, and what they keep: which capabilities the look-ups need that go on afterwards.

Everything else is given up for good once the sources are open (`Privileges.settle`): a packet socket, a ring, an eBPF
map and its link stay usable without the capability that opened them. tests/system/test_live_privileges.py reads
/proc/PID/status of each running command and compares.
"""

import os
import re

from hostscope.platforms.live import Live

READ_OTHERS = ("sys_ptrace", "dac_read_search")
LOAD_PROGRAMS = ("bpf", "perfmon")
ENTER_NAMESPACES = ("sys_admin",)
LIST_PROCESSES = (*LOAD_PROGRAMS, *READ_OTHERS)
LIST_SOCKETS = (*LIST_PROCESSES, *ENTER_NAMESPACES)
WRITE_FILES = ("dac_override",)


def kernel_version(release: str) -> tuple[int, int]:
    """``6.1.0-18-amd64`` -> (6, 1); (0, 0) for a release that begins otherwise."""
    found = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


LISTEN_CONNECTOR = ("net_admin",) if kernel_version(os.uname().release) < (6, 6) else ()
"""For the process connector, to begin and to end a subscription; from Linux 6.6 on everyone may (tried on 6.18)."""


LIVE: dict[str, Live] = {
    "ps": Live(LIST_PROCESSES, {}),
    "net": Live(LIST_SOCKETS, {}),
    "interfaces": Live((*READ_OTHERS, *ENTER_NAMESPACES), {}),
    "services": Live(WRITE_FILES, {}),
    "traffic": Live(
        (*LOAD_PROGRAMS, "net_raw", *READ_OTHERS, *ENTER_NAMESPACES),
        {
            "accounting": LIST_PROCESSES,
            "capture": LIST_SOCKETS,
            "polling": LIST_SOCKETS,
            "file": (),
        },
    ),
    "capture": Live(("net_raw", *LIST_SOCKETS), {"named": LIST_SOCKETS, "unnamed": ()}),
    "dns": Live(("net_raw", *LIST_SOCKETS), {"packet-ring": LIST_SOCKETS, "file": ()}),
    "watch": Live(
        (*LIST_SOCKETS, *LISTEN_CONNECTOR),
        {
            "ring-buffer": (*READ_OTHERS, *LISTEN_CONNECTOR),
            "proc-connector": (*READ_OTHERS, *LISTEN_CONNECTOR),
            "polling": LIST_PROCESSES,
        },
    ),
}
"""By the word typed. ``traffic --method wire`` has no line: it opens a counter in each namespace that comes up."""
