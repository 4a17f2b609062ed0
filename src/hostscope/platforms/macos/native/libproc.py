"""Processes, their files and threads, one at a time. Source: libproc.h, sys/proc_info.h, sys/resource.h.

Calls return how many bytes they filled, and 0 with ``errno`` when they failed; `proc_pid_rusage` returns -1. Root's and
other users' processes answer EPERM to most questions of an ordinary user.
"""

import ctypes
from ctypes import c_char, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

from hostscope.platforms.macos.native import errnos
from hostscope.platforms.macos.native.library import LIBSYSTEM, Library, clear_errno, failed

PROC_ALL_PIDS = 1
PROC_PIDLISTFDS, PROC_PIDTASKALLINFO, PROC_PIDTBSDINFO, PROC_PIDTASKINFO = 1, 2, 3, 4
PROC_PIDTHREADINFO, PROC_PIDLISTTHREADS, PROC_PIDREGIONPATHINFO, PROC_PIDVNODEPATHINFO = 5, 6, 8, 9
PROC_PIDT_SHORTBSDINFO, PROC_PIDUNIQIDENTIFIERINFO, PROC_PIDARCHINFO, PROC_PIDCOALITIONINFO = 13, 17, 19, 20
PROC_PIDFDVNODEPATHINFO, PROC_PIDFDPIPEINFO = 2, 6
PROC_PIDPATHINFO_MAXSIZE = 4096
PROX_FDTYPE_VNODE, PROX_FDTYPE_SOCKET, PROX_FDTYPE_PSHM, PROX_FDTYPE_PSEM, PROX_FDTYPE_KQUEUE = 1, 2, 3, 4, 5
PROX_FDTYPE_PIPE, PROX_FDTYPE_FSEVENTS, PROX_FDTYPE_NETPOLICY, PROX_FDTYPE_CHANNEL, PROX_FDTYPE_NEXUS = 6, 7, 9, 10, 11
RUSAGE_INFO_V2, RUSAGE_INFO_V4, RUSAGE_INFO_V6 = 2, 4, 6
MAXPATHLEN, MAXCOMLEN, MAXTHREADNAMESIZE = 1024, 16, 64
_SLACK = 64
"""Slots beyond what the size query says: the list may grow before it is read."""


def _words(kind: Any, names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, kind) for name in names.split())


class proc_bsdinfo(ctypes.Structure):
    """Identity, credentials, job control, start."""

    _fields_ = (
        *_words(c_uint32, "pbi_flags pbi_status pbi_xstatus pbi_pid pbi_ppid pbi_uid pbi_gid pbi_ruid pbi_rgid"),
        *_words(c_uint32, "pbi_svuid pbi_svgid rfu_1"),
        ("pbi_comm", c_char * MAXCOMLEN),
        ("pbi_name", c_char * (2 * MAXCOMLEN)),
        *_words(c_uint32, "pbi_nfiles pbi_pgid pbi_pjobc e_tdev e_tpgid"),
        ("pbi_nice", c_int32),
        ("pbi_start_tvsec", c_uint64),
        ("pbi_start_tvusec", c_uint64),
    )


class proc_taskinfo(ctypes.Structure):
    """Memory, processor time in units of `mach_timebase_info`, counters since the start."""

    _fields_ = (
        *_words(c_uint64, "pti_virtual_size pti_resident_size pti_total_user pti_total_system"),
        *_words(c_uint64, "pti_threads_user pti_threads_system"),
        *_words(c_int32, "pti_policy pti_faults pti_pageins pti_cow_faults pti_messages_sent pti_messages_received"),
        *_words(c_int32, "pti_syscalls_mach pti_syscalls_unix pti_csw pti_threadnum pti_numrunning pti_priority"),
    )


class proc_taskallinfo(ctypes.Structure):
    """Both at once."""

    _fields_ = (("pbsd", proc_bsdinfo), ("ptinfo", proc_taskinfo))


class proc_threadinfo(ctypes.Structure):
    """One thread; times in nanoseconds."""

    _fields_ = (
        *_words(c_uint64, "pth_user_time pth_system_time"),
        *_words(c_int32, "pth_cpu_usage pth_policy pth_run_state pth_flags pth_sleep_time"),
        *_words(c_int32, "pth_curpri pth_priority pth_maxpriority"),
        ("pth_name", c_char * MAXTHREADNAMESIZE),
    )


class proc_archinfo(ctypes.Structure):
    """Which processor its code is for."""

    _fields_ = (("p_cputype", c_int32), ("p_cpusubtype", c_int32))


class proc_uniqidentifierinfo(ctypes.Structure):
    """A number that no other process of this boot gets."""

    _fields_ = (
        ("p_uuid", c_uint8 * 16),
        *_words(c_uint64, "p_uniqueid p_puniqueid"),
        *_words(c_int32, "p_idversion p_orig_ppidversion"),
        *_words(c_uint64, "p_reserve2 p_reserve3"),
    )


class proc_pidcoalitioninfo(ctypes.Structure):
    """Coalitions by type: resource, jetsam."""

    _fields_ = (("coalition_id", c_uint64 * 2), *_words(c_uint64, "reserved1 reserved2 reserved3"))


class proc_fdinfo(ctypes.Structure):
    """One descriptor of a list."""

    _fields_ = (("proc_fd", c_int32), ("proc_fdtype", c_uint32))


class proc_fileinfo(ctypes.Structure):
    """How a descriptor was opened."""

    _fields_ = (
        *_words(c_uint32, "fi_openflags fi_status"),
        ("fi_offset", c_int64),
        ("fi_type", c_int32),
        ("fi_guardflags", c_uint32),
    )


class vinfo_stat(ctypes.Structure):
    """What stat(2) tells of a file."""

    _fields_ = (
        ("vst_dev", c_uint32),
        *_words(c_uint16, "vst_mode vst_nlink"),
        ("vst_ino", c_uint64),
        *_words(c_uint32, "vst_uid vst_gid"),
        *_words(c_int64, "vst_atime vst_atimensec vst_mtime vst_mtimensec vst_ctime vst_ctimensec"),
        *_words(c_int64, "vst_birthtime vst_birthtimensec vst_size vst_blocks"),
        ("vst_blksize", c_int32),
        *_words(c_uint32, "vst_flags vst_gen vst_rdev"),
        ("vst_qspare", c_int64 * 2),
    )


class fsid_t(ctypes.Structure):
    """A file system."""

    _fields_ = (("val", c_int32 * 2),)


class vnode_info(ctypes.Structure):
    """A file."""

    _fields_ = (("vi_stat", vinfo_stat), *_words(c_int32, "vi_type vi_pad"), ("vi_fsid", fsid_t))


class vnode_info_path(ctypes.Structure):
    """A file with its name."""

    _fields_ = (("vip_vi", vnode_info), ("vip_path", c_char * MAXPATHLEN))


class proc_vnodepathinfo(ctypes.Structure):
    """Current and root directory; the latter is empty unless it was changed."""

    _fields_ = (("pvi_cdir", vnode_info_path), ("pvi_rdir", vnode_info_path))


class vnode_fdinfowithpath(ctypes.Structure):
    """A descriptor of a file."""

    _fields_ = (("pfi", proc_fileinfo), ("pvip", vnode_info_path))


class pipe_info(ctypes.Structure):
    """A pipe's end."""

    _fields_ = (
        ("pipe_stat", vinfo_stat),
        *_words(c_uint64, "pipe_handle pipe_peerhandle"),
        *_words(c_int32, "pipe_status rfu_1"),
    )


class pipe_fdinfo(ctypes.Structure):
    """A descriptor of a pipe."""

    _fields_ = (("pfi", proc_fileinfo), ("pipeinfo", pipe_info))


class proc_regioninfo(ctypes.Structure):
    """One region of an address space."""

    _fields_ = (
        *_words(c_uint32, "pri_protection pri_max_protection pri_inheritance pri_flags"),
        ("pri_offset", c_uint64),
        *_words(c_uint32, "pri_behavior pri_user_wired_count pri_user_tag pri_pages_resident"),
        *_words(c_uint32, "pri_pages_shared_now_private pri_pages_swapped_out pri_pages_dirtied pri_ref_count"),
        *_words(c_uint32, "pri_shadow_depth pri_share_mode pri_private_pages_resident pri_shared_pages_resident"),
        *_words(c_uint32, "pri_obj_id pri_depth"),
        *_words(c_uint64, "pri_address pri_size"),
    )


class proc_regionwithpathinfo(ctypes.Structure):
    """A region with the file behind it."""

    _fields_ = (("prp_prinfo", proc_regioninfo), ("prp_vip", vnode_info_path))


class rusage_info_v2(ctypes.Structure):
    """Footprint and disk traffic (macOS 10.10). Times in units of `mach_timebase_info`."""

    _fields_ = (
        ("ri_uuid", c_uint8 * 16),
        *_words(c_uint64, "ri_user_time ri_system_time ri_pkg_idle_wkups ri_interrupt_wkups ri_pageins"),
        *_words(c_uint64, "ri_wired_size ri_resident_size ri_phys_footprint"),
        *_words(c_uint64, "ri_proc_start_abstime ri_proc_exit_abstime ri_child_user_time ri_child_system_time"),
        *_words(c_uint64, "ri_child_pkg_idle_wkups ri_child_interrupt_wkups ri_child_pageins"),
        *_words(c_uint64, "ri_child_elapsed_abstime ri_diskio_bytesread ri_diskio_byteswritten"),
    )


class rusage_info_v4(ctypes.Structure):
    """With energy and the highest footprint (macOS 10.12)."""

    _fields_ = (
        *rusage_info_v2._fields_,
        *_words(c_uint64, "ri_cpu_time_qos_default ri_cpu_time_qos_maintenance ri_cpu_time_qos_background"),
        *_words(c_uint64, "ri_cpu_time_qos_utility ri_cpu_time_qos_legacy ri_cpu_time_qos_user_initiated"),
        *_words(c_uint64, "ri_cpu_time_qos_user_interactive ri_billed_system_time ri_serviced_system_time"),
        *_words(c_uint64, "ri_logical_writes ri_lifetime_max_phys_footprint ri_instructions ri_cycles"),
        *_words(c_uint64, "ri_billed_energy ri_serviced_energy ri_interval_max_phys_footprint ri_runnable_time"),
    )


class rusage_info_v6(ctypes.Structure):
    """With energy in nanojoules (macOS 13). Its reserved end gets names with each release; the size stays."""

    _fields_ = (
        *rusage_info_v4._fields_,
        *_words(c_uint64, "ri_flags ri_user_ptime ri_system_ptime ri_pinstructions ri_pcycles ri_energy_nj"),
        *_words(c_uint64, "ri_penergy_nj ri_secure_time_in_system ri_secure_ptime_in_system"),
        ("_tail", c_uint64 * 12),
    )


SIGNATURES = {
    "proc_listpids": (c_int32, (c_uint32, c_uint32, c_void_p, c_int32)),
    "proc_pidinfo": (c_int32, (c_int32, c_int32, c_uint64, c_void_p, c_int32)),
    "proc_pidfdinfo": (c_int32, (c_int32, c_int32, c_int32, c_void_p, c_int32)),
    "proc_pidpath": (c_int32, (c_int32, c_void_p, c_uint32)),
    "proc_pid_rusage": (c_int32, (c_int32, c_int32, c_void_p)),
    "getsid": (c_int32, (c_int32,)),
    "responsibility_get_pid_responsible_for_pid": (c_int32, (c_int32,)),
}
NOT_IN_HEADERS = {
    "proc_uniqidentifierinfo": "bsd/sys/proc_info_private.h in xnu; 56 bytes since xnu-2782",
    "proc_pidcoalitioninfo": "bsd/sys/proc_info_private.h in xnu; 40 bytes since xnu-2782",
    "PROC_PIDUNIQIDENTIFIERINFO": "bsd/sys/proc_info_private.h in xnu",
    "PROC_PIDCOALITIONINFO": "bsd/sys/proc_info_private.h in xnu",
    "rusage_info_v6._tail": "ri_reserved[12] in SDK 13, named piece by piece since; not read",
    "responsibility_get_pid_responsible_for_pid": "libquarantine's, used by Apple's launchctl; in libSystem.tbd",
}
libproc = Library(LIBSYSTEM, SIGNATURES)


def list_pids() -> list[int]:
    """Pids of all processes, zombies included, as the kernel lists them: newest first.

    The call cuts off silently: a full buffer is asked for again with twice the room.

    Raises:
        OSError
    """
    room = _list_pids(None, 0) // 4 + _SLACK
    while True:
        buffer = (c_int32 * room)()
        count = _list_pids(buffer, ctypes.sizeof(buffer)) // 4
        if count < room:
            return buffer[:count]
        room *= 2


def _list_pids(buffer: Any, size: int) -> int:
    clear_errno()
    filled: int = libproc.proc_listpids(PROC_ALL_PIDS, 0, buffer, size)
    if filled <= 0:
        raise failed("proc_listpids")
    return filled


class Question:
    """One flavour of proc_pidinfo with a buffer of its own, asked of one process after another."""

    def __init__(self, flavor: int, structure: type[ctypes.Structure]) -> None:
        self.flavor = flavor
        self._answer = structure()
        self._size = ctypes.sizeof(structure)

    def ask(self, pid: int, arg: int = 0) -> bytes:
        """The structure, in bytes.

        Raises:
            OSError: ESRCH when the process is gone, EPERM when it is not ours, EINVAL when this macOS has no such
                flavour, EIO when the answer has another size.
        """
        clear_errno()
        filled = libproc.proc_pidinfo(pid, self.flavor, arg, ctypes.byref(self._answer), self._size)
        if filled == self._size:
            return bytes(self._answer)
        if filled <= 0:
            raise failed("proc_pidinfo")
        raise errnos.error(errnos.EIO, f"proc_pidinfo gave {filled} bytes of {self._size}")


def read_list(pid: int, flavor: int, entry_bytes: int, most: int = 1 << 20) -> tuple[bytes, bool]:
    """A list of `PROC_PIDLISTFDS` or `PROC_PIDLISTTHREADS`, and whether it is whole.

    Raises:
        OSError: as `Question.ask`.
    """
    room = 256 * entry_bytes
    while True:
        buffer = ctypes.create_string_buffer(room)
        clear_errno()
        filled = libproc.proc_pidinfo(pid, flavor, 0, buffer, room)
        if filled <= 0 and ctypes.get_errno():
            raise failed("proc_pidinfo")
        if filled < room or room * 2 > most:
            return ctypes.string_at(buffer, filled), filled < room
        room *= 2


def read_descriptor(pid: int, fd: int, flavor: int, structure: type[ctypes.Structure]) -> bytes:
    """What one descriptor is, in bytes. Raises OSError: EBADF when it was closed meanwhile."""
    answer = structure()
    clear_errno()
    if libproc.proc_pidfdinfo(pid, fd, flavor, ctypes.byref(answer), ctypes.sizeof(answer)) != ctypes.sizeof(answer):
        raise failed("proc_pidfdinfo")
    return bytes(answer)


def read_path(pid: int, buffer: "ctypes.Array[c_char]") -> bytes:
    """The program's path. `buffer` has `PROC_PIDPATHINFO_MAXSIZE` bytes.

    Raises:
        OSError: ESRCH when the process is gone; ENOENT when its file has no name any more.
    """
    clear_errno()
    length = libproc.proc_pidpath(pid, buffer, PROC_PIDPATHINFO_MAXSIZE)
    if length <= 0:
        raise failed("proc_pidpath")
    return ctypes.string_at(buffer, length)


def path_buffer() -> "ctypes.Array[c_char]":
    """Room for `read_path`."""
    return ctypes.create_string_buffer(PROC_PIDPATHINFO_MAXSIZE)


_USAGES: dict[int, type[ctypes.Structure]] = {
    RUSAGE_INFO_V6: rusage_info_v6,
    RUSAGE_INFO_V4: rusage_info_v4,
    RUSAGE_INFO_V2: rusage_info_v2,
}


class Usage:
    """Resource usage by the newest layout that this kernel has; found out once."""

    def __init__(self) -> None:
        self._flavors = list(_USAGES)
        self._answers = {flavor: structure() for flavor, structure in _USAGES.items()}

    def read(self, pid: int) -> bytes:
        """`rusage_info_v6`, `v4` or `v2`, told apart by their sizes.

        Raises:
            OSError: ESRCH, EPERM.
        """
        while True:
            flavor = self._flavors[0]
            answer = self._answers[flavor]
            clear_errno()
            if libproc.proc_pid_rusage(pid, flavor, ctypes.byref(answer)) == 0:
                return bytes(answer)
            error = failed("proc_pid_rusage")
            if error.errno != errnos.EINVAL or len(self._flavors) == 1:
                raise error
            del self._flavors[0]


def session(pid: int) -> int:
    """Its session. Raises OSError: ESRCH."""
    clear_errno()
    found: int = libproc.getsid(pid)
    if found < 0:
        raise failed("getsid")
    return found


def responsible(pid: int) -> int:
    """The process whose permissions count for this one. Raises OSError; Unsupported where there is no such call."""
    clear_errno()
    found: int = libproc.responsibility_get_pid_responsible_for_pid(pid)
    if found < 0:
        raise failed("responsibility_get_pid_responsible_for_pid")
    return found
