"""What kinds of programs there are: named by the section that the compiler put them in, as libbpf's are.

fentry, fexit, LSM and kprobe programs are left out: kernels under lockdown refuse them, and many are built without.
"""

from typing import NamedTuple

SOCKET_FILTER, CGROUP_SKB, RAW_TRACEPOINT, TRACING = 1, 8, 17, 26
CGROUP_INGRESS, CGROUP_EGRESS, TRACE_RAW_TP, TRACE_ITER = 0, 1, 23, 28
_FUNC, _TYPEDEF = 12, 8
"""As in `btf`, which a run that finds its programs in the cache does not load."""


class ProgramKind(NamedTuple):
    """How the kernel takes programs of one kind. The numbers are ABI (include/uapi/linux/bpf.h)."""

    program_type: int
    attach_type: int
    prefix: str = ""
    """Of the target's name in the kernel's BTF; empty when it need not be looked up."""
    target_kind: int = 0
    sleepable: bool = False
    noun: str = ""
    """What the target is called."""


KINDS = {
    "iter": ProgramKind(TRACING, TRACE_ITER, "bpf_iter_", _FUNC, noun="iterator"),
    "iter.s": ProgramKind(TRACING, TRACE_ITER, "bpf_iter_", _FUNC, sleepable=True, noun="iterator"),
    "tp_btf": ProgramKind(TRACING, TRACE_RAW_TP, "btf_trace_", _TYPEDEF, noun="tracepoint"),
    "raw_tp": ProgramKind(RAW_TRACEPOINT, 0, noun="tracepoint"),
    "cgroup_skb/ingress": ProgramKind(CGROUP_SKB, CGROUP_INGRESS),
    "cgroup_skb/egress": ProgramKind(CGROUP_SKB, CGROUP_EGRESS),
    "socket": ProgramKind(SOCKET_FILTER, 0),
}


def split_section(section: str) -> tuple[str, str]:
    """Kind and target of a section's programs, such as ``tp_btf`` and ``sys_exit``.

    Raises:
        ValueError: the kind is not supported, or its target is not named.
    """
    if section in KINDS and "/" in section:
        return section, ""
    kind, _, target = section.partition("/")
    if kind not in KINDS:
        raise ValueError(f"program kind {kind} is not supported")
    if kind != "socket" and not target:
        raise ValueError(f"section {section} names no target")
    return kind, "" if kind == "socket" else target
