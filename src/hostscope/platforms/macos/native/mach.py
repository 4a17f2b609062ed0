"""Tasks, their memory and their threads, by Mach.

Source: mach/mach_traps.h, mach/task.h, mach/thread_act.h, mach/vm_region.h, mach/mach_vm.h (the last is in Apple's SDK,
not in the headers that the tests have). Calls return a `kern_return_t`; ``errno`` means nothing here.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

from hostscope.errors import NativeError
from hostscope.platforms.macos.native.library import LIBSYSTEM, Library

KERN_SUCCESS, KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE, KERN_NO_SPACE = 0, 1, 2, 3
KERN_INVALID_ARGUMENT, KERN_FAILURE, KERN_TERMINATED, KERN_DENIED = 4, 5, 37, 53
MACH_SEND_INVALID_DEST = 0x10000003
VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE = 1, 2, 4
SM_COW, SM_PRIVATE, SM_EMPTY, SM_SHARED, SM_TRUESHARED, SM_PRIVATE_ALIASED, SM_SHARED_ALIASED = 1, 2, 3, 4, 5, 6, 7
VM_PAGE_QUERY_PAGE_PRESENT, VM_PAGE_QUERY_PAGE_PAGED_OUT = 0x1, 0x10
TASK_AUDIT_TOKEN, QOS_CLASS_UTILITY = 15, 0x11
THREAD_EXTENDED_INFO, THREAD_IDENTIFIER_INFO = 5, 4
_FLAVORS = {"x86_64": 4, "arm64": 6}
"""x86_THREAD_STATE64, ARM_THREAD_STATE64: each is only in its processor's own header."""
_MOST_STATE_WORDS = 1024


class vm_region_submap_info_64(ctypes.Structure):
    """One region of an address space. The kernel fills as much as the count that it is given says."""

    _pack_ = 4
    _layout_ = "ms"
    _fields_ = (
        ("protection", c_int32),
        ("max_protection", c_int32),
        ("inheritance", c_uint32),
        ("offset", c_uint64),
        ("user_tag", c_uint32),
        ("pages_resident", c_uint32),
        ("pages_shared_now_private", c_uint32),
        ("pages_swapped_out", c_uint32),
        ("pages_dirtied", c_uint32),
        ("ref_count", c_uint32),
        ("shadow_depth", c_uint16),
        ("external_pager", c_uint8),
        ("share_mode", c_uint8),
        ("is_submap", c_int32),
        ("behavior", c_int32),
        ("object_id", c_uint32),
        ("user_wired_count", c_uint16),
        ("flags", c_uint16),
        ("pages_reusable", c_uint32),
        ("object_id_full", c_uint64),
        ("pages_wired", c_uint32),
        ("wire_tag", c_uint16),
        ("__padding0", c_uint16),
    )


class audit_token_t(ctypes.Structure):
    """Who a process is, its version among it: it counts up with every fork and exec."""

    _fields_ = (("val", c_uint32 * 8),)


class thread_identifier_info(ctypes.Structure):
    """A thread's number."""

    _fields_ = (("thread_id", c_uint64), ("thread_handle", c_uint64), ("dispatch_qaddr", c_uint64))


class thread_extended_info(ctypes.Structure):
    """What a thread does, and its name."""

    _fields_ = (
        ("pth_user_time", c_uint64),
        ("pth_system_time", c_uint64),
        ("pth_cpu_usage", c_int32),
        ("pth_policy", c_int32),
        ("pth_run_state", c_int32),
        ("pth_flags", c_int32),
        ("pth_sleep_time", c_int32),
        ("pth_curpri", c_int32),
        ("pth_priority", c_int32),
        ("pth_maxpriority", c_int32),
        ("pth_name", c_char * 64),
    )


SIGNATURES = {
    "task_self_trap": (c_uint32, ()),
    "task_for_pid": (c_int32, (c_uint32, c_int32, c_void_p)),
    "task_read_for_pid": (c_int32, (c_uint32, c_int32, c_void_p)),
    "task_name_for_pid": (c_int32, (c_uint32, c_int32, c_void_p)),
    "task_generate_corpse": (c_int32, (c_uint32, c_void_p)),
    "proc_signal_with_audittoken": (c_int32, (c_void_p, c_int32)),
    "pthread_set_qos_class_self_np": (c_int32, (c_uint32, c_int32)),
    "pid_for_task": (c_int32, (c_uint32, c_void_p)),
    "mach_port_deallocate": (c_int32, (c_uint32, c_uint32)),
    "mach_vm_region_recurse": (c_int32, (c_uint32, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)),
    "mach_vm_read_overwrite": (c_int32, (c_uint32, c_uint64, c_uint64, c_uint64, c_void_p)),
    "mach_vm_page_range_query": (c_int32, (c_uint32, c_uint64, c_uint64, c_uint64, c_void_p)),
    "mach_vm_deallocate": (c_int32, (c_uint32, c_uint64, c_uint64)),
    "task_info": (c_int32, (c_uint32, c_uint32, c_void_p, c_void_p)),
    "task_suspend2": (c_int32, (c_uint32, c_void_p)),
    "task_resume2": (c_int32, (c_uint32,)),
    "task_threads": (c_int32, (c_uint32, c_void_p, c_void_p)),
    "thread_info": (c_int32, (c_uint32, c_uint32, c_void_p, c_void_p)),
    "thread_get_state": (c_int32, (c_uint32, c_int32, c_void_p, c_void_p)),
}
BOOLEANS = ("vm_region_submap_info_64.is_submap",)
NOT_IN_HEADERS = {
    "mach_vm_region_recurse": "mach/mach_vm.h of the macOS SDK (osfmk/mach/mach_vm.defs in xnu)",
    "mach_vm_read_overwrite": "mach/mach_vm.h of the macOS SDK (osfmk/mach/mach_vm.defs in xnu)",
    "mach_vm_deallocate": "mach/mach_vm.h of the macOS SDK (osfmk/mach/mach_vm.defs in xnu)",
    "mach_vm_page_range_query": "mach/mach_vm.h of the macOS SDK (osfmk/mach/mach_vm.defs in xnu)",
    "task_read_for_pid": "osfmk/mach/mach_traps.h in xnu (private before xnu-7195)",
}
mach = Library(LIBSYSTEM, SIGNATURES)


class KernFailure(NativeError):
    """A Mach call failed; `code` is its kern_return_t, which is no errno."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(call, code, f"kern_return {code}")


def checked(call: str, code: int) -> None:
    """Raises `KernFailure` unless a call succeeded."""
    if code != KERN_SUCCESS:
        raise KernFailure(call, code)


class Ourselves:
    """Our own task port, asked for once: each time would keep a right to it."""

    port: int | None = None


def our_task() -> int:
    """The port of our own task."""
    if Ourselves.port is None:
        Ourselves.port = int(mach.task_self_trap())
    return Ourselves.port


def task_port(pid: int, to_read: bool) -> int:
    """A right to another task, to be given back by `release`.

    Args:
        to_read: a right that can only look (macOS 11.3), instead of one that can do everything.

    Raises:
        KernFailure: KERN_FAILURE for every refusal, and for a process that is gone.
        Unsupported: this macOS has no rights to read only.
    """
    port = c_uint32()
    name = "task_read_for_pid" if to_read else "task_for_pid"
    checked(name, getattr(mach, name)(our_task(), pid, ctypes.byref(port)))
    return port.value


def release(port: int) -> None:
    """Gives a right back."""
    mach.mach_port_deallocate(our_task(), port)


def pid_of(task: int) -> int:
    """The pid of a task; -1 when it has ended.

    Raises:
        KernFailure
    """
    pid = c_int32(-1)
    checked("pid_for_task", mach.pid_for_task(task, ctypes.byref(pid)))
    return pid.value


def region(task: int, address: int, depth: int) -> tuple[int, int, int, vm_region_submap_info_64]:
    """The region at or behind an address: start, size, the depth it was found at, and what it is.

    Raises:
        KernFailure: KERN_INVALID_ADDRESS when there is none any more.
    """
    at, size, level = c_uint64(address), c_uint64(), c_uint32(depth)
    info = vm_region_submap_info_64()
    count = c_uint32(ctypes.sizeof(info) // 4)
    by = ctypes.byref
    code = mach.mach_vm_region_recurse(task, by(at), by(size), by(level), by(info), by(count))
    checked("mach_vm_region_recurse", code)
    return at.value, size.value, level.value, info


def read_into(task: int, address: int, into: memoryview) -> int:
    """Copies memory of a task; all of it or, with an error, nothing.

    Raises:
        KernFailure
    """
    there = (c_uint8 * len(into)).from_buffer(into)
    got = c_uint64()
    code = mach.mach_vm_read_overwrite(task, address, len(into), ctypes.addressof(there), ctypes.byref(got))
    checked("mach_vm_read_overwrite", code)
    return min(got.value, len(into))


def corpse(task: int) -> int:
    """A copy of a task as it is now, which never runs; to be given back by `release`.

    Raises:
        KernFailure
        Unsupported
    """
    port = c_uint32()
    checked("task_generate_corpse", mach.task_generate_corpse(task, ctypes.byref(port)))
    return port.value


def suspend(task: int) -> int:
    """Suspends a task; it runs on with `resume` of what is returned, or when we have ended.

    Raises:
        KernFailure
    """
    token = c_uint32()
    checked("task_suspend2", mach.task_suspend2(task, ctypes.byref(token)))
    return token.value


def resume(token: int) -> None:
    """Takes a suspension back."""
    mach.task_resume2(token)


def token_of(pid: int) -> audit_token_t:
    """Who has a pid now, by a right to the task's name, which shows nothing and can do nothing.

    Raises:
        KernFailure: it has ended, or is another user's and we are not root.
    """
    port, token, count = c_uint32(), audit_token_t(), c_uint32(8)
    checked("task_name_for_pid", mach.task_name_for_pid(our_task(), pid, ctypes.byref(port)))
    try:
        code = mach.task_info(port.value, TASK_AUDIT_TOKEN, ctypes.byref(token), ctypes.byref(count))
    finally:
        release(port.value)
    checked("task_info", code)
    return token


def signal(token: audit_token_t, number: int) -> int:
    """Sends a signal to the very process that a token is of; Darwin's error number, 0 when it was sent.

    Raises:
        Unsupported: this macOS cannot (before 12).
    """
    return int(mach.proc_signal_with_audittoken(ctypes.byref(token), number))


def give_way() -> None:
    """Lets what people wait for run before the calling thread."""
    mach.pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0)


def pages(task: int, address: int, count: int, page_bytes: int) -> list[bool]:
    """Whether each page is there, in memory or paged out; what was never touched is not.

    Raises:
        KernFailure
        Unsupported: this macOS does not tell (before 10.14).
    """
    found, got = (c_int32 * count)(), c_uint64(count)
    place, room = ctypes.addressof(found), ctypes.byref(got)
    checked("mach_vm_page_range_query", mach.mach_vm_page_range_query(task, address, count * page_bytes, place, room))
    there = VM_PAGE_QUERY_PAGE_PRESENT | VM_PAGE_QUERY_PAGE_PAGED_OUT
    return [bool(one & there) for one in found[: min(count, got.value)]]


def threads(task: int) -> list[int]:
    """The ports of a task's threads; each is to be given back by `release`.

    Raises:
        KernFailure
    """
    ports, count = ctypes.POINTER(c_uint32)(), c_uint32()
    checked("task_threads", mach.task_threads(task, ctypes.byref(ports), ctypes.byref(count)))
    found = list(ports[: count.value])
    if found:
        address = ctypes.cast(ports, c_void_p).value or 0
        mach.mach_vm_deallocate(our_task(), address, 4 * count.value)
    return found


def thread_id(thread: int) -> int:
    """The system-wide number of a thread.

    Raises:
        KernFailure
    """
    found = thread_identifier_info()
    count = c_uint32(ctypes.sizeof(found) // 4)
    code = mach.thread_info(thread, THREAD_IDENTIFIER_INFO, ctypes.byref(found), ctypes.byref(count))
    checked("thread_info", code)
    return int(found.thread_id)


def thread_details(thread: int) -> thread_extended_info:
    """Name, state and times of a thread.

    Raises:
        KernFailure
    """
    found = thread_extended_info()
    count = c_uint32(ctypes.sizeof(found) // 4)
    code = mach.thread_info(thread, THREAD_EXTENDED_INFO, ctypes.byref(found), ctypes.byref(count))
    checked("thread_info", code)
    return found


def registers(thread: int, architecture: str) -> tuple[int, bytes]:
    """The general registers of a thread: the flavor of the structure, and its bytes.

    Args:
        architecture: ``arm64`` or ``x86_64``, of the kernel.

    Raises:
        KernFailure
    """
    flavor = _FLAVORS[architecture]
    state, count = (c_uint32 * _MOST_STATE_WORDS)(), c_uint32(_MOST_STATE_WORDS)
    checked("thread_get_state", mach.thread_get_state(thread, flavor, state, ctypes.byref(count)))
    return flavor, bytes(state)[: 4 * min(count.value, _MOST_STATE_WORDS)]
