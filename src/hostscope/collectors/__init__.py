"""What can be asked of a host, one file per noun. Plain generators over blocking calls."""

COLLECTORS: dict[str, str] = {
    "abilities": "what hostscope can do here",
    "containers": "every container",
    "counters": "the host's counters",
    "hidden": "processes that some ways of looking do not show",
    "processes": "every process",
    "services": "every unit of the service manager",
}
"""Modules with ``collect(host, request) -> Answer``, by table."""

PARTS: dict[str, str] = {
    "digests": "content of executables and the packages they came from",
    "errors": "errors as gaps",
    "inspection": "everything about one process, or about the host",
    "lineage": "descent",
    "samples": "processor share between two looks",
    "targets": "what a person calls a process",
}
"""The other modules: what collectors are composed of."""
