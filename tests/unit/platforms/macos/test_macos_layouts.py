"""Places in the parsers' formats are those of the structures that are asserted against Apple's headers."""

import ctypes
from struct import calcsize
from typing import Any

import pytest

from hostscope.platforms.macos import parse, parse_detail
from hostscope.platforms.macos.native import kern_proc, libproc
from hostscope.platforms.macos.native.errnos import text

KINFO = (
    "kp_proc.p_starttime.tv_sec kp_proc.p_starttime.tv_usec kp_proc.p_flag kp_proc.p_stat kp_proc.p_pid kp_proc.p_nice "
    "kp_proc.p_comm kp_eproc.e_pcred.p_ruid kp_eproc.e_pcred.p_svuid kp_eproc.e_pcred.p_rgid kp_eproc.e_pcred.p_svgid "
    "kp_eproc.e_ucred.cr_uid kp_eproc.e_ucred.cr_ngroups kp_eproc.e_ucred.cr_groups kp_eproc.e_ppid kp_eproc.e_pgid "
    "kp_eproc.e_tdev kp_eproc.e_tpgid kp_eproc.e_login"
)
USAGE = "ri_phys_footprint ri_child_user_time ri_child_system_time ri_diskio_bytesread ri_diskio_byteswritten"
VNODE = "pfi.fi_openflags pfi.fi_offset pvip.vip_vi.vi_stat.vst_mode pvip.vip_vi.vi_stat.vst_ino"
REGION = (
    "prp_prinfo.pri_protection prp_prinfo.pri_offset prp_prinfo.pri_share_mode prp_prinfo.pri_address "
    "prp_prinfo.pri_size prp_vip.vip_vi.vi_stat.vst_dev prp_vip.vip_vi.vi_stat.vst_ino"
)
CASES: list[Any] = [
    (kern_proc.kinfo_proc, parse.KINFO_PLACES, parse.KINFO_BYTES, KINFO),
    (
        libproc.proc_taskallinfo, parse.START_PLACES, parse.TASK_BYTES,
        "pbsd.pbi_start_tvsec pbsd.pbi_start_tvusec",
    ),
    (libproc.rusage_info_v2, parse.USAGE_PLACES, parse.USAGE_V2_BYTES, USAGE),
    (
        libproc.rusage_info_v4, parse.USAGE_V4_PLACES, parse.USAGE_V4_BYTES,
        "ri_billed_energy",
    ),
    (libproc.rusage_info_v6, parse.USAGE_V6_PLACES, parse.USAGE_V6_BYTES, "ri_energy_nj"),
    (libproc.vnode_fdinfowithpath, parse_detail.VNODE_PLACES, parse_detail.VNODE_BYTES, VNODE),
    (
        libproc.pipe_fdinfo, parse_detail.PIPE_PLACES, parse_detail.PIPE_BYTES,
        "pfi.fi_openflags pipeinfo.pipe_handle pipeinfo.pipe_peerhandle",
    ),
    (
        libproc.proc_threadinfo, parse_detail.THREAD_PLACES, parse_detail.THREAD_BYTES,
        "pth_user_time pth_system_time pth_run_state pth_name",
    ),
    (libproc.proc_regionwithpathinfo, parse_detail.REGION_PLACES, parse_detail.REGION_BYTES, REGION),
]  # fmt: skip


def place(structure: Any, path: str) -> tuple[int, int]:
    """Offset and size of a field by its path."""
    offset = size = 0
    for name in path.split("."):
        field = getattr(structure, name)
        offset, size = offset + field.offset, field.size
        structure = {entry[0]: entry[1] for entry in structure._fields_}[name]
    return offset, size


@pytest.mark.parametrize(("structure", "places", "size", "names"), CASES, ids=[case[0].__name__ for case in CASES])
def test_places(structure: Any, places: parse.Places, size: int, names: str) -> None:
    assert ctypes.sizeof(structure) == size
    assert [(offset, calcsize("<" + code)) for offset, code in places] == [
        place(structure, name) for name in names.split()
    ]


def test_task_is_without_holes() -> None:
    """Its format is written in one piece: every field, in order."""
    assert ctypes.sizeof(libproc.proc_taskallinfo) == parse.TASK_BYTES
    task = libproc.proc_taskallinfo()
    for number, (name, kind) in enumerate(libproc.proc_bsdinfo._fields_):
        value = b"comm" if name == "pbi_comm" else b"" if name == "pbi_name" else number
        setattr(task.pbsd, name, value)
        assert kind is not None
    for number, (name, _) in enumerate(libproc.proc_taskinfo._fields_):
        setattr(task.ptinfo, name, 100 + number)
    found = parse.parse_task(bytes(task))
    bsd, info = task.pbsd, task.ptinfo
    assert (found.pid, found.ppid, found.flags, found.status) == (
        bsd.pbi_pid, bsd.pbi_ppid, bsd.pbi_flags, bsd.pbi_status,
    )  # fmt: skip
    assert (found.uid, found.ruid, found.svuid, found.gid, found.rgid, found.svgid) == (
        bsd.pbi_uid, bsd.pbi_ruid, bsd.pbi_svuid, bsd.pbi_gid, bsd.pbi_rgid, bsd.pbi_svgid,
    )  # fmt: skip
    assert (found.pgid, found.terminal, found.nice, found.name) == (bsd.pbi_pgid, bsd.e_tdev, bsd.pbi_nice, "comm")
    assert found.start_us == bsd.pbi_start_tvsec * 1_000_000 + bsd.pbi_start_tvusec
    assert (found.virtual_bytes, found.resident_bytes, found.user_time, found.system_time) == (
        info.pti_virtual_size, info.pti_resident_size, info.pti_total_user, info.pti_total_system,
    )  # fmt: skip
    assert (found.policy, found.faults, found.pageins, found.switches) == (
        info.pti_policy, info.pti_faults, info.pti_pageins, info.pti_csw,
    )  # fmt: skip
    assert (found.threads, found.running, found.priority) == (
        info.pti_threadnum, info.pti_numrunning, info.pti_priority,
    )  # fmt: skip


def test_paths_of_directories() -> None:
    paths = libproc.proc_vnodepathinfo()
    paths.pvi_cdir.vip_path, paths.pvi_rdir.vip_path = b"/here", b"/there"
    assert (parse.parse_path(bytes(paths), 0), parse.parse_path(bytes(paths), 1)) == ("/here", "/there")


def test_error_texts_are_darwins() -> None:
    assert text(84).startswith("Value too large")
    assert text(9999) == "error 9999"
