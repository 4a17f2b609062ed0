"""The structures of a minidump: Windows' form of a dump, which its debuggers open. All are packed.

Source: minidumpapiset.h of the Windows SDK (dbghelp.h).
"""

import struct

SIGNATURE = 0x504D_444D
VERSION = 0xA793
HEADER = struct.Struct("<6IQ")
"""Signature, Version, NumberOfStreams, StreamDirectoryRva, CheckSum, TimeDateStamp, Flags."""
DIRECTORY = struct.Struct("<III")
"""StreamType, DataSize, Rva."""
WITH_FULL_MEMORY, WITH_FULL_MEMORY_INFO, WITH_THREAD_INFO = 0x2, 0x800, 0x1000
THREAD_LIST, MODULE_LIST, MEMORY_LIST, EXCEPTION, SYSTEM_INFO = 3, 4, 5, 6, 7
MEMORY64_LIST, COMMENT, MISC_INFO, MEMORY_INFO_LIST, THREAD_INFO_LIST = 9, 10, 15, 16, 17
COUNT = struct.Struct("<I")
THREAD = struct.Struct("<4IQ QII II")
"""Id, SuspendCount, PriorityClass, Priority, Teb; Stack: start, size, rva; ThreadContext: size, rva."""
MODULE = struct.Struct("<QIIII 13I II II QQ")
"""BaseOfImage, SizeOfImage, CheckSum, TimeDateStamp, ModuleNameRva; VersionInfo; CvRecord, MiscRecord: size, rva."""
MEMORY = struct.Struct("<QII")
"""Start, size, rva."""
MEMORY64_HEAD = struct.Struct("<QQ")
"""NumberOfMemoryRanges, BaseRva: the ranges' bytes stand there, one after the other."""
MEMORY64 = struct.Struct("<QQ")
EXCEPTION_HEAD = struct.Struct("<II I")
"""ThreadId, alignment, ExceptionCode."""
SYSTEM = struct.Struct("<HHHBB 4I I HH 24s")
"""Architecture, level, revision, processors, product type; major, minor, build, platform; CSDVersionRva; suite."""
MISC = struct.Struct("<6I")
"""SizeOfInfo, Flags1, ProcessId, ProcessCreateTime, ProcessUserTime, ProcessKernelTime (seconds)."""
MISC_PID, MISC_TIMES = 1, 2
LIST_HEAD = struct.Struct("<IIQ")
"""SizeOfHeader, SizeOfEntry, NumberOfEntries."""
MEMORY_INFO = struct.Struct("<QQII QIIII")
"""BaseAddress, AllocationBase, AllocationProtect, -, RegionSize, State, Protect, Type, -."""
THREAD_INFO_HEAD = struct.Struct("<III")
THREAD_INFO = struct.Struct("<4I 6Q")
"""Id, DumpFlags, DumpError, ExitStatus; created, exited, kernel time, user time, start address, affinity."""

ARCHITECTURES = {0: "x86", 5: "arm", 9: "x86_64", 12: "aarch64"}
"""PROCESSOR_ARCHITECTURE_*, by the names that other dumps have."""
NAMES = {
    "amd64": "x86_64", "x64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64",
    "x86": "x86", "i386": "x86", "i686": "x86", "arm": "arm",
}  # fmt: skip
"""What systems call them, in lower case."""
CONTEXT_BYTES = {"x86_64": 1232, "aarch64": 912, "x86": 716}
CONTEXT_PLACES = {"x86_64": ("<Q", 0xF8, 0x98), "aarch64": ("<Q", 0x108, 0x100), "x86": ("<I", 0xB8, 0xC4)}
"""Where the instruction and the stack pointer stand in a CONTEXT."""

PROTECTIONS = {
    "---": 0x01, "r--": 0x02, "rw-": 0x04, "--x": 0x10, "r-x": 0x20, "rwx": 0x40, "-w-": 0x04, "-wx": 0x40,
}  # fmt: skip
GUARD, NO_CACHE, WRITE_COMBINE = 0x100, 0x200, 0x400
COPIES = {0x04: 0x08, 0x40: 0x80}
"""The same, copied when they are written."""
STATES = {"committed": 0x1000, "reserved": 0x2000}
KINDS = {"image": 0x1000000, "mapped": 0x40000, "private": 0x20000}


def pointers(context: bytes, architecture: str) -> tuple[int | None, int | None]:
    """The instruction and the stack pointer of a thread; None where its registers are not there."""
    places = CONTEXT_PLACES.get(architecture)
    if places is None or len(context) < CONTEXT_BYTES[architecture]:
        return None, None
    form, instruction, stack = places
    return struct.unpack_from(form, context, instruction)[0], struct.unpack_from(form, context, stack)[0]
