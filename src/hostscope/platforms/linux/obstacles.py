"""What stands in the way of a capability of hostscope that no privilege cures: the kernel, its state, a library."""

import os
from functools import cache
from importlib.util import find_spec

from hostscope.model.security import HostSecurity
from hostscope.platforms.linux import iterator
from hostscope.platforms.linux.live import kernel_version
from hostscope.platforms.linux.parse import INITIAL_USER_NS
from hostscope.platforms.linux.security import Security

BTF = "/sys/kernel/btf/vmlinux"
YAMA_NONE = 3
"""No attaching for anybody, until the next boot. Source: Documentation/admin-guide/LSM/Yama.rst."""


def of_programs() -> str | None:
    """eBPF programs that look into the kernel's own data: kernel, type information, lockdown, namespaces."""
    if obstacle := without(5, 8, "process iterators"):
        return obstacle
    if not os.path.exists(BTF):
        return f"the kernel was built without type information ({BTF})"
    if not _in_first_user_namespace():
        return "we run in a user namespace of our own, where capabilities do not count for eBPF"
    if state().lockdown == "confidentiality":
        return "lockdown=confidentiality lets no program read kernel memory"
    return iterator.obstacle()


def of_accounting() -> str | None:
    """The tracepoints that say what a socket's system calls returned."""
    return without(6, 3, "tracepoint sock_send_length")


def of_connector() -> str | None:
    """The process connector answers in the first user and PID namespace only (cn_proc.c)."""
    if not _in_first_user_namespace():
        return "we run in a user namespace of our own, where the kernel does not answer"
    return iterator.obstacle()


def of_tracing() -> str | None:
    """Yama, where it forbids reading others' memory and stopping their threads to root as well."""
    if state().yama == YAMA_NONE:
        return "Yama forbids it to everybody until the next boot (kernel.yama.ptrace_scope=3)"
    return None


def of_page_scan() -> str | None:
    """PAGEMAP_SCAN."""
    return without(6, 7, "PAGEMAP_SCAN")


def of_rules() -> str | None:
    """The library that finds rules; it is looked for, not loaded."""
    return None if find_spec("yara_x") else "the library yara-x is not installed: pip install yara-x"


def without(major: int, minor: int, what: str) -> str | None:
    """That the kernel is older than what a version brought."""
    running = kernel_version(os.uname().release)
    if running >= (major, minor):
        return None
    return f"Linux {running[0]}.{running[1]} has no {what} ({major}.{minor} has)"


def _in_first_user_namespace() -> bool:
    return os.stat("/proc/self/ns/user").st_ino == INITIAL_USER_NS


@cache
def state() -> HostSecurity:
    """The host's security state, read once."""
    return Security().state()
