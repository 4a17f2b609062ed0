"""Which columns each kind of record has."""

from typing import Any

from hostscope.model import container, host
from hostscope.model.container import Container
from hostscope.model.host import Ability, Finding, HostCounters, NamedCounter
from hostscope.render.column import Column, column_at
from hostscope.render.dns_columns import RESOLVERS
from hostscope.render.interface_columns import INTERFACES
from hostscope.render.layout import Layout
from hostscope.render.process_layout import PROCESSES
from hostscope.render.service_columns import SERVICES
from hostscope.render.socket_columns import SOCKETS
from hostscope.render.traffic_columns import PROCESS_TRAFFIC

CONTAINERS = Layout(
    "containers",
    container.SCHEMA,
    Container,
    (
        Column("id", "ID", "text", "id", None, "id", lambda c: c.id[:12]),
        Column("name", "NAME", "text", "name", None, "name", lambda c: c.name),
        Column("runtime", "RUNTIME", "text", "runtime", None, "what runs it", lambda c: c.runtime),
        Column("image", "IMAGE", "text", "image", None, "image", lambda c: c.image),
        Column("pod", "POD", "text", "pod", None, "pod, namespace first", lambda c: c.pod),
        Column("started", "STARTED", "instant", "started_at_ns", None, "start time, UTC", lambda c: c.started_at_ns),
        Column("source", "SOURCE", "text", "source", None, "what told: cgroup, state, heuristic", lambda c: c.source),
        Column("full_id", "FULL ID", "text", "id", None, "whole id", lambda c: c.id),
    ),
    ("id", "name", "runtime", "pod", "source", "image"),
)

FINDINGS = Layout(
    "findings",
    host.FINDING_SCHEMA,
    Finding,
    (
        Column("severity", "SEVERITY", "text", "severity", None, "info to critical", lambda f: f.severity),
        Column("rule", "RULE", "text", "rule", None, "what found it", lambda f: f.rule),
        Column("pid", "PID", "int", "pid", None, "process id", lambda f: f.pid),
        Column("title", "TITLE", "text", "title", None, "what is wrong", lambda f: f.title),
        Column("detail", "DETAIL", "text", "detail", None, "the facts", lambda f: f.detail),
    ),
    ("severity", "rule", "pid", "title", "detail"),
)

ABILITIES = Layout(
    "capabilities",
    host.ABILITY_SCHEMA,
    Ability,
    (
        Column("name", "CAPABILITY", "text", "name", None, "what hostscope could do", lambda a: a.name),
        Column("available", "HERE", "bool", "available", None, "whether it can here", lambda a: a.available),
        Column("detail", "WHY", "text", "detail", None, "what gives it, or why it is missing", lambda a: a.detail),
        Column("enable", "TO ENABLE", "text", "enable", None, "the exact way to get it", lambda a: a.enable),
    ),
    ("name", "available", "detail", "enable"),
)

COUNTERS = Layout(
    "readings",
    host.COUNTERS_SCHEMA,
    HostCounters,
    (
        Column("at", "AT", "instant", "at_ns", None, "when, UTC", lambda c: c.at_ns),
        Column("load_1m", "LOAD 1M", "float", "load_1m", None, "load average, 1 minute", lambda c: c.load_1m),
        Column("load_5m", "LOAD 5M", "float", "load_5m", None, "load average, 5 minutes", lambda c: c.load_5m),
        Column("load_15m", "LOAD 15M", "float", "load_15m", None, "load average, 15 minutes", lambda c: c.load_15m),
        Column("cpus", "CPUS", "int", "cpu_count", None, "processors", lambda c: c.cpu_count),
        Column("cpu_user", "USER", "duration", "cpu_user_ns", None, "processor time, user", lambda c: c.cpu_user_ns),
        Column("cpu_system", "SYSTEM", "duration", "cpu_system_ns", None, "processor time, kernel",
               lambda c: c.cpu_system_ns),
        Column("cpu_idle", "IDLE", "duration", "cpu_idle_ns", None, "processor time, idle", lambda c: c.cpu_idle_ns),
        Column("cpu_iowait", "IOWAIT", "duration", "cpu_iowait_ns", None, "idle, waiting for storage",
               lambda c: c.cpu_iowait_ns),
        Column("cpu_steal", "STEAL", "duration", "cpu_steal_ns", None, "taken by the hypervisor",
               lambda c: c.cpu_steal_ns),
        Column("running", "RUNNING", "int", "processes_running", None, "running threads",
               lambda c: c.processes_running),
        Column("created", "CREATED", "int", "processes_created", None, "forks since boot",
               lambda c: c.processes_created),
        Column("switches", "SWITCHES", "int", "context_switches", None, "context switches since boot",
               lambda c: c.context_switches),
        Column("memory", "MEMORY", "bytes", "memory_total_bytes", None, "memory", lambda c: c.memory_total_bytes),
        Column("available", "AVAILABLE", "bytes", "memory_available_bytes", None, "memory for new work",
               lambda c: c.memory_available_bytes),
        Column("free", "FREE", "bytes", "memory_free_bytes", None, "unused memory", lambda c: c.memory_free_bytes),
        Column("cached", "CACHED", "bytes", "memory_cached_bytes", None, "page cache", lambda c: c.memory_cached_bytes),
        Column("swap", "SWAP", "bytes", "swap_total_bytes", None, "swap space", lambda c: c.swap_total_bytes),
        Column("swap_free", "SWAP FREE", "bytes", "swap_free_bytes", None, "unused swap space",
               lambda c: c.swap_free_bytes),
        column_at("pressure_cpu", "PSI CPU", "ratio", "pressure_cpu.some_10s_ratio", None,
                  "% of 10 s with a thread waiting for a processor"),
        column_at("pressure_memory", "PSI MEM", "ratio", "pressure_memory.some_10s_ratio", None,
                  "% of 10 s with a thread waiting for memory"),
        column_at("pressure_io", "PSI IO", "ratio", "pressure_io.some_10s_ratio", None,
                  "% of 10 s with a thread waiting for storage"),
    ),
    ("at", "load_1m", "load_5m", "load_15m", "running", "available", "cached", "swap_free", "pressure_cpu",
     "pressure_memory", "pressure_io"),
)  # fmt: skip

NAMED_COUNTERS = Layout(
    "counters by name",
    host.NAMED_COUNTER_SCHEMA,
    NamedCounter,
    (
        Column("path", "COUNTER", "text", "path", None, "as it was asked for", lambda c: c.path),
        Column("instance", "INSTANCE", "text", "instance", None, "which of several", lambda c: c.instance),
        Column("value", "VALUE", "float", "value", None, "in its own unit; a rate between two looks",
               lambda c: c.value),
    ),
    ("path", "instance", "value"),
)  # fmt: skip

LAYOUTS: dict[str, Layout[Any]] = {
    "processes": PROCESSES,
    "containers": CONTAINERS,
    "services": SERVICES,
    "sockets": SOCKETS,
    "traffic": PROCESS_TRAFFIC,
    "dns": RESOLVERS,
    "hidden": FINDINGS,
    "abilities": ABILITIES,
    "counters": COUNTERS,
    "interfaces": INTERFACES,
}
"""Table -> layout."""
