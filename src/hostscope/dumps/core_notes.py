"""The notes of an ELF core: what debuggers read beside memory.

Source: include/linux/elfcore.h, fs/binfmt_elf.c (Linux); the structures are those of 64-bit x86 and Arm.
"""

import struct
from collections.abc import Iterable

from msgspec import Struct

from hostscope.binaries.elf import build_note
from hostscope.model.memory import Region, ThreadState
from hostscope.model.text import encode

NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE, NT_SIGINFO, NT_FILE = 0x202, 0x5349_4749, 0x4649_4C45
REGISTER_BYTES = {"x86_64": 27 * 8, "aarch64": 34 * 8}
"""Size of elf_gregset_t; a thread in 32-bit mode has fewer, and no place in a 64-bit core."""
_STATUS = struct.Struct("<3ih2xQQ4i8Q")
_PROCESS = struct.Struct("<4b4xQII4i16s80s")
_STATES = {"running": "R", "sleeping": "S", "disk-sleep": "D", "stopped": "T", "tracing-stop": "t", "zombie": "Z"}
_LETTERS = "RSDTZW"


class CoreProcess(Struct, frozen=True):
    """What notes say of the process as a whole."""

    pid: int
    parent: int
    group: int
    session: int
    user: int
    group_user: int
    name: str
    state: str
    nice: int
    arguments: tuple[str, ...]
    architecture: str
    auxiliary_vector: bytes
    page_bytes: int = 4096


def build_notes(process: CoreProcess, threads: Iterable[ThreadState], regions: Iterable[Region]) -> bytes:
    """All notes, in the kernel's order: the first thread's registers, the process, its files, the other threads."""
    stopped = [thread for thread in threads if has_registers(thread, process.architecture)]
    main = sorted(stopped, key=lambda thread: (thread.tid != process.pid, thread.tid))
    first = _thread_notes(process, main[0]) if main else []
    status = first[:1]
    return b"".join(
        [
            *status,
            build_note(b"CORE", NT_PRPSINFO, _process_info(process)),
            *([build_note(b"CORE", NT_SIGINFO, main[0].signal_info.ljust(128, b"\0"))] if main else []),
            build_note(b"CORE", NT_AUXV, process.auxiliary_vector),
            build_note(b"CORE", NT_FILE, _files(process.page_bytes, regions)),
            *first[1:],
            *(note for thread in main[1:] for note in _thread_notes(process, thread)),
        ]
    )


def has_registers(thread: ThreadState, architecture: str) -> bool:
    """Whether a core of this architecture can hold the thread's registers."""
    return len(thread.registers) == REGISTER_BYTES.get(architecture, -1)


def _thread_notes(process: CoreProcess, thread: ThreadState) -> list[bytes]:
    notes = [build_note(b"CORE", NT_PRSTATUS, _status(process, thread))]
    if thread.float_registers:
        notes.append(build_note(b"CORE", NT_FPREGSET, thread.float_registers))
    if thread.extended_registers:
        notes.append(build_note(b"LINUX", NT_X86_XSTATE, thread.extended_registers))
    return notes + [build_note(b"LINUX", kind, held) for kind, held in thread.other_registers]


def _status(process: CoreProcess, thread: ThreadState) -> bytes:
    """struct elf_prstatus."""
    times = (*_timeval(thread.user_ns), *_timeval(thread.system_ns), 0, 0, 0, 0)
    head = _STATUS.pack(
        thread.signal, 0, 0, thread.signal, thread.pending_signals, thread.blocked_signals,
        thread.tid, process.parent, process.group, process.session, *times,
    )  # fmt: skip
    return head + thread.registers + struct.pack("<i4x", bool(thread.float_registers))


def _timeval(duration_ns: int) -> tuple[int, int]:
    seconds, rest = divmod(duration_ns, 1_000_000_000)
    return seconds, rest // 1000


def _process_info(process: CoreProcess) -> bytes:
    """struct elf_prpsinfo."""
    letter = _STATES.get(process.state, "S")
    return _PROCESS.pack(
        max(_LETTERS.find(letter), 0), ord(letter), letter == "Z", process.nice, 0, process.user, process.group_user,
        process.pid, process.parent, process.group, process.session,
        encode(process.name)[:15], encode(" ".join(process.arguments))[:79],
    )  # fmt: skip


def _files(page_bytes: int, regions: Iterable[Region]) -> bytes:
    """NT_FILE: count, page size, three words for each mapping, then the names."""
    files = [region for region in regions if region.inode and region.path]
    words = [len(files), page_bytes]
    for region in files:
        words += [region.start, region.end, region.offset // page_bytes]
    names = (encode(region.path or "") + b" (deleted)" * region.deleted + b"\0" for region in files)
    return struct.pack(f"<{len(words)}Q", *words) + b"".join(names)
