"""What can be asked of a host, one file per noun. Plain generators over blocking calls."""

COLLECTORS: dict[str, str] = {
    "abilities": "what hostscope can do here",
    "containers": "every container",
    "counters": "the host's counters",
    "dns": "how names are resolved",
    "hidden": "processes that some ways of looking do not show",
    "interfaces": "every network interface",
    "processes": "every process",
    "services": "every unit of the service manager",
    "sockets": "every socket",
    "traffic": "what each process sends and receives, for a second",
}
"""Modules with ``collect(host, request) -> Answer``, by table."""

PARTS: dict[str, str] = {
    "attribution": "the processes at the ends of flows",
    "held_batches": "captured packets that wait for their processes",
    "host_addresses": "which addresses are this host's",
    "held_ends": "who used which ends of connections, and when",
    "capture": "captures packets into files",
    "capture_files": "capture files, one after the other, and the last packets in memory",
    "analysis": "what a dump tells",
    "events": "what happens to processes",
    "lifecycle": "what changed between two looks",
    "digests": "content of executables and the packages they came from",
    "errors": "errors as gaps",
    "flow_targets": "whose traffic is meant",
    "inspection": "everything about one process, or about the host",
    "lineage": "descent",
    "meters": "the best way to measure traffic",
    "capture_meter": "traffic of captured packets",
    "packet_flows": "packets to flows with names",
    "polling_meter": "traffic of TCP connections, by looking at them again and again",
    "file_meter": "traffic of a capture file",
    "file_owners": "what a capture file says of processes",
    "interface_totals": "what the interfaces counted since",
    "people": "who the processes of a live table are",
    "packet_notes": "what stands beside captured packets",
    "rates": "what interfaces' counters gain between two looks",
    "reverse_names": "names of addresses",
    "samples": "processor share between two looks",
    "scan": "YARA rules over running processes",
    "targets": "what a person calls a process",
    "windows": "rates and sparklines",
}
"""The other modules: what collectors are composed of."""
