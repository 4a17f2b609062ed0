"""Dumps that Windows writes itself."""

import os

from hostscope.errors import Denied, Gone, Unsupported
from hostscope.model.key import ProcessKey
from hostscope.platforms.base_program import Privileges
from hostscope.platforms.windows import translate
from hostscope.platforms.windows.clock import Boot
from hostscope.platforms.windows.identity import DEBUG, hold
from hostscope.platforms.windows.native import control, dbghelp, handles

ACCESS = (
    handles.PROCESS_QUERY_INFORMATION
    | handles.PROCESS_VM_READ
    | handles.PROCESS_DUP_HANDLE
    | handles.PROCESS_SUSPEND_RESUME
)
KIND = (
    dbghelp.MiniDumpWithFullMemory
    | dbghelp.MiniDumpWithHandleData
    | dbghelp.MiniDumpWithFullMemoryInfo
    | dbghelp.MiniDumpWithThreadInfo
    | dbghelp.MiniDumpIgnoreInaccessibleMemory
)
"""Without the last, one page that cannot be read (ERROR_PARTIAL_COPY) is the end of the whole dump."""


def write(boot: Boot, privileges: Privileges, key: ProcessKey, fd: int) -> None:
    """A minidump with all memory into an open file; the threads are suspended meanwhile.

    Raises:
        Gone, Denied, Mismatch, Unsupported

    Source: MiniDumpWriteDump, which opens each thread, so that those of other users need the debug privilege.
    """
    if key.pid == os.getpid():
        raise Unsupported(f"process {key.pid} is hostscope itself, which would have to stop", "leave --image out")
    why = f"have Windows write a dump of process {key.pid}"
    with hold(boot, privileges, key, ACCESS, why) as process:
        try:
            _write(process, key.pid, fd)
        except Denied:
            with privileges.using(DEBUG, why):
                _write(process, key.pid, fd)


def _write(process: int, pid: int, fd: int) -> None:
    try:
        dbghelp.write_dump(process, pid, fd, KIND)
    except OSError as failed:
        if control.has_ended(process):
            raise Gone(f"process {pid} has ended") from failed
        raise translate.error("MiniDumpWriteDump", failed, pid) from failed
