"""Counters of the whole host, by Mach. Source: mach/mach_host.h, mach/vm_statistics.h, mach/processor_info.h."""

import ctypes
from ctypes import c_int32, c_uint32, c_uint64, c_void_p

from hostscope.platforms.macos.native.library import LIBSYSTEM, Library
from hostscope.platforms.macos.native.mach import checked, mach, our_task

HOST_VM_INFO64, PROCESSOR_CPU_LOAD_INFO = 4, 2
CPU_STATE_USER, CPU_STATE_SYSTEM, CPU_STATE_IDLE, CPU_STATE_NICE, CPU_STATE_MAX = 0, 1, 2, 3, 4


class vm_statistics64(ctypes.Structure):
    """Pages by their use, since boot where they are counters. Newer systems only append to it."""

    _fields_ = (
        ("free_count", c_uint32),
        ("active_count", c_uint32),
        ("inactive_count", c_uint32),
        ("wire_count", c_uint32),
        ("zero_fill_count", c_uint64),
        ("reactivations", c_uint64),
        ("pageins", c_uint64),
        ("pageouts", c_uint64),
        ("faults", c_uint64),
        ("cow_faults", c_uint64),
        ("lookups", c_uint64),
        ("hits", c_uint64),
        ("purges", c_uint64),
        ("purgeable_count", c_uint32),
        ("speculative_count", c_uint32),
        ("decompressions", c_uint64),
        ("compressions", c_uint64),
        ("swapins", c_uint64),
        ("swapouts", c_uint64),
        ("compressor_page_count", c_uint32),
        ("throttled_count", c_uint32),
        ("external_page_count", c_uint32),
        ("internal_page_count", c_uint32),
        ("total_uncompressed_pages_in_compressor", c_uint64),
        ("swapped_count", c_uint64),
        ("total_tag_storage_pages", c_uint64),
        ("nontag_pageable_tag_storage_pages", c_uint64),
        ("nontag_wired_tag_storage_pages", c_uint64),
        ("free_tag_storage_pages", c_uint64),
        ("tag_storing_tag_storage_pages", c_uint64),
        ("total_tagged_pages", c_uint64),
        ("resident_tagged_pages", c_uint64),
        ("compressed_tagged_pages", c_uint64),
        ("tagged_compressions", c_uint64),
        ("tagged_decompressions", c_uint64),
        ("compressed_tag_storage_bytes", c_uint64),
        ("speculative_pages_created", c_uint64),
        ("speculative_pages_activated", c_uint64),
        ("swap_count", c_uint64),
        ("empty_tag_storing_tag_storage_pages", c_uint64),
        ("executable_count", c_uint64),
        ("shared_region_count", c_uint64),
        ("boot_stolen_count", c_uint64),
        ("secluded_count", c_uint64),
        ("active_internal_count", c_uint64),
        ("inactive_internal_count", c_uint64),
        ("active_external_count", c_uint64),
        ("inactive_external_count", c_uint64),
        ("purgeable_pageable_count", c_uint64),
        ("purgeable_wired_count", c_uint64),
        ("background_internal_count", c_uint64),
        ("background_external_count", c_uint64),
        ("donated_count", c_uint64),
        ("realtime_count", c_uint64),
        ("max_mem_count", c_uint64),
        ("phantom_ghosts_found", c_uint64),
        ("phantom_ghosts_added", c_uint64),
    )


class processor_cpu_load_info(ctypes.Structure):
    """Ticks of one processor since boot, by `CPU_STATE_USER` and its like."""

    _fields_ = (("cpu_ticks", c_uint32 * CPU_STATE_MAX),)


SIGNATURES = {
    "mach_host_self": (c_uint32, ()),
    "host_statistics64": (c_int32, (c_uint32, c_int32, c_void_p, c_void_p)),
    "host_processor_info": (c_int32, (c_uint32, c_int32, c_void_p, c_void_p, c_void_p)),
}
host = Library(LIBSYSTEM, SIGNATURES)


class Port:
    """The host's port, asked for once: each time would keep a right to it."""

    number: int | None = None


def _host_port() -> int:
    if Port.number is None:
        Port.number = int(host.mach_host_self())
    return Port.number


def read_memory() -> vm_statistics64:
    """Pages of the host.

    Raises:
        KernFailure
    """
    found = vm_statistics64()
    count = c_uint32(ctypes.sizeof(found) // 4)
    code = host.host_statistics64(_host_port(), HOST_VM_INFO64, ctypes.byref(found), ctypes.byref(count))
    checked("host_statistics64", code)
    return found


def read_processors() -> list[tuple[int, ...]]:
    """Ticks of each processor since boot: user, system, idle, nice.

    Raises:
        KernFailure
    """
    number, loads, count = c_uint32(), ctypes.POINTER(processor_cpu_load_info)(), c_uint32()
    by = ctypes.byref
    code = host.host_processor_info(_host_port(), PROCESSOR_CPU_LOAD_INFO, by(number), by(loads), by(count))
    checked("host_processor_info", code)
    found = [tuple(load.cpu_ticks) for load in loads[: min(number.value, count.value // CPU_STATE_MAX)]]
    if count.value:
        mach.mach_vm_deallocate(our_task(), ctypes.cast(loads, c_void_p).value or 0, 4 * count.value)
    return found
