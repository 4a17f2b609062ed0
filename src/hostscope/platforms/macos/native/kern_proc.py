"""The kernel's process table by sysctl: for everybody, of every process. Source: sys/sysctl.h, sys/proc.h."""

import ctypes
from ctypes import c_char, c_int8, c_int16, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from typing import Any

from hostscope.platforms.macos.native import sysctls
from hostscope.platforms.macos.native.library import clear_errno, failed

CTL_KERN, KERN_PROC, KERN_PROC_ALL, KERN_PROC_PID, KERN_ARGMAX, KERN_PROCARGS2 = 1, 14, 0, 1, 8, 49
SIDL, SRUN, SSLEEP, SSTOP, SZOMB = 1, 2, 3, 4, 5
P_LP64, P_SYSTEM, P_TRACED, P_TRANSLATED = 0x4, 0x200, 0x800, 0x20000
WMESGLEN, COMAPT_MAXLOGNAME, NGROUPS = 7, 12, 16


def _words(kind: Any, names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, kind) for name in names.split())


class timeval(ctypes.Structure):
    """A point in time."""

    _fields_ = (("tv_sec", c_int64), ("tv_usec", c_int32))


class itimerval(ctypes.Structure):
    """A timer."""

    _fields_ = (("it_interval", timeval), ("it_value", timeval))


class extern_proc(ctypes.Structure):
    """What was ``struct proc``; many of its fields are zero today, pointers all are."""

    _fields_ = (
        ("p_starttime", timeval),
        *_words(c_uint64, "p_vmspace p_sigacts"),
        ("p_flag", c_int32),
        ("p_stat", c_int8),
        *_words(c_int32, "p_pid p_oppid p_dupfd"),
        *_words(c_uint64, "user_stack exit_thread"),
        *_words(c_int32, "p_debugger sigwait"),
        ("p_estcpu", c_uint32),
        ("p_cpticks", c_int32),
        ("p_pctcpu", c_uint32),
        *_words(c_uint64, "p_wchan p_wmesg"),
        *_words(c_uint32, "p_swtime p_slptime"),
        ("p_realtimer", itimerval),
        ("p_rtime", timeval),
        *_words(c_uint64, "p_uticks p_sticks p_iticks"),
        ("p_traceflag", c_int32),
        ("p_tracep", c_uint64),
        ("p_siglist", c_int32),
        ("p_textvp", c_uint64),
        ("p_holdcnt", c_int32),
        *_words(c_uint32, "p_sigmask p_sigignore p_sigcatch"),
        *_words(c_uint8, "p_priority p_usrpri"),
        ("p_nice", c_int8),
        ("p_comm", c_char * 17),
        *_words(c_uint64, "p_pgrp p_addr"),
        *_words(c_uint16, "p_xstat p_acflag"),
        ("p_ru", c_uint64),
    )


class _pcred(ctypes.Structure):
    """Real and saved ids."""

    _fields_ = (
        ("pc_lock", c_char * 72),
        ("pc_ucred", c_uint64),
        *_words(c_uint32, "p_ruid p_svuid p_rgid p_svgid"),
        ("p_refcnt", c_int32),
    )


class _ucred(ctypes.Structure):
    """Effective ids and groups."""

    _fields_ = (("cr_ref", c_int32), ("cr_uid", c_uint32), ("cr_ngroups", c_int16), ("cr_groups", c_uint32 * NGROUPS))


class vmspace(ctypes.Structure):
    """Nothing any more."""

    _fields_ = (("dummy", c_int32), ("dummy2", c_uint64), ("dummy3", c_int32 * 5), ("dummy4", c_uint64 * 3))


class eproc(ctypes.Structure):
    """Credentials and job control."""

    _fields_ = (
        *_words(c_uint64, "e_paddr e_sess"),
        ("e_pcred", _pcred),
        ("e_ucred", _ucred),
        ("e_vm", vmspace),
        *_words(c_int32, "e_ppid e_pgid"),
        ("e_jobc", c_int16),
        *_words(c_int32, "e_tdev e_tpgid"),
        ("e_tsess", c_uint64),
        ("e_wmesg", c_char * (WMESGLEN + 1)),
        ("e_xsize", c_int32),
        *_words(c_int16, "e_xrssize e_xccount e_xswrss"),
        ("e_flag", c_int32),
        ("e_login", c_char * COMAPT_MAXLOGNAME),
        ("e_spare", c_int32 * 4),
    )


class kinfo_proc(ctypes.Structure):
    """One process; 648 bytes on every 64-bit macOS."""

    _fields_ = (("kp_proc", extern_proc), ("kp_eproc", eproc))


C_PATHS = {"extern_proc.p_starttime": "p_un.__p_starttime", "eproc": "kinfo_proc::eproc"}
BOOLEANS = ("extern_proc.sigwait",)
_MOST_ARGUMENT_BYTES = 1 << 24


class ArgumentReader:
    """Reads what processes were started with, one after another, into one buffer as large as arguments may be."""

    def __init__(self) -> None:
        limit = int.from_bytes(sysctls.read_name("kern.argmax")[:4], "little")
        self._room = max(4096, min(limit, _MOST_ARGUMENT_BYTES))
        self._buffer = ctypes.create_string_buffer(self._room)
        self._numbers = (c_int32 * 3)(CTL_KERN, KERN_PROCARGS2, 0)
        self._size = c_uint64()

    def read(self, pid: int) -> bytes:
        """The answer of KERN_PROCARGS2 in bytes.

        Raises:
            OSError: EINVAL for a process that is gone, one without arguments (a zombie, the kernel's own) and one of
                another user alike.
        """
        self._numbers[2], self._size.value = pid, self._room
        clear_errno()
        size = ctypes.byref(self._size)
        if sysctls.values.sysctl(self._numbers, 3, self._buffer, size, None, 0) != 0:
            raise failed("sysctl KERN_PROCARGS2")
        return ctypes.string_at(self._buffer, min(self._size.value, self._room))
