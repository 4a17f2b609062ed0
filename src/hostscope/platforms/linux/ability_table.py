"""What each capability of hostscope takes on Linux, as a table: privileges, a command that uses it, what goes without.

The privileges were found by trying each set as an ordinary user on Linux 6.18 (tests/system/test_grants.py does it
again). Where manual pages say otherwise:

- /proc/PID/fd, maps and mem of others take both CAP_SYS_PTRACE (the check behind the file) and CAP_DAC_READ_SEARCH (the
  file's own mode); proc(5) and ptrace(2) speak of the first only. Links such as exe and ns/net take the first alone.
- The iterator tells the owners of everybody's sockets with CAP_BPF and CAP_PERFMON alone.
- Counting packets takes CAP_NET_RAW, for it is done by a filter on a packet socket; a program on a control group
  (cgroup_skb) would take CAP_NET_ADMIN.
- Promiscuous mode takes CAP_NET_RAW only, though packet(7) has been read as asking for CAP_NET_ADMIN.
- setns(2) into a network namespace takes CAP_SYS_ADMIN; to open the link that leads to it, CAP_SYS_PTRACE.
- From Linux 6.6 on everyone may listen to the process connector; before, CAP_NET_ADMIN.
"""

from collections.abc import Callable

from msgspec import Struct

from hostscope.platforms.linux import obstacles
from hostscope.platforms.linux.live import (
    ENTER_NAMESPACES,
    LISTEN_CONNECTOR,
    LIVE,
    LOAD_PROGRAMS,
    READ_OTHERS,
)

Obstacle = Callable[[], str | None]
"""Says what stands in the way that no privilege cures."""


class Need(Struct, frozen=True):
    """One capability of hostscope, and what it takes."""

    name: str
    command: str
    """Uses it; what follows ``hostscope``. PID stands for a process."""
    privileges: tuple[str, ...]
    gives: str
    lost: str
    obstacles: tuple[Obstacle, ...] = ()
    live: tuple[str, str | None] | None = None
    """Command and method in `LIVE`, of those that go on; said once for each."""

    @property
    def keeps(self) -> tuple[str, ...] | None:
        """What stays permitted once it has opened."""
        return LIVE[self.live[0]].kept(self.live[1]) if self.live else None


_TRACING = (obstacles.of_programs,)
_COUNTING = (obstacles.of_programs, obstacles.of_accounting)
_PACKETS_OF_PROCESSES = (*LOAD_PROGRAMS, "net_raw")

NEEDS: tuple[Need, ...] = (
    Need(
        "iterator", "ps --method iterator", LOAD_PROGRAMS, "every process in one read, by eBPF",
        "processes are read from /proc, ten times slower; full_detail then decides what shows of others'",
        _TRACING, ("ps", None),
    ),
    Need(
        "full_detail", "inspect PID", READ_OTHERS, "open files, maps and links of other users' processes",
        "other users' processes show with names, arguments and counters, but without executables and open files",
    ),
    Need(
        "environment", "inspect PID --format json", READ_OTHERS, "environment of other users' processes",
        "environments of your own processes only",
    ),
    Need(
        "digest", "ps --columns pid,name,sha256", READ_OTHERS, "SHA-256 of what other users' processes run",
        "no digests of what others run",
    ),
    Need(
        "sockets", "net --method iterator", LOAD_PROGRAMS, "every socket with its owners in one read, by eBPF",
        "sockets are listed by sock_diag and owners looked for in /proc: slower, and see socket_owners",
        _TRACING, ("net", None),
    ),
    Need(
        "socket_owners", "net --method diag", READ_OTHERS, "owners of other users' sockets, without eBPF",
        "sockets of other users' processes are listed without their owners, unless the iterator tells",
    ),
    Need(
        "network_namespaces", "interfaces", (*ENTER_NAMESPACES, "sys_ptrace"),
        "interfaces, and sockets nobody holds, of other network namespaces",
        "interfaces of this network namespace only; of others' sockets those that a process holds",
        live=("interfaces", None),
    ),
    Need(
        "traffic", "traffic --method accounting", LOAD_PROGRAMS, "traffic by process, counted in the kernel",
        "the next method: traffic_wire, else traffic_capture, else traffic_polling",
        _COUNTING, ("traffic", "accounting"),
    ),
    Need(
        "traffic_wire", "traffic --method wire", _PACKETS_OF_PROCESSES, "packets by process, as interfaces count them",
        "no ledger that balances with the interfaces without copying packets",
        _TRACING, ("traffic", "wire"),
    ),
    Need(
        "traffic_capture", "traffic --method capture", ("net_raw",), "traffic by process from captured packets",
        "TCP payload by polling only: no UDP, nothing short-lived",
        live=("traffic", "capture"),
    ),
    Need(
        "traffic_polling", "traffic --method polling", (), "payload of TCP connections, by asking again and again",
        "", live=("traffic", "polling"),
    ),
    Need(
        "capture", "capture", ("net_raw",), "packets of interfaces, in promiscuous mode too",
        "no packets; hostscope traffic --read and dns --read still read capture files",
        live=("capture", "named"),
    ),
    Need(
        "packet_names", "capture", ("net_raw", *READ_OTHERS), "processes behind captured packets",
        "packets of other users' processes carry no process, unless the iterator tells",
    ),
    Need(
        "dns", "dns --watch", ("net_raw",), "questions to name servers, as they are asked",
        "the configuration of resolvers, and questions in capture files (dns --read)",
        live=("dns", "packet-ring"),
    ),
    Need(
        "dns_processes", "dns --watch", _PACKETS_OF_PROCESSES, "who asked, though the socket closed at once",
        "questions of short-lived sockets carry no process",
        _COUNTING,
    ),
    Need(
        "watch", "watch --method ring-buffer", LOAD_PROGRAMS, "events from the kernel's ring, none lost unnoticed",
        "events by watch_connector, else by polling; no sockets, no modules, arguments of short lives missing",
        _TRACING, ("watch", "ring-buffer"),
    ),
    Need(
        "watch_capabilities", "watch --capabilities", LOAD_PROGRAMS,
        "changes of capabilities, if asked for: 0.1 us of every system call of the host",
        "changes of capabilities do not show", _TRACING,
    ),
    Need(
        "watch_connector", "watch --method proc-connector", LISTEN_CONNECTOR,
        "starts, ends, changes of users and who traces whom, by the process connector",
        "changes of users and ptrace attaches do not show",
        (obstacles.of_connector,), ("watch", "proc-connector"),
    ),
    Need(
        "watch_polling", "watch --method polling", (), "starts and ends, by comparing lists",
        "", live=("watch", "polling"),
    ),
    Need(
        "trace", "trace PID --method ebpf", LOAD_PROGRAMS, "system calls of any process, without stopping it",
        "calls by trace_ptrace, which stops the process at each of them", _TRACING,
    ),
    Need(
        "trace_ptrace", "trace PID --method ptrace", ("sys_ptrace",), "others' system calls, by ptrace",
        "system calls of your own processes, and of those only that Yama allows (kernel.yama.ptrace_scope)",
        (obstacles.of_tracing,),
    ),
    Need(
        "dump", "dump PID --no-registers", READ_OTHERS, "memory of other users' processes",
        "memory of your own processes only", (obstacles.of_tracing,),
    ),
    Need(
        "registers", "dump PID", READ_OTHERS, "registers of other users' threads, and standing still (--freeze)",
        "dumps without registers (--no-registers)", (obstacles.of_tracing,),
    ),
    Need(
        "sparse_dump", "dump PID", (), "dumps leave out pages that were never used, by PAGEMAP_SCAN",
        "used pages are looked up one by one: slower where much is mapped", (obstacles.of_page_scan,),
    ),
    Need(
        "scan", "scan PID --rules FILE", READ_OTHERS, "YARA rules over memory and executables of others",
        "no rules over other users' processes", (obstacles.of_rules, obstacles.of_tracing),
    ),
    Need(
        "acts", "suspend PID", ("kill",), "ending, stopping and resuming other users' processes",
        "acts on your own processes only",
    ),
)  # fmt: skip
"""In the order in which they are shown."""
